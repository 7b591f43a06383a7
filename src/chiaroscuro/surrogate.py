"""A linear model of the mask weight whose prior knows the target: the same map from fewer masks.

The map of infinitely many masks is the covariance of mask and weight, ``m(p) = Cov(M(p), w)``.
Model the weight, on a scale where evidence adds up, as linear in the mask::

    y = link(w) = a + sum_q b(q) M(q) + noise,        link(w) = log((w + 0.1) / (1.1 - w))

Then ``m = d C b``, where ``C(p, q) = Cov(M(p), M(q))`` is known from the mask design without any
detector pass, and ``d`` is the mean slope of ``w`` over ``y``. The detector's passes have to teach
``b`` alone, and much is known of it beforehand: it is smooth, strongest near the target, and zero
where hiding changes nothing. That is a Gaussian process with prior covariance ::

    Cov(b(p), b(q)) = s^2 e(p) e(q) exp(-|p - q|^2 / (2 l^2)),    e = envelope x visibility

``envelope`` falls from 1 at the target to a floor far from it; ``visibility`` is how much hiding a
place changes the picture, 0 where a black fill hides black paint. Length ``l``, the envelope's
centre, width and floor, ``s`` and the noise are those of highest marginal likelihood. It stays a
prior: with enough masks the data decide, and evidence far from the target, or in one corner of its
box, is found.

Masks that come in antithetic pairs, a mask and its complement, are used as half their difference:
whatever is the same under both, all interactions of even order among it, drops out of the noise.

The posterior gives the standard error, and the fidelity: with ``S`` the sum of squares of the map
about its mean over the target's neighbourhood, and ``N`` the posterior variance of that, the
expected correlation of the posterior mean with the truth is ``sqrt(S / (S + N))``.

References: Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006,
chapters 2 and 5. The use for mask-based saliency is ours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from chiaroscuro import boxes
from chiaroscuro.masks import Masks, fill_image
from chiaroscuro.records import Target
from chiaroscuro.threads import one_thread as _one_thread

LINK_FLOOR = 0.1
POINTS_A_CELL = 2.0  # lattice points on which b is modelled, each way
MOST_POINTS = 48  # each way
MIN_VISIBILITY = 0.02
SEARCH_ROWS = 128  # contrasts from which the prior is chosen
SCALE_ROWS = 256  # contrasts from which scale and noise are chosen
CHUNK = 512  # masks summed in one go; even, so that pairs stay together
NEAR_POINTS = 16  # each way, where fidelity is judged
RATIOS = torch.logspace(-4, 5, 46, dtype=torch.float64)  # of prior to noise variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is believed of ``b`` before any detector pass.

    Attributes:
        centred: whether the envelope falls from the box's centre, in units of the box's width and
            height, or from its edge, in units of its size (the square root of its area).
        width: of the envelope, in those units.
        floor: of the envelope, far away.
        length: over which ``b`` is smooth, in box sizes.
    """

    centred: bool = False
    width: float = 1.0
    floor: float = 0.1
    length: float = 0.5


