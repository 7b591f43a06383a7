"""Pillow, limited to formats of pictures, with one kind of error and without its own limits."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module

from PIL import Image, UnidentifiedImageError

from chiaroscuro.core.errors import ImageError
from chiaroscuro.core.threads import PROCESS_WIDE

# Pictures only. Pillow's other decoders run programs (EPS) or accept almost any bytes (TGA).
FORMATS = "JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "JPEG2000", "PPM", "PSD"


def readable_formats() -> list[str]:
    """The formats of ``FORMATS`` that can be read here: HEIF needs the package pillow-heif."""
    _add_heif()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@lru_cache(maxsize=1)
def _add_heif() -> None:
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()


@contextmanager
def failing_as_image_error(name: str) -> Iterator[None]:
    """Turn any error of a decoder into ImageError; decoders of damaged bytes raise every kind."""
    try:
        yield
    except (ImageError, UnidentifiedImageError, Image.DecompressionBombError, Warning):
        raise
    except Exception as error:
        if isinstance(error.__context__, UnidentifiedImageError):
            raise error.__context__ from error  # Ultralytics patches Image.open to try another way
        raise ImageError(
            f"{name} cannot be read completely: it is damaged, cut off or of a rare kind "
            f"({error or type(error).__name__}); get it again, or save it again as JPEG or PNG"
        ) from error


@contextmanager
def quiet(max_pixels: int = 0) -> Iterator[None]:
    """Silence Pillow's warnings of odd metadata and large pictures.

    Where ``max_pixels`` is above Pillow's own limit, that limit is lifted. Both settings belong to
    the whole process, so use this briefly; one thread at a time is in it.
    """
    with PROCESS_WIDE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        limit = Image.MAX_IMAGE_PIXELS
        lift = limit is not None and max_pixels > 2 * limit
        try:
            if lift:
                Image.MAX_IMAGE_PIXELS = None
            yield
        finally:
            if lift:
                Image.MAX_IMAGE_PIXELS = limit
