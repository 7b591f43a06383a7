"""What a picture in memory may be."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiaroscuro.core.checks import shown
from chiaroscuro.core.errors import ImageError, InputError


def checked_pixels(name: str, image: Any) -> Tensor:
    """A picture ``3 height width`` on the CPU: uint8, or float32 in [0, 1].

    Raises:
        ImageError: if it is none.
        InputError: if it is no array.
    """
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(image.copy())
    if not isinstance(image, Tensor):
        raise InputError(f"{name}: wanted an image 3 height width, got {shown(image)}")
    return _checked(name, image)


def _checked(name: str, image: Tensor) -> Tensor:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ImageError(f"{name}: wanted shape (3, height, width), got {tuple(image.shape)}")
    image = image.detach().cpu()
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        raise ImageError(f"{name}: wanted uint8 or float32 in [0, 1], got {image.dtype}")
    image = image.to(torch.float32)
    if not bool(torch.isfinite(image).all()) or image.min() < 0 or image.max() > 1:
        raise ImageError(
            f"{name}: wanted floats in [0, 1], got {float(image.min()):g} to "
            f"{float(image.max()):g}; divide by 255 or pass uint8"
        )
    return image