STAGES: tuple[list[dict[str, Any]], ...] = (
    [{"centred": c, "width": w} for c in (False, True) for w in (0.4, 0.7, 1.2, 2.0)],
    [{"floor": floor} for floor in (0.01, 0.03, 0.3, 1.0)],
    [{"length": length} for length in (0.15, 0.25, 1.0)],
)  # changes of the prior to try, stage after stage, each from the best so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What is known of one target's map after the passes.

    Attributes:
        saliency: ``height width``, in the units of the covariance of mask and weight.
        standard_error: ``height width``, in the same units.
        fidelity: expected correlation with the map of infinitely many masks, in [0, 1].
        prior: the one chosen.
    """

    saliency: Float32[Tensor, "height width"]
    standard_error: Float32[Tensor, "height width"]
    fidelity: float
    prior: Prior


class Surrogate:
    """The model of one picture's mask weights, for all its targets.

    The masks enter through their moments on a lattice, summed a chunk at a time, so memory does not
    grow with their number. Deterministic: one thread, fixed order.

    Args:
        masks: those of the picture.
        image: ``3 height width``, float32 in [0, 1]: where hiding changes nothing, ``b`` is zero.
        weights: ``targets n_masks``, of masks 0 to ``n_masks - 1``, in [0, 1].
    """

    def __init__(
        self,
        masks: Masks,
        image: Float32[Tensor, "3 height width"],
        weights: Float32[Tensor, "targets n_masks"],
    ) -> None:
        self.masks = masks
        self.rows, self.columns = (
            _lattice(size, cell)
            for size, cell in zip((masks.height, masks.width), masks.cell, strict=True)
        )
        with _one_thread():
            self.visibility = self._visibility(image)
            w = weights.double()
            self.slopes = ((w + LINK_FLOOR) * (1 + LINK_FLOOR - w) / (1 + 2 * LINK_FLOOR)).mean(1)
            self.answers = self._contrast(((w + LINK_FLOOR) / (1 + LINK_FLOOR - w)).log().T)
            self._sum_up(weights.shape[1])

    def fit(self, index: int, target: Target) -> Posterior:
        """The map of one target.

        Args:
            index: row of the weights.
            target: its box is what the prior knows.
        """
        height, width = self.masks.height, self.masks.width
        y = self.answers[:, index]
        if len(y) < 2 or float(y.abs().max()) < 1e-9:
            nothing = torch.zeros(height, width, dtype=torch.float32)
            return Posterior(saliency=nothing, standard_error=nothing, fidelity=0.0, prior=Prior())
        with _one_thread():
            prior = self._choose_prior(y, target)
            spread = self._spread(prior, target)
            mean, variance = self._learn(index, y, spread)

            keep = self.masks.design.keep_probability
            units = float(self.slopes[index]) * keep * (1 - keep)
            field = self._unwhiten(mean, spread)
            down = self.masks.covariance(0, torch.arange(height), self.rows)
            right = self.masks.covariance(1, torch.arange(width), self.columns)
            saliency = units * (down @ field @ right.T)

            lattice = self._covered(self.rows, self.columns, spread)
            error = units * variance(lattice).clamp(min=0).sqrt()
            error = error.reshape(1, 1, len(self.rows), len(self.columns))
            standard_error = F.interpolate(error, (height, width), mode="bilinear")[0, 0]

            near_rows, near_columns, near = _near_points(target, height, width)
            about_mean = self._covered(near_rows, near_columns, spread)[:, near]
            about_mean = about_mean - about_mean.mean(1, keepdim=True)
            shown = saliency[near_rows][:, near_columns].reshape(-1)[near]
            signal = float((shown - shown.mean()).square().sum())
            noise_sum = units**2 * float(variance(about_mean).clamp(min=0).sum())
        return Posterior(
            saliency=saliency.float(),
            standard_error=standard_error.float(),
            fidelity=math.sqrt(signal / (signal + noise_sum)) if signal + noise_sum > 0 else 0.0,
            prior=prior,
        )

    def _learn(
        self, index: int, y: Float64[Tensor, " n"], spread: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Float64[Tensor, " unknowns"], Callable[[Tensor], Tensor]]:
        """Posterior mean of the unknowns, and the variance of any linear functions of them.

        Two forms of the same, by which is smaller: as many equations as there are contrasts, where
        they are few and all at hand, or as there are unknowns, from the moments.

        Returns:
            The mean; and a function from ``unknowns functions`` to ``functions``.
        """
        x = self._whiten(self.contrasts, spread)
        ratio, noise, values, vectors = _scale(x, y[: len(x)])
        if len(y) == len(x) < x.shape[1]:
            shrink = 1 / (ratio * values + 1)
            mean = ratio * (x.T @ (vectors @ (shrink * (vectors.T @ y))))
            seen = ratio * (shrink.sqrt()[:, None] * (vectors.T @ x))

            def few(functions: Tensor) -> Tensor:
                believed = ratio * functions.square().sum(0)
                variance: Tensor = noise * (believed - (seen @ functions).square().sum(0))
                return variance

            return mean, few
        half = self._whiten(self.gram.reshape(-1, *self.visibility.shape), spread)
        precision = self._whiten(half.T.reshape(-1, *self.visibility.shape), spread)
        precision.diagonal().add_(1 / ratio)
        root = torch.linalg.cholesky(precision)
        learnt = self._whiten(self.projection[None, :, :, index], spread).T
        mean = torch.cholesky_solve(learnt, root)[:, 0]

        def many(functions: Tensor) -> Tensor:
            left: Tensor = torch.linalg.solve_triangular(root, functions, upper=False)
            return noise * left.square().sum(0)

        return mean, many

    def _covered(
        self, rows: Tensor, columns: Tensor, spread: tuple[Tensor, Tensor, Tensor]
    ) -> Float64[Tensor, "unknowns points"]:
        """The map at a grid of pixels, but for its units, as functions of the unknowns."""
        covered = torch.einsum(
            "ay,bx->abyx",
            self.masks.covariance(0, rows, self.rows),
            self.masks.covariance(1, columns, self.columns),
        )
        return self._whiten(covered.flatten(0, 1), spread).T

    def _contrast(self, values: Float64[Tensor, "n *rest"]) -> Float64[Tensor, "contrasts *rest"]:
        """Half the difference within antithetic pairs, or else the difference from the mean."""
        if self.masks.design.in_pairs:
            even = values[: len(values) // 2 * 2]
            return (even[0::2] - even[1::2]) / 2
        return values - values.mean(dim=0)

    def _sum_up(self, n_masks: int) -> None:
        """Moments of the masks' contrasts ``X`` on the lattice, and the first few of them.

        ``gram`` is ``X.T @ X``, ``points points``; ``projection`` is ``X.T @ answers``,
        ``rows columns targets``.
        """
        points, targets = self.visibility.numel(), self.answers.shape[1]
        paired = self.masks.design.in_pairs
        gram = torch.zeros(points, points, dtype=torch.float64)
        projection = torch.zeros(points, targets, dtype=torch.float64)
        total = torch.zeros(points, dtype=torch.float64)
        first, done = [], 0
        for start in range(0, n_masks, CHUNK):
            stop = min(start + CHUNK, n_masks)
            fields = self.masks.sample(start, stop, self.rows, self.columns).flatten(1).double()
            part = self._contrast(fields) if paired else fields - self.masks.design.keep_probability
            gram += part.T @ part
            for i in range(targets):  # one by one: the same bits with any number of targets
                projection[:, i] += part.T @ self.answers[done : done + len(part), i]
            total += part.sum(0)
            if done < SCALE_ROWS:
                first.append(part[: SCALE_ROWS - done])
            done += len(part)
        contrasts = torch.cat(first)
        if not paired:
            contrasts = contrasts - total / done
            gram -= torch.outer(total, total) / done
        self.gram = gram
        self.projection = projection.reshape(*self.visibility.shape, targets)
        self.contrasts = contrasts.reshape(-1, *self.visibility.shape)

    def _choose_prior(self, y: Tensor, target: Target) -> Prior:
        def likelihood(prior: Prior) -> float:
            x = self._whiten(self.contrasts[:SEARCH_ROWS], self._spread(prior, target))
            return float(_log_evidence(x, y[:SEARCH_ROWS])[0].max())

        best = Prior()
        highest = likelihood(best)
        for stage in STAGES:
            start = best
            for change in stage:
                prior = replace(start, **change)
                value = likelihood(prior)
                if value > highest:
                    best, highest = prior, value
        return best

    def _spread(self, prior: Prior, target: Target) -> tuple[Tensor, Tensor, Tensor]:
        """Envelope x visibility, and the square roots of the smoothness along both axes."""
        x1, y1, x2, y2 = target.box.tolist()
        size = float(boxes.area(target.box).sqrt())
        x, y = self.columns.double() + 0.5, self.rows.double() + 0.5
        if prior.centred:
            across, down = (x - (x1 + x2) / 2) / (x2 - x1), (y - (y1 + y2) / 2) / (y2 - y1)
        else:
            across = torch.maximum(x1 - x, x - x2).clamp(min=0) / size
            down = torch.maximum(y1 - y, y - y2).clamp(min=0) / size
        square = (across**2)[None] + (down**2)[:, None]
        envelope = prior.floor + (1 - prior.floor) * torch.exp(-square / (2 * prior.width**2))
        length = prior.length * size
        return envelope * self.visibility, _root(y, length), _root(x, length)

    @staticmethod
    def _whiten(
        fields: Float64[Tensor, "n rows columns"], spread: tuple[Tensor, Tensor, Tensor]
    ) -> Float64[Tensor, "n unknowns"]:
        """Features of unknowns that are independent and of unit variance under the prior."""
        envelope, down, right = spread
        features: Tensor = down.T @ (fields * envelope) @ right
        return features.flatten(1)

    @staticmethod
    def _unwhiten(
        unknowns: Float64[Tensor, " unknowns"], spread: tuple[Tensor, Tensor, Tensor]
    ) -> Float64[Tensor, "rows columns"]:
        envelope, down, right = spread
        return envelope * (down @ unknowns.reshape(down.shape[1], right.shape[1]) @ right.T)

    def _visibility(self, image: Tensor) -> Float64[Tensor, "rows columns"]:
        """How much hiding a place changes the picture there, in (0, 1]: the root of the change."""
        fill = fill_image(self.masks.design.fill, image)
        change = (image if fill is None else image - fill).square().mean(dim=0).sqrt()
        shape = (len(self.rows), len(self.columns))
        local = F.adaptive_avg_pool2d(change[None, None], shape)[0, 0].double()
        return (local / local.max().clamp(min=1e-6)).clamp(min=MIN_VISIBILITY).sqrt()


def _lattice(size: int, cell: int) -> Tensor:
    """Evenly spaced pixels along one axis."""
    points = min(max(1, round(size / cell * POINTS_A_CELL)), MOST_POINTS, size)
    return ((torch.arange(points) + 0.5) * size / points).long()


def _root(positions: Float64[Tensor, " n"], length: float) -> Float64[Tensor, "n rank"]:
    """A square root of the smoothness prior along one axis, without its vanishing directions."""
    distance = (positions[:, None] - positions) / length
    values, vectors = torch.linalg.eigh(torch.exp(-(distance**2) / 2))
    kept = values > 1e-3 * values[-1]
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def _log_evidence(
    x: Float64[Tensor, "n unknowns"], y: Float64[Tensor, " n"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log marginal likelihood at every ratio of prior to noise variance.

    The noise variance is the best one at each ratio (Rasmussen and Williams, equation 5.8).

    Returns:
        ``ratios``; the noise variance at each; and eigenvalues and vectors of ``x @ x.T``.
    """
    values, vectors = torch.linalg.eigh(x @ x.T)
    values = values.clamp(min=0)
    spectrum = values[:, None] * RATIOS + 1
    noise = ((vectors.T @ y).square() @ (1 / spectrum) / len(y)).clamp(min=1e-12)
    return -0.5 * (spectrum.log().sum(0) + len(y) * noise.log()), noise, values, vectors


