"""Search: which pixels to show first, found by asking.

A map is an order of pixels. A good one brings the target back from a blurred picture with the first
pixels that are shown (insertion), and loses it with the first that are hidden (deletion): the aim
of VX-CODE (Yamauchi et al. 2026, arXiv:2412.00666), which finds an order by trying out every next
patch. Here the answers to some hundred such pictures are put into a model, and the next pictures
are asked where the model's order is in doubt:

1. Start from our own D-RISE map and the box.
2. Draw orders near the present one, and of each a share of its first pixels, any share alike, as
   the area under a curve counts them. Ask once with these shown and the rest blurred, and once the
   other way round: one step of an insertion and of a deletion curve.
3. Fit the log odds of the weight as a sum over the pixels shown, ``a + sum_x d(x)``, where the
   density ``d`` is a sum of smooth maps (the box, ours, the whole picture) and one constant a
   region, held near zero as in ridge regression. Order by ``d``; draw nearer to it; again.
4. Ask for a few steps of the curves of five orders, and keep the best: from the model's, by way of
   models that trust the answers less and the box more, to the box's own. A region is coarse beside
   a face, and of a face that is seen well the box is hard to beat; of one that is hardly seen it is
   easy.

It is made to do well by insertion and deletion, so those figures flatter it: they say how small the
evidence is that suffices, not that the detector would miss nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from chiaroscuro import metrics
from chiaroscuro.core import boxes
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.records import Target
from chiaroscuro.methods.asking import Asker
from chiaroscuro.methods.question import Answer, Question
from chiaroscuro.methods.regions import superpixels, without_gaps
from chiaroscuro.metrics.maps import most_salient_first
from chiaroscuro.metrics.protocols import filled, protocol_named

_PROTOCOL = "chiaroscuro"  # whose blur hides
_NEAR_REGIONS, _FAR_REGIONS = 48, 40
_ROUND = 24  # pictures between two fits
_SPREAD = (2.0, 1.0, 0.5)  # of the orders drawn, in spreads of the density; early, middle, late
_PRECISION = 1.0  # of a region's log odds around 0
_SMOOTH_PRECISION = 0.01  # of the coefficients of the smooth maps
_SMALLEST, _LARGEST = 0.2, 0.9  # shares shown: in box areas, in pictures
_CHECKED = (0.25, 0.5, 1.0, 2.0), (0.1, 0.3, 0.6)  # where curves are checked, likewise
_ORDERS = {  # that are checked beside the box's: precision of a region, pull to the box
    "the model": (_PRECISION, 0.0),
    "the model, its regions held nearer to 0": (3.0, 0.0),
    "the model, pulled to the box": (_PRECISION, 1.0),
    "the model, its regions held nearer to 0, pulled to the box": (6.0, 1.0),
}
_BOX = "the box from its middle outwards"
_CHECKS = 2 * (1 + len(_ORDERS)) * sum(len(points) for points in _CHECKED)
_LEAST = 2 + _ROUND + _CHECKS  # passes a target


def search(question: Question) -> Answer:
    """The density that orders the pixels best, one target after the other.

    Raises:
        InputError: on a budget too small for one round of a target.
    """
    observed = question.evidence.n_masks if question.evidence else 0
    each = (question.budget - observed) // len(question.targets)
    if each < _LEAST:
        raise InputError(
            f"search: wanted at least {_LEAST} passes for each of {len(question.targets)} targets "
            f"beside the masks it starts from, got {max(0, question.budget - observed)} for all; "
            "400 a target are usual"
        )
    if question.evidence is None or not observed:
        raise InputError("evidence: wanted at least one mask to start from, got none")
    ours = question.evidence.explain(question.targets, estimator=question.estimator).saliency
    maps, winners, notes, passes = [], [], [], observed
    for i, target in enumerate(question.targets):
        asked = _Asked(replace(question, targets=(target,)), ours[i], each)
        winner, saliency = _searched(asked, each, question.seed + i)
        winners.append(winner)
        maps.append(saliency)
        passes += asked.asker.passes
        if not bool(maps[-1].any()):
            notes.append(
                f"target {i + 1}: in none of {asked.asker.passes} pictures did the detector report "
                "anything that overlaps the box; the map is zero because there is no evidence, not "
                "because nothing matters"
            )
        elif winner == _BOX:
            notes.append(
                f"target {i + 1}: no order that was found does better than {winner}; the map is "
                "that, and only the order of its values means something"
            )
    return Answer(
        saliency=torch.stack(maps),
        passes=passes,
        notes=tuple(notes),
        settings={"protocol": _PROTOCOL, "orders": winners},
    )


def _searched(
    asked: "_Asked", budget: int, seed: int
) -> tuple[str, Float32[Tensor, "height width"]]:
    """The best of the orders at hand, by name, and its density."""
    generator = torch.Generator().manual_seed(seed)
    everything = torch.ones(asked.size, dtype=torch.bool)
    asked.ask([everything, ~everything])
    density = asked.start()
    rounds = max(1, (budget - 2 - _CHECKS) // _ROUND)
    for number in range(rounds):
        spread = _SPREAD[number * len(_SPREAD) // rounds]
        asked.ask(_drawn(asked, density, spread, generator))
        if not any(asked.answers):
            return "none", torch.zeros(asked.size, dtype=torch.float32)
        density = asked.fitted()
    orders = {
        name: asked.pulled_to_box(asked.fitted(precision), pull)
        for name, (precision, pull) in _ORDERS.items()
    }
    orders[_BOX] = asked.box
    gains = {name: asked.gain_of(order) for name, order in orders.items()}
    winner = max(gains, key=lambda name: gains[name])
    return winner, orders[winner].float()


def _drawn(
    asked: "_Asked", density: Tensor, spread: float, generator: torch.Generator
) -> list[Tensor]:
    """Pictures of one round: first pixels of orders near the present one, and all but those."""
    height, width = asked.size
    low = min(_SMALLEST * asked.box_share, _LARGEST)
    noise = spread * asked.spread_of(density)
    shown = []
    for i in range(_ROUND // 2):
        moved = torch.randn(asked.n_regions, generator=generator, dtype=torch.float64) * noise
        place = (i + float(torch.rand(1, generator=generator, dtype=torch.float32))) / (_ROUND // 2)
        share = low + (_LARGEST - low) * place
        values = density + moved[asked.regions]
        hidden = round((1 - share) * height * width)
        lowest = values.flatten().kthvalue(min(max(1, hidden + 1), height * width)).values
        first = values >= lowest
        shown += [first, ~first]
    return shown


class _Asked:
    """One target: what was shown, what the detector answered, and the model of the answers."""

    def __init__(self, question: Question, ours: Float32[Tensor, "height width"], total: int):
        self.asker = Asker(question, total)
        self.size = question.size
        (target,) = question.targets
        pixels = self.asker.pixels
        self._blurred = filled(protocol_named(_PROTOCOL).insertion, pixels, target)
        self.box = metrics.baseline("box", question.image, target).double()
        self.regions = _regions(pixels, target)
        self.n_regions = int(self.regions.max()) + 1
        self._areas = torch.bincount(self.regions.flatten()).double()
        inside, ring = boxes.neighbourhood(target.box, *self.size)
        self._near = inside | ring
        if not bool(self._near.any()):  # a box between the centres of pixels
            distance = boxes.distance_map(target.box, *self.size)
            self._near = distance == distance.min()
        self.box_share = min(1.0, float(boxes.area(target.box)) / pixels[0].numel())
        ours = ours.double()
        self._smooth = [_of_sum_one(m) for m in (self.box, ours, -ours)]
        self._rows: list[Tensor] = []
        self.answers: list[float] = []

    def ask(self, shown: Sequence[Bool[Tensor, "height width"]]) -> list[float]:
        """Weight of the target when these pixels are shown and the others blurred."""
        pixels = self.asker.pixels
        pictures = (torch.where(mask, pixels, self._blurred) for mask in shown)
        answers: list[float] = self.asker.weights_in(pictures)[0].tolist()
        self._rows += [self._features(mask) for mask in shown]
        self.answers += answers
        return answers

    def start(self) -> Float64[Tensor, "height width"]:
        """A density before anything is known: the box and our map."""
        box, ours, against = self._smooth
        return 2 * box + ours - against

    def pulled_to_box(self, density: Tensor, pull: float) -> Float64[Tensor, "height width"]:
        """A density and ``pull`` times the box's fall from its middle, at the density's spread."""
        near = self._near
        scale = density[near].std(correction=0) / self.box[near].std(correction=0).clamp(min=1e-30)
        return density + pull * scale * self.box

    def spread_of(self, density: Tensor) -> Float64[Tensor, " regions"]:
        """Of the density near the target for regions there, of that beyond for the others."""
        beyond = ~self._near
        near_spread = float(density[self._near].std(correction=0))
        far_spread = float(density[beyond].std(correction=0)) if bool(beyond.any()) else 0.0
        near = torch.bincount(self.regions.flatten(), weights=self._near.flatten().double())
        return torch.where(near > self._areas / 2, near_spread, far_spread).double()

    def fitted(self, precision: float = _PRECISION) -> Float64[Tensor, "height width"]:
        """Log odds a pixel by all answers so far, with this precision of a region's around 0."""
        n_smooth = len(self._smooth)
        held = torch.full((2 + n_smooth + self.n_regions,), precision, dtype=torch.float64)
        held[0], held[1 : 2 + n_smooth] = 1e-4, _SMOOTH_PRECISION
        coefficients = _logistic(
            torch.stack(self._rows), torch.tensor(self.answers, dtype=torch.float64), held
        )
        density = (coefficients[1] / self._areas.sum()).expand(self.size)
        for coefficient, one in zip(coefficients[2 : 2 + n_smooth], self._smooth, strict=True):
            density = density + coefficient * one
        return density + (coefficients[2 + n_smooth :] / self._areas)[self.regions]

    def gain_of(self, density: Float64[Tensor, "height width"]) -> float:
        """Insertion area minus deletion area, of an order, from a few steps of its curves."""
        of_box, of_picture = _CHECKED
        shares = sorted({*(s * self.box_share for s in of_box), *of_picture})
        shares = [share for share in shares if share < 1]
        order = most_salient_first(density.float())
        shown = []
        for share in shares:
            first = torch.zeros(len(order), dtype=torch.bool)
            first[order[: max(1, round(share * len(order)))]] = True
            shown += [first.view(self.size), ~first.view(self.size)]
        answers = torch.tensor(self.ask(shown), dtype=torch.float32)
        whole, blurred = self.answers[:2]
        steps = [blurred - whole, *(answers[::2] - answers[1::2]).tolist(), whole - blurred]
        return float(
            torch.trapezoid(
                torch.tensor(steps, dtype=torch.float32),
                torch.tensor([0, *shares, 1], dtype=torch.float32),
            )
        )

    def _features(self, shown: Bool[Tensor, "height width"]) -> Float64[Tensor, " features"]:
        """1, the share shown of the picture, of every smooth map, and of every region."""
        mask = shown.double()
        smooth = [mask.mean(), *((m * mask).sum() for m in self._smooth)]
        regions = torch.bincount(self.regions.flatten(), weights=mask.flatten()) / self._areas
        return torch.cat([torch.ones(1, dtype=torch.float32), torch.stack(smooth), regions])


