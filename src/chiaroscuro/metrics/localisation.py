"""Localisation of a map's evidence in a box: pointing game, energy, overlap, coverage.

These measure agreement with the box, not faithfulness: a detector may well rely on pixels
elsewhere, and a map that is the box itself gets a full score in each.

Maps are raw: only positive values are evidence for the target, and they are compared with the map's
own maximum. A pixel belongs to a box when its centre does. A map without any positive value is no
hit in the pointing game, and the other metrics are undefined for it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import TargetError, UndefinedMetricError
from chiaroscuro.core.records import as_targets
from chiaroscuro.evidence.explanation import FINE_CELLS, Explanation
from chiaroscuro.metrics.maps import usable_map

SUPPORTED = 2.0  # standard errors that a value must exceed to count


@dataclass(frozen=True, slots=True)
class ContextShare:
    """Shares of the positive evidence; they add up to 1.

    Attributes:
        box: in the box.
        ring: outside it, nearer than the square root of its area.
        beyond: anywhere else.
    """

    box: float
    ring: float
    beyond: float


def context_share(saliency: Any, target: Any, standard_error: Any = None) -> ContextShare:
    """Where the positive evidence lies.

    A map is mostly noise far from the box, and noise over a large picture sums up. So with a
    standard error, only values more than twice as large count.

    Args:
        saliency: raw map, ``height width``: a tensor, a NumPy array or lists.
        target: Target, or box ``x1 y1 x2 y2``.
        standard_error: ``height width``; without it every positive value counts.

    Raises:
        UndefinedMetricError: if no positive value counts.
        InputError: as for ``pointing_game``.
    """
    saliency = usable_map(saliency)
    evidence = saliency.double().clamp(min=0)
    if standard_error is not None:
        standard_error = usable_map(standard_error, (saliency.shape[0], saliency.shape[1]))
        evidence = torch.where(saliency > SUPPORTED * standard_error, evidence, 0)
    total = float(evidence.sum())
    if total <= 0:
        raise UndefinedMetricError("context_share: no positive value that its error supports")
    inside, ring = boxes.neighbourhood(as_targets(target)[0].box, *saliency.shape)
    box, near = float(evidence[inside].sum()) / total, float(evidence[ring].sum()) / total
    return ContextShare(box=box, ring=near, beyond=max(0.0, 1 - box - near))


def context_share_or_none(saliency: Any, target: Any, standard_error: Any) -> ContextShare | None:
    """The shares, or None where no positive value counts."""
    try:
        return context_share(saliency, target, standard_error)
    except UndefinedMetricError:
        return None


def evidence_shares(result: Explanation, index: int) -> ContextShare | None:
    """Where the positive evidence of a target lies, by masks that are fine enough to tell.

    A map is blurred by a mask's cell. Where a cell is larger than a quarter of the box (the square
    root of its area), the shares of box and ring are those of the close-up. Beyond the ring is then
    what the map has there, farther from it than a cell reaches.

    Returns:
        None where no positive value counts, or where only large cells were used.
    """
    target, error = result.targets[index], result.standard_error[index]
    saliency = result.saliency[index]
    size = float(boxes.area(target.box).sqrt())
    cell = result.cell_px
    if cell <= size / FINE_CELLS:
        return context_share_or_none(saliency, target, error)
    closeup = result.closeup(index)
    if closeup is None:
        return None
    inside = target.moved(-closeup.window.x1, -closeup.window.y1)
    near = context_share_or_none(closeup.saliency, inside, closeup.standard_error)
    if near is None:
        return None
    evidence = torch.where(saliency > SUPPORTED * error, saliency, 0).double()
    total = float(evidence.sum())
    far = boxes.distance_map(target.box, *saliency.shape) >= size + cell
    beyond = float(evidence[far].sum()) / total if total > 0 else 0.0
    close = near.box + near.ring
    scale = (1 - beyond) / close if close > 0 else 0.0
    return ContextShare(box=scale * near.box, ring=scale * near.ring, beyond=beyond)


def pointing_game(saliency: Any, box: object, *, tolerance_px: float = 0.0) -> bool:
    """Whether the map's maximum lies in the box, or within a tolerance of it.

    Zhang et al., Top-down Neural Attention by Excitation Backprop, IJCV 2018, arXiv:1608.00507,
    section 4.1, where the tolerance is 15 pixels. Where several pixels share the maximum, all of
    them must lie there, so a constant map is no hit; nor is a map without a positive value.

    Args:
        saliency: raw map, ``height width``: a tensor, a NumPy array or lists.
        box: ``x1 y1 x2 y2`` in pixels, or a Target.
        tolerance_px: in pixels, from the box's edge to a pixel's centre.

    Raises:
        InputError: on an invalid map, such as one with NaN.
        TargetError: on an invalid box.
    """
    saliency = usable_map(saliency)
    highest = saliency.max()
    if float(highest) <= 0:
        return False
    distance = boxes.distance_map(_box(box), *saliency.shape)
    return bool((distance[saliency == highest] <= tolerance_px).all())


def energy_pointing_game(saliency: Any, box: object) -> float:
    """Share of the positive evidence that lies in the box, in [0, 1]; negative values count 0.

    Wang et al., Score-CAM, CVPR workshops 2020, arXiv:1910.01279, section 4.3.

    Raises:
        UndefinedMetricError: for a map without positive values.
        InputError: as for ``pointing_game``.
    """
    positive = _positive(saliency)
    return float(positive[_inside(positive, box)].sum() / positive.sum())


def map_iou(saliency: Any, box: object, *, threshold: float = 0.5) -> float:
    """IoU, in [0, 1], of the box with the pixels above a share of the map's maximum.

    Raises:
        UndefinedMetricError: for a map without positive values.
        InputError: as for ``pointing_game``.
    """
    bright = _bright(saliency, threshold)
    inside = _inside(bright, box)
    return float((bright & inside).sum() / (bright | inside).sum())


def box_coverage(saliency: Any, box: object, *, threshold: float = 0.5) -> float:
    """Share of the box, in [0, 1], that is above a share of the map's maximum.

    Pinciroli Vago et al., A Comparative Analysis of Visual Explanation Techniques on Artworks,
    J. Imaging 2021, 7(7):106: bounding box coverage.

    Raises:
        UndefinedMetricError: for a map without positive values, or a box that holds the centre of
            no pixel.
        InputError: as for ``pointing_game``.
    """
    bright = _bright(saliency, threshold)
    inside = _inside(bright, box)
    if not bool(inside.any()):
        raise UndefinedMetricError("box_coverage: the box holds the centre of no pixel")
    return float((bright & inside).sum() / inside.sum())


def irrelevant_attention(saliency: Any, box: object, *, threshold: float = 0.5) -> float:
    """Share of the pixels above a share of the map's maximum that lie outside the box, in [0, 1].

    Pinciroli Vago et al. 2021, as for ``box_coverage``.

    Raises:
        UndefinedMetricError: for a map without positive values.
        InputError: as for ``pointing_game``.
    """
    bright = _bright(saliency, threshold)
    inside = _inside(bright, box)
    return float((bright & ~inside).sum() / bright.sum())


def _box(box: object) -> Float32[Tensor, "4"]:
    targets = as_targets(box)
    if len(targets) != 1:
        raise TargetError(f"box: wanted one box x1 y1 x2 y2, got {len(targets)}")
    return targets[0].box


def _inside(saliency: Tensor, box: object) -> Bool[Tensor, "height width"]:
    return boxes.distance_map(_box(box), *saliency.shape) == 0


def _positive(saliency: Any) -> Float64[Tensor, "height width"]:
    positive = usable_map(saliency).double().clamp(min=0)
    if float(positive.sum()) <= 0:
        raise UndefinedMetricError(
            "the map has no positive value, so its evidence lies nowhere; count it, do not average"
        )
    return positive


def _bright(saliency: Any, threshold: float) -> Bool[Tensor, "height width"]:
    positive = _positive(saliency)
    return torch.ge(positive, threshold * positive.max()) & (positive > 0)
