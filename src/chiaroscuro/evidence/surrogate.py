"""A linear model of the mask weight with a prior on the target: the same map from fewer masks.

The map of infinitely many masks is the covariance of mask and weight, ``m(p) = Cov(M(p), w)``.
Model the weight, on a scale where evidence adds up, as linear in the mask::

    y = link(w) = a + sum_q b(q) M(q) + noise,        link(w) = log((w + 0.1) / (1.1 - w))

Then ``m = d C b``, where ``C(p, q) = Cov(M(p), M(q))`` is known from the mask design without any
detector pass, and ``d`` is the mean slope of ``w`` over ``y``. The detector's passes determine
``b`` alone, and much is known of it beforehand: it is smooth, strongest near the target, and zero
where hiding changes nothing. That is a Gaussian process with prior covariance ::

    Cov(b(p), b(q)) = s^2 e(p) e(q) exp(-|p - q|^2 / (2 l^2)),    e = envelope x visibility

``envelope`` falls from 1 at the target to a floor far from it; ``visibility`` is by how much hiding
a place changes the picture, 0 where a black fill hides black paint. Length ``l``, the envelope's
centre, width and floor, ``s`` and the noise are those of highest marginal likelihood, the last two
over all masks. With enough masks the data outweigh the prior, and evidence far from the target, or
in one corner of its box, is found.

**There may be nothing to find.** If a detector's weights do not depend on what is hidden, some
prior still fits them a little. So the model of best likelihood is weighed against the one in which
``b`` is zero and all is noise, with prior odds of ``exp(-DOUBT)`` for the sixteen priors that are
tried. With ``P`` the probability that there is something, the map is ``P m`` and its variance
``P v + P (1 - P) m^2``, the mean and variance of the mixture.

Antithetic pairs, a mask and its complement, are used as half their difference: whatever is the same
under both, including all interactions of even order, drops out of the noise.

The posterior gives the standard error, and the fidelity: with ``S`` the sum of squares of the map
about its mean over a region, and ``N`` the posterior variance of that, the expected correlation of
the posterior mean with the truth is ``P sqrt(S / (S + N))``. The prior is itself chosen from the
weights, which the posterior does not include: so with ``n`` contrasts ``N`` counts ``1 + 50 / n``
times. The region is the target's neighbourhood, or the picture where most of the map's supported
energy lies outside of it. A second estimate needs no model of the noise: the maps from both halves
of the masks correlate by ``r``, so a map of all correlates with the truth by about
``sqrt(2 r / (1 + r))`` (Spearman, 1910).

References: Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006,
chapters 2 and 5. The use for mask-based saliency is ours.
"""

import math
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
from chiaroscuro.core.windows import Window
from chiaroscuro.evidence.regression import Learnt, from_contrasts, from_moments, log_evidence

