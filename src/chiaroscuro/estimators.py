"""From mask weights to saliency maps, with their standard error and fidelity.

Two estimators are a linear combination of masks, ``sum_i u_i M_i``, that differs in how the
coefficients ``u`` follow from the weights ``w``:

- ``paper``: ``u_i = w_i``, the published sum (D-RISE, arXiv:2006.03204, section 3.1). Its map holds
  the mask coverage too, which is noise.
- ``centred``: ``u_i = (w_i - mean w) / (n - 1)``, the sample covariance of weight and mask. Same
  expectation up to scale and an additive constant, far less noise, and a sign: pixels that suppress
  the target come out negative.

``surrogate``, in a module of its own, models the weight instead and needs far fewer masks.

For the two sums, error bars come from splitting the masks into groups: the spread of the groups'
sums is the standard error of their total (batch means), and over the target's neighbourhood it
gives the fidelity, ``sqrt(signal / (signal + noise))``, the expected correlation with the map of
infinitely many masks.
"""

import math
from collections.abc import Callable, Sequence
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
from chiaroscuro.surrogate import Surrogate

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


SUMS: dict[str, Coefficients] = {"paper": paper, "centred": centred}

MEANINGS = {
    "paper": "sum over the masks of weight x mask",
    "centred": "covariance of mask weight and mask",
    "surrogate": "covariance of mask weight and mask, from a linear model of the weight",
}


def check_name(estimator: str) -> None:
    """Raise UnknownNameError if there is no estimator of that name."""
    if not isinstance(estimator, str) or estimator not in MEANINGS:
        raise UnknownNameError("estimator", estimator, list(MEANINGS))


def estimate(
    masks: Masks,
    image: Float32[Tensor, "3 height width"],
    weights: Float32[Tensor, "targets n_masks"],
    targets: Sequence[Target],
    estimator: str,
) -> list[Estimate]:
    """The saliency map of every target from the weights of masks 0 to ``n_masks - 1``.

    Deterministic: the same weights give the same bits.

    Args:
        masks: those observed.
        image: the picture, values in [0, 1].
        weights: of every mask for every target, in [0, 1].
        targets: what is explained.
        estimator: a name of ``MEANINGS``.
    """
    check_name(estimator)
    if not targets:
        return []
    if estimator == "surrogate":
        model = Surrogate(masks, image, weights)
        fits = (model.fit(i, target) for i, target in enumerate(targets))
        return [
            Estimate(saliency=f.saliency, standard_error=f.standard_error, fidelity=f.fidelity)
            for f in fits
        ]
    return [_sum(masks, w, t, estimator) for w, t in zip(weights, targets, strict=True)]


def _sum(
    masks: Masks, weights: Float32[Tensor, " n_masks"], target: Target, estimator: str
) -> Estimate:
    """Map and error bars of the estimators that are sums over the masks."""
    w = weights.double().numpy()
    n = len(w)
    u = SUMS[estimator](w)
    keep = masks.design.keep_probability if estimator == "centred" else 0.0
    block = 2 if masks.design.in_pairs else 1  # a pair stays together
    n_groups = max(1, min(N_GROUPS, n // block))
    shape = (masks.height, masks.width)
    inside, ring = boxes.neighbourhood(target.box, *shape)
    near = inside | ring
    total = torch.zeros(shape, dtype=torch.float64)
    squares = torch.zeros(shape, dtype=torch.float64)
    near_noise = 0.0
    sums = []
    for blocks in np.array_split(np.arange(math.ceil(n / block)), n_groups):
        group = np.arange(blocks[0] * block, min((blocks[-1] + 1) * block, n))
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
