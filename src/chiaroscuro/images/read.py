"""Pictures in: whatever a person has, to an upright RGB tensor, whole or not at all.

The rules that make one picture of many kinds:

- Colours are those of sRGB: an embedded profile is applied (Adobe RGB, CMYK, ...).
- Transparency is laid over white, the ground of the page.
- 16-bit grey has its white at 65535; Pillow's 32-bit integers are taken for the same and refused
  outside 0 to 65535. Floats have their white at 1 and are refused outside [0, 1]. A TIFF whose
  white is zero is turned over, at any depth.
- Of an animation: the first frame. Of a TIFF of many pages: the first, unless it is a small copy of
  a larger one, which is then read; a warning says which.
- A cut-off or damaged file is an error, never half a picture.
"""

import hashlib
import io
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from chiaroscuro._version import __version__
from chiaroscuro.core.errors import ImageError, InputError
from chiaroscuro.core.threads import PROCESS_WIDE

ImageSource = (
    str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | npt.NDArray[Any] | Tensor | Any
)

# Pictures only. Pillow's other decoders run programs (EPS), or take almost any bytes (TGA).
FORMATS = "JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "JPEG2000", "PPM", "PSD"
DOWNLOAD_LIMIT_BYTES = 256 * 2**20
DOWNLOAD_TIMEOUT_S = 30.0

_TURNS = {  # EXIF orientation: how to bring the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NO_PICTURES = {  # how files begin that people take for pictures
    b"<!doctype html": "a web page; save the picture itself, not the page that shows it",
    b"<html": "a web page; save the picture itself, not the page that shows it",
    b"<svg": "an SVG drawing; export it as PNG",
    b"<?xml": "an SVG drawing or other XML; export it as PNG",
    b"%pdf": "a PDF; export the page as PNG",
    b"%!ps": "PostScript; export it as PNG",
}
_PAGES_LOOKED_AT = 1000  # of a TIFF, for one that is larger than the first
_REDUCED, _MASK = 1, 4  # bits of TIFF's NewSubfileType
_Stream = io.BytesIO | io.BufferedReader