LINK_FLOOR = 0.1
POINTS_A_CELL = 2.0  # lattice points on which b is modelled, each way
MOST_POINTS = 48  # each way
MIN_VISIBILITY = 0.02
SEARCH_ROWS = 128  # contrasts from which the prior is chosen
FEW_ROWS = 256  # contrasts up to which there are as many equations as contrasts
DOUBT = 7.0  # log odds against there being anything to find, before a pass
OUTSIDE = 1 / 3  # share of the map's energy near the box, below which fidelity is over the picture
CHUNK = 512  # masks per sum; even, so that pairs stay together
JUDGED_POINTS = 16  # each way, where fidelity is estimated


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Prior of ``b``, before any detector pass.

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
    """Posterior of one target's map.

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

    The masks enter through their moments on a lattice, summed chunk by chunk, so memory does not
    grow with their number. Deterministic: one thread, fixed order.

    Args:
        masks: those of the picture.
        image: ``3 height width``, float32 in [0, 1]: where hiding changes nothing, ``b`` is zero.
        weights: ``targets n_masks``, of masks 0 to ``n_masks - 1``, in [0, 1].
        window: that alone the weights depend on; the whole picture when not given.
    """

    def __init__(
        self,
        masks: Masks,
        image: Float32[Tensor, "3 height width"],
        weights: Float32[Tensor, "targets n_masks"],
        window: Window | None = None,
    ) -> None:
        self.masks = masks
        self.window = window or Window.whole((masks.height, masks.width))
        self.rows, self.columns = (
            _lattice(size, cell) + first
            for size, cell, first in zip(
                self.window.size, masks.cell, (self.window.y1, self.window.x1), strict=True
            )
        )
        with one_thread():
            self.visibility = self._visibility(image)
            w = weights.double()
            self.slopes = ((w + LINK_FLOOR) * (1 + LINK_FLOOR - w) / (1 + 2 * LINK_FLOOR)).mean(1)
            self.answers = self._contrast(((w + LINK_FLOOR) / (1 + LINK_FLOOR - w)).log().T)
            self.searched = [_telling_rows(y) for y in self.answers.T]
            self._sum_up(weights.shape[1])

    def fit(self, index: int, target: Target) -> Posterior:
        """The map of one target, by its row of the weights; the prior depends on its box."""
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
            variance = self._at_every_pixel(variance)
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
    ) -> Learnt:
        """Posterior by as many equations as contrasts, where these are few, else as unknowns."""
        if len(y) <= FEW_ROWS:
            return from_contrasts(self._whiten(self.contrasts, spread), y)
        shape = (-1, *self.visibility.shape)
        grams = []
        for gram in self.gram:
            half = self._whiten(gram.reshape(shape), spread)
            grams.append(self._whiten(half.T.reshape(shape), spread))
        projections = self._whiten(self.projection[..., index], spread)
        x = self._whiten(self._search_rows(index), spread)
        start = int(log_evidence(x, y[self.searched[index]])[0].argmax())
        return from_moments(grams, projections, float(y.square().sum()), len(y), start)

    def _judged(
        self, target: Target, spread: tuple[Tensor, Tensor, Tensor], outside: bool
    ) -> Float64[Tensor, "unknowns points"]:
        """The map less its mean over the region of the fidelity, up to its units."""
        height, width = self.masks.height, self.masks.width
        if outside:
            where = torch.zeros(height, width, dtype=torch.bool)
            self.window.of(where).fill_(True)
        else:
            where = torch.stack(boxes.neighbourhood(target.box, height, width)).any(0)
        rows, columns, judged = _some_points(where, target)
        functions = self._covered(rows, columns, spread)[:, judged]
        return functions - functions.mean(1, keepdim=True)

    def _at_every_pixel(self, values: Float64[Tensor, " points"]) -> Float64[Tensor, "h w"]:
        """Values on the lattice for every pixel of the picture; beyond the window the nearest."""
        window = self.window
        grid = values.reshape(1, 1, len(self.rows), len(self.columns))
        inside = F.interpolate(grid, window.size, mode="bilinear")
        around = (
            *(window.x1, self.masks.width - window.x2),
            *(window.y1, self.masks.height - window.y2),
        )
        return F.pad(inside, around, mode="replicate")[0, 0]

    def _covered(
        self, rows: Tensor, columns: Tensor, spread: tuple[Tensor, Tensor, Tensor]
    ) -> Float64[Tensor, "unknowns points"]:
        """The map at a grid of pixels, up to its units, as functions of the unknowns."""
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
            return float(log_evidence(x, y)[0].max())

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
        """Square root of the change by hiding at every place, in (0, 1]."""
        fill = fill_image(self.masks.design, image)
        change = (image if fill is None else image - fill).square().mean(dim=0).sqrt()
        change = self.window.of(change)
        shape = (len(self.rows), len(self.columns))
        local = F.adaptive_avg_pool2d(change[None, None], shape)[0, 0].double()
        return (local / local.max().clamp(min=1e-6)).clamp(min=MIN_VISIBILITY).sqrt()


def probability(gain: float, doubt: float = DOUBT) -> float:
    """Probability of something to find, from the gain in log likelihood over noise alone."""
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


def _telling_rows(y: Float64[Tensor, " n"]) -> Int64[Tensor, " rows"]:
    """The contrasts from which a prior is chosen: the first that are not zero, then others."""
    silent = y.abs() < 1e-9
    rows: Tensor = torch.sort(torch.argsort(silent.int(), stable=True)[:SEARCH_ROWS])[0]
    return rows


def energy_near(saliency: Tensor, standard_error: Tensor, target: Target) -> float | None:
    """Share of a map's energy, the sum of its squares, in the target's box and ring, in [0, 1].

    Values within two standard errors of zero do not count; None where no value is left.
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
