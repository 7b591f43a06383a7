"""Pictures reduced to a longest side."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chiaroscuro.core.limits import SIDE
from chiaroscuro.images.arrays import check_image, to_pil, to_tensor


def shrink(image: Tensor, max_side: int) -> tuple[Tensor, float]:
    """Reduce an image so that its longer side has at most ``max_side`` pixels; never enlarge it.

    Args:
        image: ``3 height width``, uint8, or floats in [0, 1].
        max_side: in pixels.

    Returns:
        The image, of the same dtype and device, and the factor new / old of its longer side, by
        which boxes are scaled. An image that is small enough is returned unchanged, with factor 1.

    Raises:
        ImageError: if the image has another shape or dtype.
        InputError: if ``max_side`` is below 1.
    """
    SIDE("max_side", max_side)
    check_image(image)
    height, width = image.shape[1:]
    size = reduced((width, height), max_side)
    factor = max(size) / max(width, height)
    if factor == 1:
        return image, 1.0
    if image.dtype == torch.uint8:
        smaller = to_tensor(resized(to_pil(image), size))
    else:
        channels = map(Image.fromarray, image.detach().to("cpu", torch.float32).numpy())
        arrays = [np.asarray(resized(channel, size)) for channel in channels]
        smaller = torch.from_numpy(np.stack(arrays)).clamp_(0, 1)
    return smaller.to(image.device, image.dtype), factor


def reduced(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Width and height of the same aspect with the longer at most ``max_side``, none below 1."""
    if max_side is None or max(size) <= max_side:
        return size
    factor = max_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture with that width and height; the same object if it has them."""
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