@dataclass(frozen=True, slots=True)
class PictureSize:
    """Size of a picture in pixels, and how its file is turned.

    Attributes:
        width: of the picture upright, as :func:`read_image` gives it.
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
    """The size that :func:`read_image` would give a file, from its header alone.

    Raises:
        ImageError: if there is no such file, or it is empty or no picture.
    """
    with _opened(source) as (stream, name):
        with PROCESS_WIDE, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # reading the picture says it again
            picture = _identify(stream, name, sys.maxsize)
            orientation = _orientation(picture, name)
        width, height = picture.size
        if picture.format == "TIFF":  # whose size Pillow gives upright, unlike that of others
            tags = picture.tag_v2  # type: ignore[attr-defined]
            width, height = tags[ExifTags.Base.ImageWidth], tags[ExifTags.Base.ImageLength]
        turned = PictureSize(width, height, orientation if orientation in _TURNS else 1)
        return PictureSize(*turned.stored, turned.orientation)


def read_image(
    source: ImageSource, *, max_pixels: int = 100_000_000, max_side: int | None = None
) -> UInt8[Tensor, "3 height width"]:
    """Read a picture.

    Args:
        source: a path; an ``http://`` or ``https://`` address; the bytes of a file; a file open in
            binary mode, read from where it stands; a PIL image; or an array, that is a NumPy array
            or a tensor of shape ``h w``, ``h w 3``, ``h w 4`` or ``3 h w``, of uint8, uint16 or
            floats in [0, 1]. Where the first axis and the last could both be the channels, a tensor
            is ``3 h w`` as is torch's custom, and a NumPy array ``h w 3`` or ``h w 4``.
        max_pixels: pictures with more are refused by their header, before they are decoded. It
            stands in for Pillow's own limit. Arrays are in memory already and are not judged by it.
        max_side: reduce the picture so that its longer side has at most that many pixels.

    Returns:
        uint8, RGB in sRGB, upright, contiguous, sharing no memory with ``source``.

    Raises:
        ImageError: if there is no such file, if it is empty, damaged, cut off, too large or no
            picture, or if an array has another shape, dtype or range.
        InputError: if ``max_side`` is below 1.
    """
    if max_side is not None and max_side < 1:
        raise InputError(f"max_side: wanted at least 1 pixel, got {max_side}")
    if isinstance(source, (np.ndarray, Tensor)):
        rgb = _opaque(_picture_of(source)).convert("RGB")
        return _tensor(_resize(rgb, _reduced(rgb.size, max_side)))
    if isinstance(source, Image.Image):
        name = "the PIL image"
        _check_size(source, name, max_pixels)
        with _failing_as_image_error(name):
            source.load()
        return _develop(source, name, max_side)
    with _opened(source) as (stream, name):
        return _develop(_identify(stream, name, max_pixels), name, max_side)


def shrink(image: Tensor, max_side: int) -> tuple[Tensor, float]:
    """Reduce an image so that its longer side has at most ``max_side`` pixels; never enlarge it.

    Args:
        image: ``3 height width``, uint8, or floats in [0, 1].
        max_side: in pixels.

    Returns:
        The image, of the same dtype and device, and the factor new / old of its longer side, by
        which boxes are scaled. An image small enough comes back as it is, with factor 1.

    Raises:
        ImageError: if it is no such image.
        InputError: if ``max_side`` is below 1.
    """
    if max_side < 1:
        raise InputError(f"max_side: wanted at least 1 pixel, got {max_side}")
    _check_image(image)
    height, width = image.shape[1:]
    size = _reduced((width, height), max_side)
    factor = max(size) / max(width, height)
    if factor == 1:
        return image, 1.0
    if image.dtype == torch.uint8:
        smaller = _tensor(_resize(to_pil(image), size))
    else:
        channels = [
            np.asarray(_resize(Image.fromarray(channel), size))
            for channel in image.detach().to("cpu", torch.float32).numpy()
        ]
        smaller = torch.from_numpy(np.stack(channels)).clamp_(0, 1)
    return smaller.to(image.device, image.dtype), factor


def to_pil(image: Tensor) -> Image.Image:
    """An image ``3 height width``, uint8 or floats in [0, 1], as an RGB PIL image.

    Raises:
        ImageError: if it is no such image.
    """
    _check_image(image)
    return _picture_of(image)


def image_hash(image: Tensor) -> str:
    """SHA-256 of an image's shape, dtype and values, in hexadecimal; the same on every device."""
    values = image.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tuple(values.shape)} {values.dtype} ".encode())
    digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_hash(source: str | os.PathLike[str]) -> str:
    """SHA-256 of a picture's file, or of what its address answers, in hexadecimal.

    Raises:
        ImageError: if it cannot be read.
    """
    with _opened(source) as (stream, name):
        try:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error}; check the disk") from error


def readable_formats() -> list[str]:
    """The formats of ``FORMATS`` that can be read here: HEIF needs the package pillow-heif."""
    _add_heif()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@lru_cache(maxsize=1)
def _add_heif() -> None:
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()


def is_address(source: object) -> bool:
    """Whether a picture's source is an address and no path: ``http://...``."""
    return isinstance(source, str) and bool(re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source))


# Where the bytes come from


