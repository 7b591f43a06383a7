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
centre, width and floor, ``s`` and the noise are those of highest marginal likelihood, the last two
over all masks. It stays a prior: with enough masks the data decide, and evidence far from the
target, or in one corner of its box, is found.

**There may be nothing to find.** A detector whose weights do not depend on what is hidden gives
answers that some prior fits a little. So the model of best likelihood is weighed against the one in
which ``b`` is zero and all is noise, with prior odds of ``exp(-DOUBT)`` for the sixteen priors that
are tried. With ``P`` the probability that there is something, the map is ``P m`` and its variance
``P v + P (1 - P) m^2``, the mean and variance of the mixture.

Masks that come in antithetic pairs, a mask and its complement, are used as half their difference:
whatever is the same under both, all interactions of even order among it, drops out of the noise.

The posterior gives the standard error, and the fidelity: with ``S`` the sum of squares of the map
about its mean over a region, and ``N`` the posterior variance of that, the expected correlation of
the posterior mean with the truth is ``P sqrt(S / (S + N))``. The prior is itself chosen from the
answers, which the posterior does not know: so from ``n`` contrasts ``N`` counts ``1 + 50 / n``
times. The region is the target's neighbourhood, or the picture where most of the map's supported
energy lies outside of it. A second look needs no model of the noise: the maps from both halves of
the masks correlate by ``r``, so a map of all correlates with the truth by about
``sqrt(2 r / (1 + r))`` (Spearman, 1910).

References: Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006,
chapters 2 and 5. The use for mask-based saliency is ours.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.masks import Masks, fill_image
from chiaroscuro.core.records import Target
from chiaroscuro.core.threads import one_thread

