"""Maps as transparent pictures, to be laid over a painting by the page."""

import io
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.colors import Normalize
from PIL import Image
from torch import Tensor

from chiaroscuro import draw

Sign = Literal["all", "positive", "negative"]
SIGNS = ("all", "positive", "negative")
_LONGER_PX = 640  # no map is finer than its masks' cells


def map_layer(
    saliency: Tensor,
    standard_error: Tensor,
    *,
    colours: str = draw.COLOURS,
    sign: Sign = "all",
    threshold: float | int = 0.0,
) -> bytes:
    """A map as PNG with transparency: faint where its standard error does not support it.

    Args:
        saliency: ``height width``, raw.
        standard_error: of its values.
        colours: a colour map of matplotlib.
        sign: which evidence is shown.
        threshold: share of the highest absolute value shown below which a pixel is clear, in
            [0, 1].

    Raises:
        UnknownNameError: on a colour map that matplotlib does not have.
    """
    draw.check_colours(colours)
    values = _reduced(saliency)
    noise = _reduced(standard_error).clip(min=1e-12)
    shown = {"all": values, "positive": values.clip(min=0), "negative": values.clip(max=0)}[sign]
    low, high = draw.value_range(torch.from_numpy(shown), colours)
    tint = np.asarray(colormaps[colours](Normalize(low, high, clip=True)(shown)))[..., :3]
    sure = ((np.abs(values) / noise - 1) / 3).clip(0, 1)
    alpha = 0.2 + 0.8 * sure
    if sign != "all":
        alpha = alpha * (shown != 0)
    if threshold > 0:
        alpha = alpha * (np.abs(shown) >= threshold * np.abs(shown).max())
    return _png(np.dstack([tint, alpha]))


def difference_layer(first: Tensor, second: Tensor) -> bytes:
    """Two maps' difference, each divided by its highest value; red where the second has more."""
    one, other = (_reduced(m / max(float(m.max()), 1e-12)) for m in (first, second))
    difference = torch.from_numpy(other - one)
    colours = "coolwarm"
    low, high = draw.value_range(difference, colours)
    tint = np.asarray(colormaps[colours](Normalize(low, high, clip=True)(difference.numpy())))
    strong = (difference.abs() / max(high, 1e-12)).numpy() ** 0.5
    return _png(np.dstack([tint[..., :3], strong]))


def jpeg(pixels: npt.NDArray[np.uint8], longer: int | None = None) -> bytes:
    """A picture ``height width 3`` as JPEG, reduced to a longer side if asked."""
    picture = Image.fromarray(pixels)
    if longer is not None:
        picture.thumbnail((longer, longer))
    stream = io.BytesIO()
    picture.save(stream, "jpeg", quality=88)
    return stream.getvalue()


def _reduced(values: Tensor) -> npt.NDArray[np.float32]:
    scale = min(1.0, _LONGER_PX / max(values.shape))
    size = [max(1, round(side * scale)) for side in values.shape]
    small = torch.nn.functional.interpolate(values[None, None].float(), size=size, mode="area")
    array: npt.NDArray[np.float32] = small[0, 0].numpy()
    return array


def _png(rgba: npt.NDArray[np.float64]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((rgba.clip(0, 1) * 255).round().astype(np.uint8), "RGBA").save(stream, "png")
    return stream.getvalue()
