"""Arrays and tensors of pixels, to PIL images and back."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from chiaroscuro.core.errors import ImageError


def from_array(array: npt.NDArray[Any] | Tensor) -> Image.Image:
    """A PIL image of mode L, RGB or RGBA; the shapes are those of ``read_image``."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise _wrong_shape(array)
    if isinstance(array, Tensor):
        floating = array.is_floating_point()  # NumPy has no bfloat16
        values = (array.float() if floating else array).detach().cpu().numpy()
    else:
        values = array
    if array.ndim == 3:
        first, last = array.shape[0] == 3, array.shape[2] in (3, 4)
        if not first and not last:
            raise _wrong_shape(array)
        if first and not (last and isinstance(array, np.ndarray)):
            values = values.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(levels(values, "array")))


def _wrong_shape(array: npt.NDArray[Any] | Tensor) -> ImageError:
    remedy = "squeeze" if 1 in array.shape else "index"
    return ImageError(
        "array: wanted shape (h, w), (h, w, 3), (h, w, 4) or (3, h, w) with at least one pixel, "
        f"got {tuple(array.shape)}; {remedy} it down to one picture"
    )


def levels(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """uint8, uint16 or floats in [0, 1] as levels 0 to 255, rounded to the nearest."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        slack = 0.5 / 255  # what still rounds to a level
        if not bool(((values >= -slack) & (values <= 1 + slack)).all()):
            raise ImageError(
                f"{name}: wanted floats in [0, 1], got "
                f"{'NaN' if np.isnan(values).any() else f'{values.min():g} to {values.max():g}'}; "
                "levels of 0 to 255 need dtype uint8, or a division by 255"
            )
        return np.rint(values.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise ImageError(
        f"{name}: wanted uint8, uint16 or floats in [0, 1], got {values.dtype}; convert it with "
        ".astype or .to, so that white is 255, 65535 or 1"
    )


def to_pil(image: Tensor) -> Image.Image:
    """An image ``3 height width``, uint8 or floats in [0, 1], as an RGB PIL image.

    Raises:
        ImageError: if the shape, dtype or range is another.
    """
    check_image(image)
    return from_array(image)


def check_image(image: Tensor) -> None:
    """Refuse a tensor that is not ``3 height width`` of uint8 or floats."""
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ImageError(f"image: wanted shape (3, height, width), got {tuple(image.shape)}")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ImageError(f"image: wanted uint8 or floats in [0, 1], got {image.dtype}")


def to_tensor(rgb: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """An RGB PIL image as a contiguous tensor with memory of its own."""
    return torch.from_numpy(np.asarray(rgb).transpose(2, 0, 1).copy())
