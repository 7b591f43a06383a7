"""TIFF: which of its pages is the picture, and which level is white."""

import warnings
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

from chiaroscuro.core.text import plural
from chiaroscuro.images.sources import Stream

WIDTH, HEIGHT, _KIND = 256, 257, 254  # tags; the last is NewSubfileType
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_MOST_PAGES = 1000  # searched for one that is larger than the first


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
        wide = abs(self.width * first.height / self.height - first.width)
        high = abs(self.height * first.width / self.width - first.height)
        return bool(first.kind & _REDUCED) or min(wide, high) <= 1


def best_page(scanned: TiffImagePlugin.TiffImageFile, stream: Stream, name: str) -> Image.Image:
    """The page that is the picture; where there is a choice, a warning names it.

    A page that Pillow does not read raises SyntaxError; its small copy does not replace it.
    """
    if not (scanned.is_animated or int(tag(scanned, "NewSubfileType") or 0) & _REDUCED):
        return scanned
    pages = _pages(scanned)
    first = pages[0]
    larger = [page for page in pages if page.is_reduced_to(first)]
    best = min(
        larger, key=lambda page: (page.kind & _REDUCED, -page.width * page.height), default=first
    )
    stream.seek(0)
    picture = Image.open(stream, formats=["TIFF"])
    picture.seek(best.number)
    why = "page 1 is a small copy of it" if larger else "the first"
    if first.kind & _REDUCED and not larger:
        why += "; it is flagged as a small copy, but the file has no larger page"
    count = plural(len(pages), "page") + " or more" * (len(pages) == _MOST_PAGES)
    warnings.warn(
        f"{name} has {count}; page {best.number + 1} is read, {why}; to read another page, save it "
        "as a separate file",
        RuntimeWarning,
        stacklevel=2,
    )
    return picture


def _pages(picture: TiffImagePlugin.TiffImageFile) -> list[_Page]:
    """Size and kind of every page, also of pages that Pillow cannot decode."""
    pages = []
    for number in range(_MOST_PAGES):
        try:
            picture.seek(number)
        except EOFError:
            break
        except SyntaxError:  # a kind of page that is not read; its size is known
            pass
        except Exception:  # the chain of pages is damaged; the earlier ones are complete
            break
        width, height, kind = (picture.tag_v2.get(tag, 0) for tag in (WIDTH, HEIGHT, _KIND))
        pages.append(_Page(number, int(width), int(height), int(kind)))
    return pages


def tag(picture: Image.Image, name: str) -> Any:
    """The first value of a tag of the picture's TIFF page; None without one."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return None
    value = picture.tag_v2.get(ExifTags.Base[name])
    return value[0] if isinstance(value, tuple) else value


def white_level(picture: Image.Image) -> int:
    """The level of white in a picture of integers with more than 8 bits."""
    bits, signed = tag(picture, "BitsPerSample"), tag(picture, "SampleFormat") == 2
    if bits == 12:
        return 4095
    return 32767 if signed and bits == 16 else 65535