LINK_FLOOR = 0.1
POINTS_A_CELL = 2.0  # lattice points on which b is modelled, each way
MOST_POINTS = 48  # each way
MIN_VISIBILITY = 0.02
SEARCH_ROWS = 128  # contrasts from which the prior's form is chosen
FEW_ROWS = 256  # contrasts up to which there are as many equations as contrasts
DOUBT = 7.0  # log odds against there being anything to find, before a pass
UNSURE = 50  # contrasts at which the prior, chosen from them, adds as much doubt as the noise
OUTSIDE = 1 / 3  # share of the map's energy near the box, below which it is judged over the picture
CHUNK = 512  # masks summed in one go; even, so that pairs stay together
JUDGED_POINTS = 16  # each way, where fidelity is judged
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
        agreement: the same from how well the maps of both halves of the masks agree, in [0, 1].
        outside: whether most of the map's energy lies outside the target's neighbourhood, so that
            both are of the whole picture.
        prior: the one chosen.
    """

    saliency: Float32[Tensor, "height width"]
    standard_error: Float32[Tensor, "height width"]
    fidelity: float
    agreement: float = 0.0
    outside: bool = False
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
        with one_thread():
            self.visibility = self._visibility(image)
            w = weights.double()
            self.slopes = ((w + LINK_FLOOR) * (1 + LINK_FLOOR - w) / (1 + 2 * LINK_FLOOR)).mean(1)
            self.answers = self._contrast(((w + LINK_FLOOR) / (1 + LINK_FLOOR - w)).log().T)
            self.searched = [_telling_rows(y) for y in self.answers.T]
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
        with one_thread():
            prior = self._choose_prior(index, target)
            spread = self._spread(prior, target)
            learnt = self._learn(index, y, spread)
            something = probability(learnt.gain)

            keep = self.masks.design.keep_probability
            units = float(self.slopes[index]) * keep * (1 - keep)
            field = self._unwhiten(learnt.mean, spread)
            down = self.masks.covariance(0, torch.arange(height), self.rows)
            right = self.masks.covariance(1, torch.arange(width), self.columns)
            saliency = units * (down @ field @ right.T)

            lattice = self._covered(self.rows, self.columns, spread)
            variance = (units**2 * learnt.variance(lattice)).clamp(min=0)
            variance = variance.reshape(1, 1, len(self.rows), len(self.columns))
            variance = F.interpolate(variance, (height, width), mode="bilinear")[0, 0]
            variance = something * (variance + (1 - something) * saliency.square())
            saliency, standard_error = something * saliency, variance.sqrt()

            near = energy_near(saliency, standard_error, target)
            outside = near is not None and near < OUTSIDE
            functions = self._judged(target, spread, outside)
            fidelity, agreement = learnt.judge(functions)
        return Posterior(
            saliency=saliency.float(),
            standard_error=standard_error.float(),
            fidelity=something * fidelity,
            agreement=something * agreement,
            outside=outside,
            prior=prior,
        )

    def _learn(
        self, index: int, y: Float64[Tensor, " n"], spread: tuple[Tensor, Tensor, Tensor]
    ) -> "_Learnt":
        """What the answers say of the unknowns.

        Two forms of the same, by which is smaller: as many equations as there are contrasts, where
        they are few, or as there are unknowns, from the moments.
        """
        if len(y) <= FEW_ROWS:
            return _from_contrasts(self._whiten(self.contrasts, spread), y)
        shape = (-1, *self.visibility.shape)
        grams = []
        for gram in self.gram:
            half = self._whiten(gram.reshape(shape), spread)
            grams.append(self._whiten(half.T.reshape(shape), spread))
        projections = self._whiten(self.projection[..., index], spread)
        x = self._whiten(self._search_rows(index), spread)
        start = int(_log_evidence(x, y[self.searched[index]])[0].argmax())
        return _from_moments(grams, projections, float(y.square().sum()), len(y), start)

    def _judged(
        self, target: Target, spread: tuple[Tensor, Tensor, Tensor], outside: bool
    ) -> Float64[Tensor, "unknowns points"]:
        """The map about its mean over the region where it is judged, but for its units."""
        height, width = self.masks.height, self.masks.width
        if outside:
            where = torch.ones(height, width, dtype=torch.bool)
        else:
            where = torch.stack(boxes.neighbourhood(target.box, height, width)).any(0)
        rows, columns, judged = _some_points(where, target)
        functions = self._covered(rows, columns, spread)[:, judged]
        return functions - functions.mean(1, keepdim=True)

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
        """Moments of the masks' contrasts ``X`` on the lattice, and some of the contrasts.

        ``gram`` is ``X.T @ X``, ``2 points points``, and ``projection`` is ``X.T @ answers``,
        ``2 rows columns targets``: of every second contrast, and of the others. ``contrasts`` are
        all where they are few, else those from which a prior is chosen, numbered by ``kept``.
        """
        points, targets = self.visibility.numel(), self.answers.shape[1]
        paired = self.masks.design.in_pairs
        gram = torch.zeros(2, points, points, dtype=torch.float64)
        projection = torch.zeros(2, points, targets, dtype=torch.float64)
        total = torch.zeros(2, points, dtype=torch.float64)
        if len(self.answers) <= FEW_ROWS:
            self.kept = torch.arange(len(self.answers))
        else:
            self.kept = torch.tensor(sorted(set(torch.cat(self.searched).tolist())))
        kept, done = [], 0
        for start in range(0, n_masks, CHUNK):
            stop = min(start + CHUNK, n_masks)
            fields = self.masks.sample(start, stop, self.rows, self.columns).flatten(1).double()
            part = self._contrast(fields) if paired else fields - self.masks.design.keep_probability
            for half in (0, 1):
                rows = part[half::2]
                gram[half] += rows.T @ rows
                total[half] += rows.sum(0)
                for i in range(targets):  # one by one: the same bits with any number of targets
                    answers = self.answers[done + half : done + len(part) : 2, i]
                    projection[half, :, i] += rows.T @ answers
            here = self.kept[(self.kept >= done) & (self.kept < done + len(part))]
            kept.append(part[here - done])
            done += len(part)
        contrasts = torch.cat(kept)
        if not paired:
            mean = total.sum(0) / done
            contrasts = contrasts - mean
            for half, n in ((0, (done + 1) // 2), (1, done // 2)):
                crossed = torch.outer(total[half], mean)
                gram[half] -= crossed + crossed.T - n * torch.outer(mean, mean)
                projection[half] -= torch.outer(mean, self.answers[half::2].sum(0))
        self.gram = gram
        self.projection = projection.reshape(2, *self.visibility.shape, targets)
        self.contrasts = contrasts.reshape(-1, *self.visibility.shape)

    def _search_rows(self, index: int) -> Float64[Tensor, "n rows columns"]:
        return self.contrasts[torch.searchsorted(self.kept, self.searched[index])]

    def _choose_prior(self, index: int, target: Target) -> Prior:
        y, rows = self.answers[self.searched[index], index], self._search_rows(index)

        def likelihood(prior: Prior) -> float:
            x = self._whiten(rows, self._spread(prior, target))
            return float(_log_evidence(x, y)[0].max())

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


def probability(gain: float, doubt: float = DOUBT) -> float:
    """That there is something to find, from the log likelihood gained over noise alone."""
    return 1 / (1 + math.exp(min(doubt - gain, 700.0)))


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


@dataclass(frozen=True, slots=True)
class _Learnt:
    """Posterior of one target's unknowns.

    Attributes:
        mean: of the unknowns.
        halves: ``unknowns 2``: the same from every second contrast alone, and from the others.
        n: how many contrasts there were.
        noise: variance of an answer that the model leaves unexplained.
        gain: log marginal likelihood over that of noise alone.
        spread: variance of linear functions ``unknowns n`` of the unknowns, over ``noise``.
    """

    mean: Float64[Tensor, " unknowns"]
    halves: Float64[Tensor, "unknowns 2"]
    n: int
    noise: float
    gain: float
    spread: Callable[[Tensor], Tensor]

    def variance(self, functions: Float64[Tensor, "unknowns n"]) -> Float64[Tensor, " n"]:
        return (self.noise * self.spread(functions)).clamp(min=0)

    def judge(self, functions: Float64[Tensor, "unknowns n"]) -> tuple[float, float]:
        """Expected correlation of the functions' posterior means with the truth.

        Returns:
            By the posterior, and by the agreement of both halves of the masks; in [0, 1].
        """
        signal = float((functions.T @ self.mean).square().sum())
        noise = float(self.variance(functions).sum())
        if signal <= 0:
            return 0.0, 0.0
        first, second = (functions.T @ self.halves).T
        lengths = float(first.norm() * second.norm())
        alike = max(0.0, float(first @ second) / lengths) if lengths > 0 else 0.0
        noise *= 1 + UNSURE / self.n
        return math.sqrt(signal / (signal + noise)), math.sqrt(2 * alike / (1 + alike))


def _from_contrasts(x: Float64[Tensor, "n unknowns"], y: Float64[Tensor, " n"]) -> _Learnt:
    """As many equations as there are contrasts."""
    likelihood, noises, values, vectors = _log_evidence(x, y)
    best = int(likelihood.argmax())
    ratio = float(RATIOS[best])

    def mean(x: Tensor, y: Tensor) -> Tensor:
        system = ratio * (x @ x.T)
        system.diagonal().add_(1)
        solved: Tensor = ratio * (x.T @ torch.linalg.solve(system, y))
        return solved

    seen = ratio / (ratio * values + 1).sqrt()[:, None] * (vectors.T @ x)
    return _Learnt(
        mean=mean(x, y),
        halves=torch.stack([mean(x[0::2], y[0::2]), mean(x[1::2], y[1::2])], dim=1),
        n=len(y),
        noise=float(noises[best]),
        gain=float(likelihood[best]) - _of_noise_alone(float(y.square().sum()), len(y)),
        spread=lambda f: ratio * f.square().sum(0) - (seen @ f).square().sum(0),
    )


def _from_moments(
    grams: Sequence[Float64[Tensor, "unknowns unknowns"]],
    projections: Float64[Tensor, "2 unknowns"],
    square: float,
    n: int,
    start: int,
) -> _Learnt:
    """As many equations as there are unknowns.

    Args:
        grams: ``x.T @ x`` of both halves of the contrasts.
        projections: ``x.T @ y`` of them.
        square: sum of squares of the ``n`` answers ``y``.
        n: how many there are.
        start: index of the ratio from which the one of highest likelihood is climbed to.
    """
    gram, projection = grams[0] + grams[1], projections.sum(0)[:, None]
    tried: dict[int, tuple[float, float, Tensor]] = {}

    def likelihood(index: int) -> float:
        if index not in tried:
            root = _root_of_precision(gram, index)
            explained = torch.linalg.solve_triangular(root, projection, upper=False).square().sum()
            noise = max((square - float(explained)) / n, 1e-12)
            volume = len(gram) * math.log(RATIOS[index]) + 2 * float(root.diagonal().log().sum())
            tried[index] = -0.5 * (volume + n * math.log(noise)), noise, root
        return tried[index][0]

    best = start
    for step in (4, 2, 1):
        moved = True
        while moved:
            around = [i for i in (best - step, best + step) if 0 <= i < len(RATIOS)]
            better = max(around, key=likelihood)
            moved = likelihood(better) > likelihood(best)
            best = better if moved else best
    value, noise, root = tried[best]
    halves = [
        torch.cholesky_solve(part[:, None], _root_of_precision(half, best))
        for half, part in zip(grams, projections, strict=True)
    ]
    return _Learnt(
        mean=torch.cholesky_solve(projection, root)[:, 0],
        halves=torch.cat(halves, dim=1),
        n=n,
        noise=noise,
        gain=value - _of_noise_alone(square, n),
        spread=lambda f: torch.linalg.solve_triangular(root, f, upper=False).square().sum(0),
    )


def _root_of_precision(gram: Float64[Tensor, "n n"], index: int) -> Float64[Tensor, "n n"]:
    """Cholesky factor of the unknowns' posterior precision, times the noise."""
    precision = gram.clone()
    precision.diagonal().add_(1 / float(RATIOS[index]))
    root: Tensor = torch.linalg.cholesky(precision)
    return root


