"""From mask weights to saliency maps, with their standard error and fidelity.

Every estimator here is a linear combination of masks, ``sum_i u_i M_i``, that differs in how the
coefficients ``u`` follow from the weights ``w``:

- ``paper``: ``u_i = w_i``, the published sum (D-RISE, arXiv:2006.03204, section 3.1). Its map holds
  the mask coverage too, which is noise.
- ``centred``: ``u_i = (w_i - mean w) / (n - 1)``, the sample covariance of weight and mask. Same
  expectation up to scale and an additive constant, far less noise, and a sign: pixels that suppress
  the target come out negative.

Error bars come from splitting the masks into groups: the spread of the groups' sums is the standard
error of their total (batch means), and over the target's neighbourhood it gives the fidelity,
``sqrt(signal / (signal + noise))``, the expected correlation with the map of infinitely many masks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro import boxes
from chiaroscuro.errors import UnknownNameError
from chiaroscuro.masks import Masks
from chiaroscuro.records import Target

N_GROUPS = 12

Coefficients = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One target's map.

    Attributes:
        saliency: ``height width``.
        standard_error: ``height width``, in the same units.
        fidelity: in [0, 1]; 0 where nothing rises above the noise.
    """

    saliency: Float32[Tensor, "height width"]
    standard_error: Float32[Tensor, "height width"]
    fidelity: float


def paper(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Coefficients of the published estimator: the weights themselves."""
    return weights


def centred(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Coefficients of the sample covariance of weight and mask."""
    centred_weights: npt.NDArray[np.float64] = weights - weights.mean()
    return centred_weights / max(len(weights) - 1, 1)


ESTIMATORS: dict[str, tuple[Coefficients, str]] = {
    "paper": (paper, "sum over the masks of weight x mask"),
    "centred": (centred, "covariance of mask weight and mask"),
}


def coefficients(estimator: str) -> tuple[Coefficients, str]:
    """An estimator by name, and what its values mean.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    if estimator not in ESTIMATORS:
        raise UnknownNameError("estimator", estimator, list(ESTIMATORS))
    return ESTIMATORS[estimator]


def estimate(
    masks: Masks, weights: Float32[Tensor, " n_masks"], target: Target, estimator: str
) -> Estimate:
    """The saliency map of one target from the weights of masks 0 to ``n_masks - 1``.

    Deterministic: the same weights give the same bits.
    """
    to_coefficients, _ = coefficients(estimator)
    w = weights.double().numpy()
    n = len(w)
    u = to_coefficients(w)
    keep = masks.design.keep_probability if estimator == "centred" else 0.0
    n_groups = max(1, min(N_GROUPS, n))
    shape = (masks.height, masks.width)
    inside, ring = boxes.neighbourhood(target.box, *shape)
    near = inside | ring
    total = torch.zeros(shape, dtype=torch.float64)
    squares = torch.zeros(shape, dtype=torch.float64)
    near_noise = 0.0
    sums = []
    for group in np.array_split(np.arange(n), n_groups):
        part = masks.weighted_sum(u[group], group) - keep * float(u[group].sum())
        total += part
        squares += part**2
        sums.append(part[near])
    spread = n_groups / max(n_groups - 1, 1)
    variance = spread * (squares - total**2 / n_groups).clamp(min=0)
    if near.any():
        parts = torch.stack(sums)
        parts = parts - parts.mean(dim=1, keepdim=True)
        near_noise = float(spread * ((parts - parts.mean(dim=0)) ** 2).sum(dim=0).mean())
        near_total = float(parts.sum(dim=0).square().mean())
    else:
        near_total = 0.0
    trusted = n_groups >= 4 and near_total > near_noise
    return Estimate(
        saliency=total.float(),
        standard_error=variance.sqrt().float(),
        fidelity=float(np.sqrt(1 - near_noise / near_total)) if trusted else 0.0,
    )
