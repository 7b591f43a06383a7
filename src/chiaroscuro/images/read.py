"""``read_image``: a picture from any source, as an upright RGB tensor, complete or refused.

- Colours are those of sRGB: an embedded profile is applied (Adobe RGB, CMYK, ...).
- Transparent parts are laid over white.
- 16-bit grey has its white at 65535, and so have Pillow's 32-bit integers, which are refused
  outside 0 to 65535. Floats have their white at 1 and are refused outside [0, 1]. A TIFF whose
  white is zero is inverted, at any depth.
- The first frame of an animation is read. Of a TIFF with several pages, the first is read, unless
  it is a small copy of a larger one, which is then read; a warning names the page.
- A cut-off or damaged file is an error, never half a picture.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from chiaroscuro.core.limits import MAX_PIXELS, SIDE
from chiaroscuro.images.arrays import from_array, to_tensor
from chiaroscuro.images.develop import develop, opaque
from chiaroscuro.images.header import check_size, identify
from chiaroscuro.images.pillow import failing_as_image_error
from chiaroscuro.images.resize import reduced, resized
from chiaroscuro.images.sources import ImageSource, opened


def read_image(
    source: ImageSource, *, max_pixels: int = MAX_PIXELS, max_side: int | None = None
) -> UInt8[Tensor, "3 height width"]:
    """Read a picture.

    Args:
        source: a path; an ``http://`` or ``https://`` address; the bytes of a file; a file open in
            binary mode, read from its current position; a PIL image; or a NumPy array or tensor of
            shape ``h w``, ``h w 3``, ``h w 4`` or ``3 h w``, of uint8, uint16 or floats in [0, 1].
            Where both the first and the last axis could be the channels, a tensor is ``3 h w``, as
            is usual in torch, and a NumPy array ``h w 3`` or ``h w 4``.
        max_pixels: pictures with more are refused by their header, before they are decoded. It
            replaces Pillow's own limit. Arrays are in memory already and have no limit.
        max_side: reduce the picture so that its longer side has at most that many pixels.

    Returns:
        uint8, RGB in sRGB, upright, contiguous, sharing no memory with ``source``.

    Raises:
        ImageError: if there is no such file, if it is empty, damaged, cut off, too large or not a
            picture, or if an array has another shape, dtype or range.
        InputError: if ``max_side`` is below 1.
    """
    if max_side is not None:
        SIDE("max_side", max_side)
    if isinstance(source, (np.ndarray, Tensor)):
        rgb = opaque(from_array(source)).convert("RGB")
        return to_tensor(resized(rgb, reduced(rgb.size, max_side)))
    if isinstance(source, Image.Image):
        name = "the PIL image"
        check_size(source, name, max_pixels)
        with failing_as_image_error(name):
            source.load()
        return to_tensor(develop(source, name, max_side))
    with opened(source) as (stream, name):
        return to_tensor(develop(identify(stream, name, max_pixels), name, max_side))
