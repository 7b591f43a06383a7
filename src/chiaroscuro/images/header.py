"""What a picture's header states: its format, its size and how it is turned."""

import os
import sys
import warnings
from dataclasses import dataclass

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from chiaroscuro.core.errors import ImageError
from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.images import tiff
from chiaroscuro.images.pillow import FORMATS, failing_as_image_error, quiet, readable_formats
from chiaroscuro.images.sources import ImageSource, Stream, opened

_NOT_PICTURES = {  # how files begin that people take for pictures
    b"<!doctype html": "a web page; save the picture itself, not the page that shows it",
    b"<html": "a web page; save the picture itself, not the page that shows it",
    b"<svg": "an SVG drawing; export it as PNG",
    b"<?xml": "an SVG drawing or other XML; export it as PNG",
    b"%pdf": "a PDF; export the page as PNG",
    b"%!ps": "PostScript; export it as PNG",
}


@dataclass(frozen=True, slots=True)
class PictureSize:
    """Size of a picture in pixels, and how its file is turned.

    Attributes:
        width: of the picture upright, as :func:`~chiaroscuro.images.read.read_image` returns it.
        height: likewise.
        orientation: EXIF's, 1 to 8: how the stored picture becomes the upright one.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height in the file, before it is turned."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def picture_size(source: ImageSource) -> PictureSize:
    """The size that a file has once it is read, from its header alone.

    Raises:
        ImageError: if there is no such file, or it is empty or not a picture.
    """
    with opened(source) as (stream, name):
        with PROCESS_WIDE, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # reading the picture warns again
            picture = identify(stream, name, sys.maxsize)
            turn = orientation(picture, name)
        width, height = picture.size
        if isinstance(picture, TiffImagePlugin.TiffImageFile):  # Pillow has its size upright
            width, height = (picture.tag_v2[tag] for tag in (tiff.WIDTH, tiff.HEIGHT))
        return PictureSize(*((height, width) if turn >= 5 else (width, height)), turn)


def identify(stream: Stream, name: str, max_pixels: int) -> Image.Image:
    """The picture in a stream, its header read and its pixels not; raises ImageError."""
    head = stream.read(64)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes); get it again")
    stream.seek(0)
    try:
        with failing_as_image_error(name), quiet(max_pixels):
            picture: Image.Image = Image.open(stream, formats=readable_formats())
            if isinstance(picture, TiffImagePlugin.TiffImageFile):
                picture = tiff.best_page(picture, stream, name)
    except Image.DecompressionBombError as error:
        raise _too_large(name, "more", max_pixels) from error
    except UnidentifiedImageError as error:
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        guesses = [guess for begin, guess in _NOT_PICTURES.items() if start.startswith(begin)]
        remedy = f"it looks like {guesses[0]}" if guesses else "save it again as JPEG or PNG"
        raise ImageError(
            f"{name} is not a picture in a known format ({', '.join(FORMATS)}); {remedy}"
        ) from error
    check_size(picture, name, max_pixels)
    if picture.format == "JPEG2000":
        _check_end_of_codestream(stream, name)
    return picture


def check_size(picture: Image.Image, name: str, max_pixels: int) -> None:
    """Refuse a picture without pixels, or with more than ``max_pixels``."""
    width, height = picture.size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels: it is {width} wide and {height} high")
    if width * height > max_pixels:
        raise _too_large(name, f"{width} x {height} = {width * height}", max_pixels)


def _too_large(name: str, count: str, max_pixels: int) -> ImageError:
    return ImageError(
        f"{name}: wanted at most {max_pixels} pixels, got {count}; reduce it, or if you trust it "
        "raise max_pixels"
    )


def _check_end_of_codestream(stream: Stream, name: str) -> None:
    """Refuse a JPEG 2000 file without its end: cut between two tiles, it is decoded as black.

    The markers are those of ISO/IEC 15444-1, annex A; within the coded data no 0xFF is followed by
    a byte above 0x8F, so the end marker means the end.
    """
    stream.seek(0)
    data = stream.read()
    if data.find(b"\xff\xd9", data.find(b"\xff\x4f\xff\x51")) < 0:
        raise ImageError(f"{name} is cut off: its JPEG 2000 data have no end; get it again")


def orientation(picture: Image.Image, name: str) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none, or it cannot be read."""
    try:
        with quiet():
            # a PNG is decoded for its EXIF data only where they may be behind its pixels
            in_header = picture.format == "PNG" and not _metadata_after_pixels(picture)
            exif = Image.Image.getexif(picture) if in_header else picture.getexif()
            number = exif.get(ExifTags.Base.Orientation)
    except Exception as error:  # camera notes are damaged in many ways; the picture is complete
        warnings.warn(
            f"the EXIF data in {name} cannot be read ({error}); the picture is shown as stored, "
            "perhaps on its side",
            RuntimeWarning,
            stacklevel=2,
        )
        return 1
    return int(number) if number is not None and number in range(1, 9) else 1


def _metadata_after_pixels(picture: Image.Image) -> bool:
    """Whether a PNG that is not yet decoded has text or EXIF behind its pixels."""
    stream = getattr(picture, "fp", None)
    if stream is None:  # decoded already
        return True
    place = stream.tell()
    try:
        stream.seek(8)
        pixels = False
        while len(head := stream.read(8)) == 8:
            length, kind = int.from_bytes(head[:4]), head[4:]
            pixels = pixels or kind == b"IDAT"
            if pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            stream.seek(length + 4, os.SEEK_CUR)
        return False
    finally:
        stream.seek(place)