def _logistic(
    features: Float64[Tensor, "n features"],
    answers: Float64[Tensor, " n"],
    precision: Float64[Tensor, " features"],
) -> Float64[Tensor, " features"]:
    """Coefficients of log odds by penalised likelihood, for answers in [0, 1]; Newton's method."""
    coefficients = torch.zeros(features.shape[1], dtype=torch.float64)
    for _ in range(40):
        expected = torch.sigmoid(features @ coefficients)
        slope = features.T @ (expected - answers) + precision * coefficients
        weight = (expected * (1 - expected)).clamp(min=1e-3)
        curvature = (features.T * weight) @ features + torch.diag(precision)
        step = torch.linalg.solve(curvature, slope).clamp(-2, 2)
        coefficients -= step
        if float(step.abs().max()) < 1e-4:
            break
    return coefficients


def _regions(
    image: Float32[Tensor, "3 height width"], target: Target
) -> Int64[Tensor, "height width"]:
    """Superpixels: small ones in the box and half a box size around it, large ones elsewhere."""
    height, width = image.shape[1:]
    x1, y1, x2, y2 = target.box.tolist()
    margin = math.sqrt((x2 - x1) * (y2 - y1)) / 2
    left, top = max(0, math.floor(x1 - margin)), max(0, math.floor(y1 - margin))
    right, bottom = min(width, math.ceil(x2 + margin)), min(height, math.ceil(y2 + margin))
    regions = superpixels(image, _FAR_REGIONS)
    near = superpixels(image[:, top:bottom, left:right], _NEAR_REGIONS)
    regions[top:bottom, left:right] = near + int(regions.max()) + 1
    return without_gaps(regions)


def _of_sum_one(values: Float64[Tensor, "height width"]) -> Float64[Tensor, "height width"]:
    """The positive part, as shares; zero where there is none."""
    positive = values.clamp(min=0)
    return positive / positive.sum().clamp(min=1e-30)
