"""Pictures for reports: a target with some of its surroundings, two maps, and average maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from chiaroscuro.core.records import Target
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures import draw
from chiaroscuro.figures.colours import SIGNED, Scale, sides
from chiaroscuro.metrics.difference import MapDifference, map_difference, n_cells_of
from chiaroscuro.report import page
from chiaroscuro.studies.averages import MARGIN, AverageMap

WIDTH_PX, CONTEXT = 300, 1.0  # of a card's picture; margin around the box, in box sizes
SECOND_COLOUR = "#ffd479"  # boxes of the second of two detectors
_ANSWER = "the detector's answer"
_OF_DRISE = sides({}, _ANSWER)
MAP_WORDS = Scale(name=SIGNED, low=-1.0, high=1.0).words(*_OF_DRISE)  # of many maps at once


def around(pixels: npt.NDArray[np.uint8], target: Target) -> npt.NDArray[np.uint8]:
    """A picture ``height width 3`` cut to a target and its surroundings, the box drawn in."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = target.box.tolist()
    margin = CONTEXT * max(x2 - x1, y2 - y1)
    left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
    right, bottom = min(width, int(x2 + margin) + 1), min(height, int(y2 + margin) + 1)
    scale = WIDTH_PX / (right - left)
    size = (WIDTH_PX, max(1, round((bottom - top) * scale)))
    box = [(v - o) * scale for v, o in zip((x1, y1, x2, y2), (left, top, left, top), strict=True)]
    card = Image.fromarray(pixels[top:bottom, left:right]).resize(size)
    pen = ImageDraw.Draw(card)
    pen.rectangle(box, outline="black", width=4)
    pen.rectangle(box, outline=draw.TARGET_COLOUR, width=2)
    return np.asarray(card)


def fitted(pixels: npt.NDArray[np.uint8], longest: int) -> npt.NDArray[np.uint8]:
    """A whole picture ``height width 3``, its longer side reduced to that many pixels."""
    height, width = pixels.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return pixels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


@dataclass(frozen=True, slots=True, eq=False)
class MapCard:
    """A picture under a map, and what its colours mean.

    Attributes:
        pixels: ``height width 3``.
        legend: as ``map_legend`` or ``difference_legend`` gives it.
    """

    pixels: npt.NDArray[np.uint8]
    legend: Mapping[str, Any]


def mapped(image: Tensor, of: Explanation, index: int, look: draw.Look = draw.USUAL) -> MapCard:
    """A picture under one map of an explanation."""
    saliency, error = of.saliency[index], of.standard_error[index]
    scale = look.scale(saliency, error)
    return MapCard(draw.overlay(image, saliency, error, scale=scale), map_legend(scale, of))


def compared(
    image: Tensor,
    maps: Sequence[Explanation],
    index: Sequence[int],
    names: Sequence[str],
    look: draw.Look = draw.USUAL,
) -> dict[str, MapCard]:
    """A picture under two maps of one target, and under the difference of the two.

    The difference is shown in standard errors, and only where it is more than chance: see
    ``metrics.difference``.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1].
        maps: two explanations, or one that holds both maps twice.
        index: of the target in each.
        names: of the two detectors.
        look: of the two maps.

    Returns:
        ``map_first``, ``map_second`` and ``difference``.
    """
    first, second = zip(maps, index, strict=True)
    difference = map_difference(
        maps[0].saliency[index[0]],
        maps[1].saliency[index[1]],
        maps[0].standard_error[index[0]],
        maps[1].standard_error[index[1]],
        n_cells_of(maps[0].settings),
    )
    over = draw.overlay(image, difference.in_errors, scale=difference_scale(difference))
    return {
        "map_first": mapped(image, *first, look),
        "map_second": mapped(image, *second, look),
        "difference": MapCard(over, difference_legend(difference, names)),
    }


def map_legend(scale: Scale, of: Explanation) -> dict[str, Any]:
    """A map's legend: ``Scale.legend`` with ``words`` and the ``unit`` of its numbers."""
    favour, against = sides(of.settings, _ANSWER)
    words = scale.words(favour, against, errors=bool(of.standard_error.any()))
    if scale.blank:
        words = "Nothing on this map stands out from chance."
    return {**scale.legend(), "words": words, "unit": of.meaning}


def difference_scale(difference: MapDifference) -> Scale:
    """The scale of a difference in standard errors, clear up to the limit."""
    return replace(Scale.of(difference.in_errors), threshold=difference.limit)


def difference_legend(difference: MapDifference, names: Sequence[str]) -> dict[str, Any]:
    """The legend of a difference of two detectors' maps."""
    scale = difference_scale(difference)
    words = scale.words(f"{names[1]} relies on it more", f"{names[0]} does", errors=False)
    if not difference.known:
        words = "The standard error is not known, so no difference is shown."
    elif scale.blank:
        words = "Nothing differs beyond chance."
    return {**scale.legend(), "words": words, "unit": "standard errors of the difference"}


def average(of: AverageMap) -> dict[str, Any]:
    """An average map and average face as data addresses, with their counts and the legend."""
    side = of.saliency.shape[0]
    error = of.standard_error.clamp(max=1e30)
    scale = Scale.of(of.saliency, error)
    grey = torch.full((3, side, side), 0.5, dtype=torch.float32)
    tint = draw.overlay(grey, of.saliency, error, scale=scale)
    pictures = {}
    for name, pixels in (("face", draw.pixels(of.face.clamp(0, 1))), ("map", tint)):
        framed = Image.fromarray(pixels).resize((3 * side, 3 * side))
        edge = 3 * side * MARGIN / (1 + 2 * MARGIN)
        frame = [edge, edge, 3 * side - edge, 3 * side - edge]
        ImageDraw.Draw(framed).rectangle(frame, outline=draw.TARGET_COLOUR, width=2)
        pictures[name] = page.embedded(np.asarray(framed))
    words = scale.words(*_OF_DRISE)
    if of.n_targets < 2:
        words = "A single target has no standard error over targets, so nothing is shown."
    elif scale.blank:
        words = "Nothing stands out from the standard error over targets."
    legend = {**scale.legend(), "words": words, "unit": "mean share of each map's highest value"}
    return {"n": of.n_targets, "n_empty": of.n_empty, "legend": legend, **pictures}