def _scale(x: Tensor, y: Tensor) -> tuple[float, float, Tensor, Tensor]:
    """Ratio of prior to noise variance, and noise variance, of highest marginal likelihood."""
    likelihood, noise, values, vectors = _log_evidence(x, y)
    best = int(likelihood.argmax())
    return float(RATIOS[best]), float(noise[best]), values, vectors


def _near_points(
    target: Target, height: int, width: int
) -> tuple[Tensor, Tensor, Bool[Tensor, " points"]]:
    """A grid of pixels over the target's neighbourhood, and which of its points lie in it."""
    inside, ring = boxes.neighbourhood(target.box, height, width)
    near = inside | ring
    rows, columns = near.any(1).nonzero()[:, 0], near.any(0).nonzero()[:, 0]
    if not len(rows):  # a box between pixel centres
        x1, y1, x2, y2 = target.box.tolist()
        rows = torch.tensor([min(int((y1 + y2) / 2), height - 1)])
        columns = torch.tensor([min(int((x1 + x2) / 2), width - 1)])
        return rows, columns, torch.tensor([True])
    rows, columns = (
        points[torch.linspace(0, len(points) - 1, min(NEAR_POINTS, len(points))).round().long()]
        for points in (rows, columns)
    )
    return rows, columns, near[rows][:, columns].reshape(-1)
