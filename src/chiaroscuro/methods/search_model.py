"""The model behind ``search``: the log odds of a target's weight as a sum over the pixels shown.

``log odds = a + sum_x d(x)``, where the density ``d`` is a sum of smooth maps (the box, our D-RISE
map, the whole picture) and one constant per region, held near zero as in ridge regression.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.records import Target
from chiaroscuro.methods.black_box import BlackBox
from chiaroscuro.methods.question import Question
from chiaroscuro.methods.regions import superpixels, without_gaps
from chiaroscuro.metrics.baselines import baseline
from chiaroscuro.metrics.maps import most_salient_first
from chiaroscuro.metrics.protocols import filled, protocol_named

PROTOCOL = "chiaroscuro"  # whose blur hides
REGION_PRECISION = 1.0  # of a region's log odds around 0
_SMOOTH_PRECISION = 0.01  # of the coefficients of the smooth maps
_NEAR_REGIONS, _FAR_REGIONS = 48, 40


class SearchModel:
    """The pictures shown for one target, their weights, and the model of the weights.

    Attributes:
        detector: runs on the pictures.
        size: height and width of the picture.
        box: a map that falls from the box's centre.
        box_share: area of the box, as a share of the picture's.
        regions: superpixels, numbered from 0.
        n_regions: how many there are.
        weights: one per picture.
    """

    def __init__(self, question: Question, ours: Float32[Tensor, "height width"], total: int):
        self.detector = BlackBox(question, total)
        self.size = question.size
        (target,) = question.targets
        pixels = self.detector.pixels
        self._blurred = filled(protocol_named(PROTOCOL).insertion, pixels, target)
        self.box = baseline("box", question.image, target).double()
        self.regions = search_regions(pixels, target)
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
        self.weights: list[float] = []

    def observe(self, shown: Sequence[Bool[Tensor, "height width"]]) -> list[float]:
        """Weight of the target when these pixels are shown and the others blurred."""
        pixels = self.detector.pixels
        pictures = (torch.where(mask, pixels, self._blurred) for mask in shown)
        weights: list[float] = self.detector.weights_in(pictures)[0].tolist()
        self._rows += [self._features(mask) for mask in shown]
        self.weights += weights
        return weights

    def start(self) -> Float64[Tensor, "height width"]:
        """The density before any picture: the box and our map."""
        box, ours, against = self._smooth
        return 2 * box + ours - against

    def pulled_to_box(self, density: Tensor, pull: float) -> Float64[Tensor, "height width"]:
        """A density and ``pull`` times the box's fall from its middle, at the density's spread."""
        near = self._near
        scale = density[near].std(correction=0) / self.box[near].std(correction=0).clamp(min=1e-30)
        return density + pull * scale * self.box

    def spread_of(self, density: Tensor) -> Float64[Tensor, " regions"]:
        """Standard deviation of the density, near the target for regions there, else beyond."""
        beyond = ~self._near
        near_spread = float(density[self._near].std(correction=0))
        far_spread = float(density[beyond].std(correction=0)) if bool(beyond.any()) else 0.0
        near = torch.bincount(self.regions.flatten(), weights=self._near.flatten().double())
        return torch.where(near > self._areas / 2, near_spread, far_spread).double()

    def fitted(self, precision: float = REGION_PRECISION) -> Float64[Tensor, "height width"]:
        """Log odds per pixel by all weights so far, with this precision of a region's around 0."""
        n_smooth = len(self._smooth)
        held = torch.full((2 + n_smooth + self.n_regions,), precision, dtype=torch.float64)
        held[0], held[1 : 2 + n_smooth] = 1e-4, _SMOOTH_PRECISION
        coefficients = _logistic(
            torch.stack(self._rows), torch.tensor(self.weights, dtype=torch.float64), held
        )
        density = (coefficients[1] / self._areas.sum()).expand(self.size)
        for coefficient, one in zip(coefficients[2 : 2 + n_smooth], self._smooth, strict=True):
            density = density + coefficient * one
        return density + (coefficients[2 + n_smooth :] / self._areas)[self.regions]

    def gain_of(
        self,
        density: Float64[Tensor, "height width"],
        of_box: Sequence[float],
        of_picture: Sequence[float],
    ) -> float:
        """Insertion area minus deletion area of an order of pixels, from a few steps of its curves.

        The steps are shares of the box's area, and of the picture's.
        """
        shares = sorted({*(s * self.box_share for s in of_box), *of_picture})
        shares = [share for share in shares if share < 1]
        order = most_salient_first(density.float())
        shown = []
        for share in shares:
            first = torch.zeros(len(order), dtype=torch.bool)
            first[order[: max(1, round(share * len(order)))]] = True
            shown += [first.view(self.size), ~first.view(self.size)]
        weights = torch.tensor(self.observe(shown), dtype=torch.float32)
        whole, blurred = self.weights[:2]
        steps = [blurred - whole, *(weights[::2] - weights[1::2]).tolist(), whole - blurred]
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
    targets: Float64[Tensor, " n"],
    precision: Float64[Tensor, " features"],
) -> Float64[Tensor, " features"]:
    """Coefficients of log odds by penalised likelihood, for targets in [0, 1]; Newton's method."""
    coefficients = torch.zeros(features.shape[1], dtype=torch.float64)
    for _ in range(40):
        expected = torch.sigmoid(features @ coefficients)
        slope = features.T @ (expected - targets) + precision * coefficients
        weight = (expected * (1 - expected)).clamp(min=1e-3)
        curvature = (features.T * weight) @ features + torch.diag(precision)
        step = torch.linalg.solve(curvature, slope).clamp(-2, 2)
        coefficients -= step
        if float(step.abs().max()) < 1e-4:
            break
    return coefficients


def search_regions(
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