@contextmanager
def _opened(source: Any) -> Iterator[tuple[_Stream, str]]:
    """A seekable stream of the source's bytes, and what to call it in messages."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source), "the picture given as bytes"
    elif hasattr(source, "read"):
        try:
            data = source.read()
        except (OSError, ValueError) as error:  # ValueError: closed, or text that is no text
            raise ImageError(
                f"the open file cannot be read: {error}; open it with mode 'rb'"
            ) from error
        if not isinstance(data, bytes):
            raise ImageError(
                f"wanted a file open in binary mode, got one that reads {type(data).__name__}; "
                "open it with mode 'rb'"
            )
        yield io.BytesIO(data), "the picture in the open file"
    elif is_address(source):
        yield io.BytesIO(_download(source)), source
    elif isinstance(source, (str, os.PathLike)):
        with _open_file(Path(source)) as stream:
            yield stream, str(source)
    else:
        raise ImageError(
            "wanted a picture as a path, an address, bytes, an open file, a PIL image, a NumPy "
            f"array or a tensor, got {type(source).__name__}"
        )


def _open_file(path: Path) -> _Stream:
    try:
        if path.is_dir():
            raise ImageError(f"wanted a picture, got the folder {path}; name a file in it")
        stream = path.open("rb")
    except FileNotFoundError as error:
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise ImageError(f"there is no file {path}{where}; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{path} cannot be opened: {error}; check the path") from error
    if stream.seekable():
        return stream
    with stream:
        return io.BytesIO(stream.read())


def _download(url: str) -> bytes:
    if not url.lower().startswith(("http://", "https://")):
        raise ImageError(
            f"wanted an address with http:// or https://, got {url}; fetch it and give its path"
        )
    mend = "check the address, or fetch the picture and give its path"
    # These handlers and no others: a redirection to file:// or ftp:// leads nowhere.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    try:
        request = urllib.request.Request(  # noqa: S310  (http and https only, see above)
            urllib.parse.quote(url, safe="%/:?#[]@!$&'()*+,;=~"),
            headers={"User-Agent": f"chiaroscuro/{__version__}"},
        )
        with opener.open(request, timeout=DOWNLOAD_TIMEOUT_S) as response:
            data: bytes = response.read(DOWNLOAD_LIMIT_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ImageError(f"{url} answered {error.code} {error.reason}; {mend}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise ImageError(f"{url} cannot be reached: {error}; {mend}") from error
    if len(data) > DOWNLOAD_LIMIT_BYTES:
        raise ImageError(
            f"{url} has more than {DOWNLOAD_LIMIT_BYTES} bytes, the limit of a download; "
            "fetch it yourself and give its path"
        )
    return data


# From a file's bytes to pixels


@contextmanager
def _failing_as_image_error(name: str) -> Iterator[None]:
    try:
        yield
    except (ImageError, UnidentifiedImageError, Image.DecompressionBombError, Warning):
        raise
    except Exception as error:  # decoders fed with damaged bytes raise errors of any kind
        if isinstance(error.__context__, UnidentifiedImageError):
            raise error.__context__ from error  # Ultralytics patches Image.open to try another way
        raise ImageError(
            f"{name} cannot be read whole: it is damaged, cut off or of a rare kind "
            f"({error or type(error).__name__}); fetch it again, or save it anew as JPEG or PNG"
        ) from error


@contextmanager
def _quiet_pillow(max_pixels: int | None = None) -> Iterator[None]:
    """Keep Pillow's warnings of odd metadata and large pictures to ourselves.

    Where ``max_pixels`` is beyond what Pillow itself allows, Pillow's limit is lifted. Both
    settings are the process's, so this is for moments and for one thread at a time.
    """
    with PROCESS_WIDE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        limit = Image.MAX_IMAGE_PIXELS
        lift = limit is not None and max_pixels is not None and max_pixels > 2 * limit
        try:
            if lift:
                Image.MAX_IMAGE_PIXELS = None
            yield
        finally:
            if lift:
                Image.MAX_IMAGE_PIXELS = limit


def _identify(stream: _Stream, name: str, max_pixels: int) -> Image.Image:
    """Read the header only."""
    head = stream.read(64)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes); fetch it again")
    stream.seek(0)
    try:
        with _failing_as_image_error(name), _quiet_pillow(max_pixels):
            picture: Image.Image = Image.open(stream, formats=readable_formats())
            if isinstance(picture, TiffImagePlugin.TiffImageFile) and _may_be_thumbnail(picture):
                picture = _best_page(picture, stream, name)
    except Image.DecompressionBombError as error:
        raise _too_large(name, "more", max_pixels) from error
    except UnidentifiedImageError as error:
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        guesses = [guess for mark, guess in _NO_PICTURES.items() if start.startswith(mark)]
        mend = f"it looks like {guesses[0]}" if guesses else "save it anew as JPEG or PNG"
        raise ImageError(
            f"{name} is no picture of a known format ({', '.join(FORMATS)}); {mend}"
        ) from error
    _check_size(picture, name, max_pixels)
    if picture.format == "JPEG2000":
        _check_end_of_codestream(stream, name)
    return picture


def _check_end_of_codestream(stream: _Stream, name: str) -> None:
    """A JPEG 2000 file cut between two tiles is decoded with the rest black: look for its end.

    The markers are those of ISO/IEC 15444-1, annex A; within the coded data no 0xFF is followed by
    a byte above 0x8F, so the end marker means the end.
    """
    stream.seek(0)
    data = stream.read()
    if data.find(b"\xff\xd9", data.find(b"\xff\x4f\xff\x51")) < 0:
        raise ImageError(f"{name} is cut off: its JPEG 2000 data have no end; fetch it again")


# Pages of a TIFF


@dataclass(frozen=True, slots=True)
class _Page:
    number: int  # from 0
    width: int
    height: int
    kind: int  # NewSubfileType

    def is_reduced_to(self, first: "_Page") -> bool:
        """Whether ``first`` is a small copy of this page: flagged, or of the same aspect."""
        if self.kind & _MASK or self.width <= first.width or self.height <= first.height:
            return False
        same_aspect = (
            abs(self.width * first.height / self.height - first.width) <= 1
            or abs(self.height * first.width / self.width - first.height) <= 1
        )
        return bool(first.kind & _REDUCED) or same_aspect


def _may_be_thumbnail(picture: TiffImagePlugin.TiffImageFile) -> bool:
    kind = _tiff_tag(picture, "NewSubfileType") or 0
    return bool(picture.is_animated or int(kind) & _REDUCED)


def _best_page(scanned: TiffImagePlugin.TiffImageFile, stream: _Stream, name: str) -> Image.Image:
    """The page that is the picture, in a file opened anew; a warning says which it is.

    Raises:
        SyntaxError: if Pillow does not read that page; its small copy does not stand in for it.
    """
    pages = _pages(scanned)
    first = pages[0]
    larger = [page for page in pages if page.is_reduced_to(first)]
    best = min(
        larger,
        key=lambda page: (page.kind & _REDUCED, -page.width * page.height),
        default=first,
    )
    stream.seek(0)
    picture = Image.open(stream, formats=["TIFF"])
    picture.seek(best.number)
    why = "page 1 is a small copy of it" if larger else "the first"
    if first.kind & _REDUCED and not larger:
        why += "; it says that it is a small copy, but no larger page is in the file"
    count = f"{len(pages)} page{'s' * (len(pages) > 1)}"
    if len(pages) == _PAGES_LOOKED_AT:
        count += " or more"
    warnings.warn(
        f"{name} has {count}; page {best.number + 1} is read, {why}; save another page as a "
        "file of its own to read it",
        RuntimeWarning,
        stacklevel=2,
    )
    return picture


def _pages(picture: TiffImagePlugin.TiffImageFile) -> list[_Page]:
    """Size and kind of every page; a page that Pillow cannot decode is among them."""
    pages = []
    for number in range(_PAGES_LOOKED_AT):
        try:
            picture.seek(number)
        except EOFError:
            break
        except SyntaxError:  # a page of a kind that is not read: its size is known all the same
            pass
        except Exception:  # the chain of pages is damaged; those before are whole
            break
        tags = picture.tag_v2
        width, height, kind = (tags.get(tag, 0) for tag in (256, 257, 254))
        pages.append(_Page(number, int(width), int(height), int(kind)))
    return pages


def _check_size(picture: Image.Image, name: str, max_pixels: int) -> None:
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


def _develop(
    picture: Image.Image, name: str, max_side: int | None
) -> UInt8[Tensor, "3 height width"]:
    """Decode, flatten, reduce, bring to sRGB and upright: in the order that costs least."""
    size = _reduced(picture.size, max_side)
    if size != picture.size:
        # JPEG: decode at 1/2, 1/4 or 1/8; without effect on others and on what is decoded already.
        picture.draft(None, (2 * size[0], 2 * size[1]))
    with _failing_as_image_error(name):
        picture.load()
        opaque = _opaque(picture)
    profile = None if picture.mode == "LAB" else picture.info.get("icc_profile")
    turn = _TURNS.get(_orientation(picture, name))
    rgb = _to_srgb(_resize(opaque, size), profile, name)
    return _tensor(rgb if turn is None else rgb.transpose(turn))


def _reduced(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Width and height of the same aspect with the longer at most ``max_side``, none below 1."""
    if max_side is None or max(size) <= max_side:
        return size
    factor = max_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _resize(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS)


