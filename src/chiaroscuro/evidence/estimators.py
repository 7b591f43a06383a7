"""From mask weights to saliency maps, with their standard error and fidelity.

Two estimators are a linear combination of masks, ``sum_i u_i M_i``, that differs in how the
coefficients ``u`` follow from the weights ``w``:

- ``paper``: ``u_i = w_i``, the published sum (D-RISE, arXiv:2006.03204, section 3.1). Its map
  includes the mask coverage, which is noise.
- ``centred``: ``u_i = (w_i - mean w) / (n - 1)``, the sample covariance of weight and mask. Same
  expectation up to scale and an additive constant, far less noise, and a sign: pixels that suppress
  the target are negative.

``surrogate``, in its own module, models the weight instead and needs far fewer masks.

For the two sums, error bars come from splitting the masks into groups: the spread of the groups'
sums is the standard error of their total (batch means), and over the target's neighbourhood it
gives the fidelity, ``sqrt(signal / (signal + noise))``, the expected correlation with the map of
infinitely many masks. It is multiplied by the probability that there is anything to see, from how
rarely noise of as many degrees of freedom has a total so far above the groups' spread.

No fidelity is estimated from fewer than ``MIN_MASKS`` masks, or from fewer than ``MIN_ANSWERS``
answers: the number of masks that the weights' variance rests on, ``(sum d^2)^2 / sum d^4`` with
``d`` the difference from the mean weight. It is ``k`` where ``k`` masks of many have a weight.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.masks import Masks
from chiaroscuro.core.records import Target
from chiaroscuro.core.windows import Window
from chiaroscuro.evidence.explanation import MIN_MASKS
from chiaroscuro.evidence.surrogate import OUTSIDE, Posterior, Surrogate, probability

N_GROUPS = 12
MIN_ANSWERS = 10
_DOUBT = 3.0  # log odds against there being anything to see in a sum, before a pass
_JUDGED_POINTS = 32  # each way, where fidelity is estimated over the whole picture

Coefficients = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One target's map.

    Attributes:
        saliency: ``height width``.
        standard_error: ``height width``, in the same units.
        fidelity: in [0, 1]; 0 where nothing exceeds the noise, NaN with too few masks or answers.
        outside: whether most of the map's energy lies outside the target's neighbourhood, so that
            the fidelity is of the whole picture.
    """

    saliency: Float32[Tensor, "height width"]
    standard_error: Float32[Tensor, "height width"]
    fidelity: float
    outside: bool = False


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
    window: Window | None = None,
) -> list[Estimate]:
    """The saliency map of every target from the weights in [0, 1] of the first masks.

    ``image`` has values in [0, 1]. Weights of passes in a ``window`` tell nothing of what lies
    beyond: there the surrogate's maps are zero. Deterministic: the same weights give the same bits.
    """
    check_name(estimator)
    if not targets:
        return []
    if estimator == "surrogate":
        model = Surrogate(masks, image, weights, window)
        estimates = [_modelled(model.fit(i, target)) for i, target in enumerate(targets)]
        estimates = [_cut_to(model.window, one) for one in estimates]
    else:
        estimates = [_sum(masks, w, t, estimator) for w, t in zip(weights, targets, strict=True)]
    return [_as_judged(one, w) for one, w in zip(estimates, weights, strict=True)]


def _cut_to(window: Window, estimate: Estimate) -> Estimate:
    """An estimate that says nothing of what lies beyond a window."""
    maps = torch.stack([estimate.saliency, estimate.standard_error])
    cut = torch.zeros_like(maps)
    window.of(cut).copy_(window.of(maps))
    return replace(estimate, saliency=cut[0], standard_error=cut[1])


def _as_judged(estimate: Estimate, weights: Float32[Tensor, " n_masks"]) -> Estimate:
    """Remove a fidelity of too few masks or answers; with too few answers enlarge the error."""
    if len(weights) < MIN_MASKS:
        return replace(estimate, fidelity=float("nan"))
    if n_answers(weights) < MIN_ANSWERS:
        error = torch.maximum(estimate.standard_error, estimate.saliency.abs())
        return replace(estimate, fidelity=float("nan"), standard_error=error)
    return estimate


def n_answers(weights: Float32[Tensor, " n_masks"]) -> float:
    """Number of masks that the variance of the weights rests on; 0 if all weights are equal."""
    if not len(weights):
        return 0.0
    squares = (weights.double() - weights.double().mean()).square()
    fourth = float(squares.square().sum())
    return float(squares.sum()) ** 2 / fourth if fourth > 1e-30 else 0.0


def _modelled(posterior: Posterior) -> Estimate:
    """The surrogate's map with the lower of its two fidelities."""
    return Estimate(
        saliency=posterior.saliency,
        standard_error=posterior.standard_error,
        fidelity=min(posterior.fidelity, posterior.agreement),
        outside=posterior.outside,
    )


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
    everywhere = torch.zeros(shape, dtype=torch.bool)
    rows, columns = (torch.linspace(0, s - 1, min(s, _JUDGED_POINTS)).long() for s in shape)
    everywhere[rows[:, None], columns] = True
    total = torch.zeros(shape, dtype=torch.float64)
    squares = torch.zeros(shape, dtype=torch.float64)
    near_parts, parts = [], []
    for blocks in np.array_split(np.arange(math.ceil(n / block)), n_groups):
        group = np.arange(blocks[0] * block, min((blocks[-1] + 1) * block, n))
        part = masks.weighted_sum(u[group], group) - keep * float(u[group].sum())
        total += part
        squares += part**2
        near_parts.append(part[near])
        parts.append(part[everywhere])
    spread = n_groups / max(n_groups - 1, 1)
    variance = spread * (squares - total**2 / n_groups).clamp(min=0)
    fidelity, energy = _judged(near_parts)
    of_picture, whole_energy = _judged(parts)
    share = float((near & everywhere).sum()) / float(everywhere.sum())
    outside = of_picture > max(fidelity, 0.5) and energy * share < OUTSIDE * whole_energy
    return Estimate(
        saliency=total.float(),
        standard_error=variance.sqrt().float(),
        fidelity=of_picture if outside else fidelity,
        outside=outside,
    )


def _judged(parts: Sequence[Float64[Tensor, " points"]]) -> tuple[float, float]:
    """Fidelity over some points from the groups' sums, and energy above the noise per point."""
    n = len(parts)
    if n < 4 or not len(parts[0]):
        return 0.0, 0.0
    sums = torch.stack(list(parts))
    sums = sums - sums.mean(dim=1, keepdim=True)
    apart = sums - sums.mean(dim=0)
    between = apart @ apart.T
    noise = n / (n - 1) * float(between.trace())
    total = float(sums.sum(dim=0).square().sum())
    if noise <= 0 or total <= noise:
        return 0.0, 0.0
    # of noise with k degrees of freedom, the groups' covariance is a Wishart matrix
    spread = float(between.square().sum()) / float(between.trace()) ** 2
    freedom = 1 / max(spread - 1 / (n - 1), 1e-3)
    gain = max(0.0, _normal(total / noise, freedom, freedom * (n - 1))) ** 2 / 2
    known = 1 - noise / total
    return math.sqrt(known) * probability(gain, _DOUBT), known * total / len(parts[0])


def _normal(ratio: float, above: float, below: float) -> float:
    """The standard normal value as rare as a ratio of two variances (Paulson, 1942)."""
    one, other = 2 / (9 * above), 2 / (9 * below)
    root = float(ratio ** (1 / 3))
    return ((1 - other) * root - (1 - one)) / math.sqrt(one + root**2 * other)
