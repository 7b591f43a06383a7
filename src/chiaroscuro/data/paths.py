"""Names of pictures, by path and by address, and of the folders of their results.

Folders of results must exist on every disk: no two have the same name when case is ignored, and no
character is one that Windows forbids.
"""

import hashlib
import posixpath
import re
import unicodedata
import urllib.parse
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path

from PIL import Image

from chiaroscuro.images.pillow import readable_formats
from chiaroscuro.images.sources import is_address

# Suffixes of formats that Pillow reads without registering them.
_FURTHER_SUFFIXES = {
    "JPEG": (".jif", ".jfi", ".mpo"),
    "TIFF": (".btf", ".tf8", ".bigtiff"),
    "HEIF": (".heic", ".heif", ".hif"),
}
_RESERVED = frozenset(  # names of devices on Windows
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)
_MAX_NAME_BYTES = 160  # disks allow 255; files of a picture add their method and suffix
_NAMELESS = "picture"


def picture_suffixes() -> frozenset[str]:
    """Suffixes, in lower case with their dot, of the files that ``read_image`` reads here."""
    return _suffixes_of(tuple(readable_formats()))


@lru_cache(maxsize=8)
def _suffixes_of(formats: tuple[str, ...]) -> frozenset[str]:
    registered = {
        suffix for suffix, name in Image.registered_extensions().items() if name in formats
    }
    further = {suffix for name in formats for suffix in _FURTHER_SUFFIXES.get(name, ())}
    return frozenset(registered | further)


def as_source(text: str) -> str | Path:
    """A picture's source as it was typed: an address unchanged, anything else as a path."""
    return text if is_address(text) else Path(text)


def file_name(source: str | PathLike[str]) -> str:
    """Last part of a picture's path or address, accents composed: files are matched by it."""
    return composed(_parts(str(source))[-1])


def composed(name: str) -> str:
    """The name with its accents composed (NFC)."""
    return unicodedata.normalize("NFC", name)


def _parts(source: str) -> list[str]:
    """Folders and file name; of an address its host, folders and file name, decoded.

    The query belongs to the file name where that alone does not name a picture.
    """
    if not is_address(source):
        normal = posixpath.normpath(Path(source).as_posix())
        return [part for part in normal.split("/") if part not in ("", ".", "..")] or [_NAMELESS]
    try:
        address = urllib.parse.urlsplit(source)
    except ValueError:  # such as http://[half
        return [_NAMELESS]
    parts = [urllib.parse.unquote(part) for part in address.path.split("/") if part]
    if parts and address.query and Path(parts[-1]).suffix.lower() not in picture_suffixes():
        parts[-1] = f"{Path(parts[-1]).stem}_{urllib.parse.unquote(address.query)}"
    return [address.hostname or _NAMELESS, *parts]


def folder_name(source: str | PathLike[str]) -> str:
    """The name of a picture's folder of results: its file name without suffix, made safe."""
    return _safe(_stem(_parts(str(source))[-1]))


def folder_names(sources: Sequence[str]) -> list[str]:
    """A folder name for each of several pictures, no two alike, whatever their order.

    It is ``folder_name`` where no other has the same. Those that share it are distinguished by
    their suffix and as many of the folders above as needed (``a__x.png``, ``b__x.png``), and last
    by a hash of the whole path. Case and the composition of accents do not distinguish two names,
    because disks of Windows and macOS ignore them.

    Args:
        sources: paths or addresses, none twice.
    """
    names = [folder_name(source) for source in sources]
    parts = [_parts(source) for source in sources]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        for place in _alike(names):
            names[place] = _safe("__".join(parts[place][-depth:]))
    for digits in (8, 64):
        for place in _alike(names):
            digest = hashlib.sha256(sources[place].encode(errors="surrogatepass")).hexdigest()
            names[place] = f"{_safe(parts[place][-1])}-{digest[:digits]}"
    return names


def _alike(names: Sequence[str]) -> list[int]:
    """Places of the names that occur more than once."""
    places = defaultdict(list)
    for place, name in enumerate(names):
        places[composed(composed(name).casefold())].append(place)
    return [place for group in places.values() if len(group) > 1 for place in group]


def _stem(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return stem if stem and f".{suffix.lower()}" in picture_suffixes() else name


def _safe(name: str) -> str:
    """A name that every disk can have, and that leads nowhere; with a hash where it is cut."""
    safe = name.encode(errors="replace").decode()  # bytes that are not UTF-8 become "?"
    safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", safe).rstrip(". ").lstrip(" ")
    if safe.split(".")[0].lower() in _RESERVED:
        safe = f"_{safe}"
    if len(safe.encode()) > _MAX_NAME_BYTES:
        digest = hashlib.sha256(safe.encode()).hexdigest()[:8]
        cut = safe.encode()[: _MAX_NAME_BYTES - 9].decode(errors="ignore").rstrip(". ")
        safe = f"{cut}-{digest}"
    return safe or _NAMELESS