def _of_noise_alone(square: float, n: int) -> float:
    """Log marginal likelihood of answers that are noise, but for the same constant."""
    return -0.5 * n * math.log(max(square / n, 1e-12))


def _telling_rows(y: Float64[Tensor, " n"]) -> Int64[Tensor, " rows"]:
    """The contrasts from which a prior is chosen: the first in which masks had different weights.

    Where these are rare, others make up the number.
    """
    silent = y.abs() < 1e-9
    rows: Tensor = torch.sort(torch.argsort(silent.int(), stable=True)[:SEARCH_ROWS])[0]
    return rows


def energy_near(saliency: Tensor, standard_error: Tensor, target: Target) -> float | None:
    """Share of a map's energy, the sum of its squares, in the target's box and ring.

    Args:
        saliency: ``height width``.
        standard_error: of its values; what is within two of zero does not count.
        target: whose neighbourhood.

    Returns:
        In [0, 1]; None where no value is supported.
    """
    inside, ring = boxes.neighbourhood(target.box, *saliency.shape)
    energy = torch.where(saliency.abs() > 2 * standard_error, saliency.double(), 0).square()
    total = float(energy.sum())
    return float(energy[inside | ring].sum()) / total if total > 0 else None


def _some_points(
    where: Bool[Tensor, "height width"], target: Target
) -> tuple[Tensor, Tensor, Bool[Tensor, " points"]]:
    """A grid of pixels over a region, and which of its points lie in it."""
    height, width = where.shape
    rows, columns = where.any(1).nonzero()[:, 0], where.any(0).nonzero()[:, 0]
    if not len(rows):  # a box between pixel centres
        x1, y1, x2, y2 = target.box.tolist()
        rows = torch.tensor([min(int((y1 + y2) / 2), height - 1)])
        columns = torch.tensor([min(int((x1 + x2) / 2), width - 1)])
        return rows, columns, torch.tensor([True])
    rows, columns = (
        points[torch.linspace(0, len(points) - 1, min(JUDGED_POINTS, len(points))).round().long()]
        for points in (rows, columns)
    )
    return rows, columns, where[rows][:, columns].reshape(-1)
