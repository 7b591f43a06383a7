"""From a decoded file to pixels: any mode, depth and colour profile to upright RGB in sRGB."""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from chiaroscuro.core.errors import ImageError
from chiaroscuro.images import tiff
from chiaroscuro.images.arrays import levels
from chiaroscuro.images.header import orientation
from chiaroscuro.images.pillow import failing_as_image_error
from chiaroscuro.images.resize import reduced, resized

_TURNS = {  # EXIF orientation: how to bring the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of pictures, by a profile's colour space


def develop(picture: Image.Image, name: str, max_side: int | None) -> Image.Image:
    """Decode, flatten, reduce, bring to sRGB and upright: in the order that costs least."""
    size = reduced(picture.size, max_side)
    if size != picture.size:
        # JPEG is decoded at 1/2, 1/4 or 1/8; others, and what is decoded already, are unaffected.
        picture.draft(None, (2 * size[0], 2 * size[1]))
    with failing_as_image_error(name):
        picture.load()
        flat = opaque(picture)
    profile = None if picture.mode == "LAB" else picture.info.get("icc_profile")
    turn = _TURNS.get(orientation(picture, name))
    rgb = _to_srgb(resized(flat, size), profile, name)
    return rgb if turn is None else rgb.transpose(turn)


def opaque(picture: Image.Image) -> Image.Image:
    """The picture in mode L, RGB or CMYK, with transparent parts over white."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = _sixteen_bit(np.asarray(picture), tiff.white_level(picture))
        eight_bit = levels(values, "picture")
        white_is_zero = tiff.tag(picture, "PhotometricInterpretation") == 0
        return Image.fromarray(255 - eight_bit if white_is_zero else eight_bit)
    grey = Image.getmodebase(picture.mode) == "L"
    if picture.has_transparency_data:
        straight = picture.convert("LA") if picture.mode == "La" else picture
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, straight.convert("RGBA"))
    elif picture.mode in ("L", "RGB", "CMYK"):
        return picture
    return picture.convert("L" if grey else "RGB")


def _sixteen_bit(values: npt.NDArray[Any], white: int) -> npt.NDArray[Any]:
    """Integers as 16-bit integers with white at 65535; other values unchanged."""
    if values.dtype.kind not in "iu" or (values.dtype != np.int32 and white == 65535):
        return values
    if values.min() < 0 or values.max() > white:
        raise ImageError(
            f"picture of integers: wanted 0 (black) to {white} (white), got {values.min()} to "
            f"{values.max()}; scale it and save it with 8 or 16 bits"
        )
    return np.rint(values * (65535 / white)).astype(np.uint16)


def _to_srgb(picture: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """RGB from mode L, RGB or CMYK; a profile that cannot be used is ignored with a warning."""
    if not profile:
        return picture.convert("RGB")
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = given.profile.xcolor_space.strip()
        if space == "RGB" and picture.mode == "L":
            picture = picture.convert("RGB")
        if picture.mode != _MODES.get(space):
            raise ValueError(f"it is for {space} colours and the picture is {picture.mode}")
        if space == "RGB" and "sRGB" in (given.profile.profile_description or ""):
            return picture
        converted = ImageCms.profileToProfile(
            picture, given, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        assert converted is not None  # noqa: S101  (only inPlace gives None)
        return converted
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError, ImportError) as error:
        warnings.warn(
            f"the colour profile in {name} cannot be used ({error}); its colours are taken for "
            "sRGB, or for plain CMYK",
            RuntimeWarning,
            stacklevel=2,
        )
        return picture.convert("RGB")
