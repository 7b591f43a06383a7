"""A map in colour over its picture, and a target with its surroundings, as pixels."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from chiaroscuro.core.records import Target
from chiaroscuro.evidence.observe import usable_image
from chiaroscuro.figures.colours import SIGNED, Scale, greyed, laid_over
from chiaroscuro.figures.look import TARGET_COLOUR
from chiaroscuro.metrics.maps import usable_map

_DARK_MEAN = 0.35  # mean brightness to which darker pictures are lifted under a map
_CLOSE_PX, _CONTEXT = 300, 1.0  # width of a close view; its margin around the box, in box sizes


def overlay(
    image: Any,
    saliency: Any,
    standard_error: Any = None,
    colours: str = SIGNED,
    *,
    scale: Scale | None = None,
) -> npt.NDArray[np.uint8]:
    """A map in colour over its picture, which is shown in grey.

    A dark picture is lifted first, so that its forms stay readable under the colours. Values that
    do not stand out from their standard error are clear.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        saliency: ``height width``, raw values: a tensor, a NumPy array or lists.
        standard_error: of the values; None, or 0 everywhere, for a method that knows none.
        colours: as of ``Look``.
        scale: in place of the map's own.

    Returns:
        ``height width 3``.

    Raises:
        UnknownNameError: if matplotlib has no such colours.
        InputError: if the map has another size than the picture.
    """
    image = usable_image(image)
    size = (image.shape[1], image.shape[2])
    saliency = usable_map(saliency, size)
    errors = None if standard_error is None else usable_map(standard_error, size)
    scale = scale or Scale.of(saliency, errors, colours)
    return _bytes(laid_over(lifted_grey(image), scale.of_map(saliency, errors)))


def pixels(image: Any) -> npt.NDArray[np.uint8]:
    """A picture, in any form that ``cs.explain`` takes, as uint8 ``height width 3``."""
    image = usable_image(image)
    levels = image if image.dtype == torch.uint8 else (image * 255).round().byte()
    array: npt.NDArray[np.uint8] = np.ascontiguousarray(levels.permute(1, 2, 0).numpy())
    return array


def around(pixels: npt.NDArray[np.uint8], target: Target) -> npt.NDArray[np.uint8]:
    """A picture ``height width 3`` cut to a target and its surroundings, with the box in it."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = target.box.tolist()
    margin = _CONTEXT * max(x2 - x1, y2 - y1)
    left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
    right, bottom = min(width, int(x2 + margin) + 1), min(height, int(y2 + margin) + 1)
    scale = _CLOSE_PX / (right - left)
    size = (_CLOSE_PX, max(1, round((bottom - top) * scale)))
    box = [(v - o) * scale for v, o in zip((x1, y1, x2, y2), (left, top, left, top), strict=True)]
    return _boxed(Image.fromarray(pixels[top:bottom, left:right]).resize(size), box)


def boxed(pixels: npt.NDArray[np.uint8], target: Target) -> npt.NDArray[np.uint8]:
    """A picture ``height width 3`` with a target's box in it."""
    return _boxed(Image.fromarray(pixels), target.box.tolist())


def _boxed(picture: Image.Image, box: Sequence[float]) -> npt.NDArray[np.uint8]:
    pen = ImageDraw.Draw(picture)
    pen.rectangle(list(box), outline="black", width=4)
    pen.rectangle(list(box), outline=TARGET_COLOUR, width=2)
    return np.asarray(picture)


def lifted_grey(image: torch.Tensor) -> npt.NDArray[np.float64]:
    """The ground of a map: ``height width 3`` in [0, 1], grey.

    A gamma curve lifts shadows until the mean brightness reaches ``_DARK_MEAN``.
    """
    floats = image.float() / 255 if image.dtype == torch.uint8 else image
    colours = floats.permute(1, 2, 0).numpy()
    mean = float(colours.mean())
    if mean < _DARK_MEAN:
        colours = colours ** max(0.4, math.log(_DARK_MEAN) / math.log(max(mean, 1e-3)))
    return greyed(colours)


def _bytes(colours: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    return (colours.clip(0, 1) * 255).round().astype(np.uint8)
