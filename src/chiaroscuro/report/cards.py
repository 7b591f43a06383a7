"""Pictures for reports: a target with some of its surroundings, two maps, and average maps."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32
from PIL import Image, ImageDraw
from torch import Tensor

from chiaroscuro import draw
from chiaroscuro.metrics.difference import map_difference
from chiaroscuro.records import Target
from chiaroscuro.report import page
from chiaroscuro.study.averages import MARGIN, AverageMap

WIDTH_PX, CONTEXT = 300, 1.0  # of a card's picture; margin around the box, in box sizes
SECOND_COLOUR = "#ff9f43"  # boxes of the second of two detectors


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


def compared(
    image: Tensor,
    saliency: Float32[Tensor, "2 height width"],
    standard_error: Float32[Tensor, "2 height width"],
    n_cells: int,
) -> dict[str, npt.NDArray[np.uint8]]:
    """A picture under two maps of one target, and under the difference of the two.

    The difference is shown in standard errors, and only where it is more than chance: see
    ``metrics.difference``.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1].
        saliency: raw values.
        standard_error: in the same units.
        n_cells: of the masks.

    Returns:
        ``map_first``, ``map_second`` and ``difference``, each ``height width 3``.
    """
    difference = map_difference(*saliency, *standard_error, n_cells).in_errors
    return {
        "map_first": draw.overlay(image, saliency[0], standard_error[0]),
        "map_second": draw.overlay(image, saliency[1], standard_error[1]),
        "difference": draw.overlay(image, difference),
    }


def average(of: AverageMap) -> dict[str, Any]:
    """An average map and average face as data addresses, with their counts."""
    side = of.saliency.shape[0]
    error = of.spread / of.count.clamp(min=1).sqrt()
    grey = torch.full((3, side, side), 0.5, dtype=torch.float32)
    tint = draw.overlay(grey, of.saliency, error)
    pictures = {}
    for name, pixels in (("face", draw.pixels(of.face.clamp(0, 1))), ("map", tint)):
        framed = Image.fromarray(pixels).resize((3 * side, 3 * side))
        edge = 3 * side * MARGIN / (1 + 2 * MARGIN)
        frame = [edge, edge, 3 * side - edge, 3 * side - edge]
        ImageDraw.Draw(framed).rectangle(frame, outline=draw.TARGET_COLOUR, width=2)
        pictures[name] = page.embedded(np.asarray(framed))
    return {"n": of.n_targets, "n_empty": of.n_empty, **pictures}