def _opaque(picture: Image.Image) -> Image.Image:
    """The picture in mode L, RGB or CMYK, with transparent parts laid over white."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        levels = _levels(_sixteen_bit(np.asarray(picture), _white(picture)), "picture")
        white_is_zero = _tiff_tag(picture, "PhotometricInterpretation") == 0
        return Image.fromarray(255 - levels if white_is_zero else levels)
    grey = Image.getmodebase(picture.mode) == "L"
    if picture.has_transparency_data:
        straight = picture.convert("LA") if picture.mode == "La" else picture
        white = Image.new("RGBA", picture.size, "white")
        over = Image.alpha_composite(white, straight.convert("RGBA"))
        return over.convert("L" if grey else "RGB")
    if picture.mode in ("L", "RGB", "CMYK"):
        return picture
    return picture.convert("L" if grey else "RGB")


def _tiff_tag(picture: Image.Image, name: str) -> Any:
    """The first value of a tag of the picture's TIFF page, None where there is none."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return None
    value = picture.tag_v2.get(ExifTags.Base[name])
    return value[0] if isinstance(value, tuple) else value


def _white(picture: Image.Image) -> int:
    """The level of white in a picture of integers."""
    bits, signed = _tiff_tag(picture, "BitsPerSample"), _tiff_tag(picture, "SampleFormat") == 2
    if bits == 12:
        return 4095
    return 32767 if signed and bits == 16 else 65535


def _sixteen_bit(values: npt.NDArray[Any], white: int) -> npt.NDArray[Any]:
    """Integers as 16-bit ones with their white at 65535; others as they are."""
    if values.dtype.kind not in "iu" or (values.dtype != np.int32 and white == 65535):
        return values
    if values.min() < 0 or values.max() > white:
        raise ImageError(
            f"picture of integers: wanted 0 (black) to {white} (white), got {values.min()} to "
            f"{values.max()}; scale it and save it with 8 or 16 bits"
        )
    return np.rint(values * (65535 / white)).astype(np.uint16)


def _to_srgb(picture: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """RGB from mode L, RGB or CMYK; a profile that cannot be used is left out with a warning."""
    if not profile:
        return picture.convert("RGB")
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = given.profile.xcolor_space.strip()
        if space == "RGB" and picture.mode == "L":
            picture = picture.convert("RGB")
        if picture.mode != {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space):
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


def _orientation(picture: Image.Image, name: str) -> Any:
    try:
        with _quiet_pillow():
            return _exif(picture).get(ExifTags.Base.Orientation)
    except Exception as error:  # camera notes come damaged in many ways; the picture is whole
        warnings.warn(
            f"the EXIF data in {name} cannot be read ({error}); the picture is shown as stored, "
            "perhaps on its side",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _exif(picture: Image.Image) -> Image.Exif:
    """The EXIF data; those of a PNG without decoding it where none can stand behind its pixels."""
    if picture.format == "PNG" and not _metadata_after_pixels(picture):
        return Image.Image.getexif(picture)
    return picture.getexif()


def _metadata_after_pixels(picture: Image.Image) -> bool:
    """Whether a PNG that was opened and not yet decoded has text or EXIF behind its pixels."""
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


# Arrays


def _picture_of(array: npt.NDArray[Any] | Tensor) -> Image.Image:
    """A PIL image of mode L, RGB or RGBA; see :func:`read_image` for the shapes."""
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
    return Image.fromarray(np.ascontiguousarray(_levels(values, "array")))


def _wrong_shape(array: npt.NDArray[Any] | Tensor) -> ImageError:
    mend = "squeeze" if 1 in array.shape else "index"
    return ImageError(
        "array: wanted shape (h, w), (h, w, 3), (h, w, 4) or (3, h, w) with at least one pixel, "
        f"got {tuple(array.shape)}; {mend} it down to one picture"
    )


def _levels(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """Numbers of any accepted kind as levels 0 to 255, rounded to the nearest."""
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


def _check_image(image: Tensor) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ImageError(f"image: wanted shape (3, height, width), got {tuple(image.shape)}")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ImageError(f"image: wanted uint8 or floats in [0, 1], got {image.dtype}")


def _tensor(rgb: Image.Image) -> UInt8[Tensor, "3 height width"]:
    return torch.from_numpy(np.asarray(rgb).transpose(2, 0, 1).copy())
