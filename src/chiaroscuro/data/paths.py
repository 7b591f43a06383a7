r"""Where pictures are, by folder, by file name and by address, and what their results are called.

File names come from other machines: with ``\`` between folders, with accents composed (NFC) or not
(NFD), with suffixes in capitals, with bytes that are no UTF-8. Folders of results must exist on
every disk: no two of them alike when case is disregarded, no character that Windows forbids.
"""

import hashlib
import posixpath
import re
import unicodedata
import urllib.parse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path

from PIL import Image

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.images.pillow import readable_formats
from chiaroscuro.images.sources import is_address

# Suffixes of formats that Pillow reads without registering them.
_FURTHER_SUFFIXES = {
    "JPEG": (".jif", ".jfi", ".mpo"),
    "TIFF": (".btf", ".tf8", ".bigtiff"),
    "HEIF": (".heic", ".heif", ".hif"),
}
# Folders that systems put beside pictures: previews, resource forks, waste.
_NOT_PICTURES = frozenset(
    (
        *("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"),
        ".ipynb_checkpoints",
    )
)
_RESERVED = frozenset(  # names of devices on Windows
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)
_MAX_NAME_BYTES = 160  # disks allow 255; files of a picture add their method and suffix
_NAMELESS = "picture"


# Pictures of a folder


def picture_suffixes() -> frozenset[str]:
    """Suffixes, in lower case with their dot, of the files that ``read_image`` reads here.

    They are those that Pillow registers for these formats, with HEIC where ``pillow-heif`` is
    installed.
    """
    return _suffixes_of(tuple(readable_formats()))


@lru_cache(maxsize=8)
def _suffixes_of(formats: tuple[str, ...]) -> frozenset[str]:
    registered = {
        suffix for suffix, name in Image.registered_extensions().items() if name in formats
    }
    further = {suffix for name in formats for suffix in _FURTHER_SUFFIXES.get(name, ())}
    return frozenset(registered | further)


def find_pictures(folder: Path) -> list[Path]:
    """The picture files in a folder and the folders in it, by path.

    Files that macOS and Windows put beside pictures (``._a.jpg``, ``__MACOSX``, ``Thumbs.db``) are
    passed over. Links to folders are followed, and every folder is visited once: a link to a folder
    above ends there.

    Raises:
        AnnotationError: if the folder, or one in it, cannot be read.
    """
    try:
        found = [
            path
            for directory in _directories(folder)
            for path in directory.iterdir()
            if path.suffix.lower() in picture_suffixes()
            and not path.name.startswith("._")
            and path.is_file()
        ]
    except OSError as error:
        raise AnnotationError(
            f"the folder {error.filename or folder} cannot be searched for pictures: "
            f"{error.strerror}; allow reading it, or move it elsewhere"
        ) from error
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _directories(folder: Path) -> Iterator[Path]:
    """A folder and all within, each once: links are followed last, so real paths win."""
    seen: set[tuple[int, int]] = set()
    waiting, links = [folder], list[Path]()
    while waiting or links:
        directory = waiting.pop() if waiting else links.pop(0)
        state = directory.stat()
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        yield directory
        for path in sorted(directory.iterdir()):
            if path.name.lower() not in _NOT_PICTURES and path.is_dir():
                (links if path.is_symlink() else waiting).append(path)


# Pictures by the name that an annotation file has for them


def resolve(folder: Path, file_name: str) -> Path | None:
    r"""The file that an annotation file means by a name, None where there is none.

    The name as it stands is tried first. Then ``\`` separates folders, a leading ``./`` counts for
    nothing, accents are the same composed and decomposed, and the suffix may differ in case or, in
    a name without one, be that of any picture; only where a single file fits.

    Args:
        folder: what the name is relative to.
        file_name: as the annotation file has it. An absolute one must be within the folder.

    Raises:
        AnnotationError: if the name leads out of the folder.
    """
    if not file_name or "\0" in file_name:
        return None
    if "\\" in file_name and not _leads_out(folder, file_name) and _is_file(folder / file_name):
        return folder / file_name  # a file may have a backslash in its name
    relative = _relative(folder, file_name)
    if _is_file(folder / relative):
        return folder / relative
    *parents, last = relative.split("/")
    directory = folder
    for name in parents:
        same = [n for n in _names(directory) if _composed(n) == _composed(name)]
        if name not in same and len(same) != 1:
            return None
        directory /= name if name in same else same[0]
    fitting = [name for name in _names(directory) if _fits(name, last)]
    path = directory / fitting[0] if len(fitting) == 1 else None
    return path if path is not None and _is_file(path) else None


def _leads_out(folder: Path, file_name: str) -> bool:
    try:
        _relative(folder, file_name)
    except AnnotationError:
        return True
    return False


def _relative(folder: Path, file_name: str) -> str:
    """The name with ``/`` between its parts and without ``.`` and ``..``."""
    name = posixpath.normpath(file_name.replace("\\", "/"))
    inside = posixpath.normpath(folder.absolute().as_posix()) + "/"
    name = name.removeprefix(inside)
    out = name.startswith("/") or name.split("/")[0] == ".."
    if out or Path(name).drive or re.match(r"[a-zA-Z]:/", name):
        raise AnnotationError(
            f"the data set's file name {file_name!r} leads out of its folder {folder}; wanted a "
            "name relative to that folder (--images says which it is)"
        )
    return name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for this disk, or no name here
        return False


def _names(directory: Path) -> tuple[str, ...]:
    try:
        return _listing(directory, directory.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ()


@lru_cache(maxsize=64)
def _listing(directory: Path, changed_at: int) -> tuple[str, ...]:
    return tuple(path.name for path in directory.iterdir())


def _fits(name: str, wanted: str) -> bool:
    here, there = Path(_composed(name)), Path(_composed(wanted))
    if there.suffix.lower() in picture_suffixes():
        return (here.stem, here.suffix.lower()) == (there.stem, there.suffix.lower())
    return here.name == there.name or (
        here.stem == there.name and here.suffix.lower() in picture_suffixes()
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


# Addresses


def as_source(text: str) -> str | Path:
    """What a person typed for a picture: an address stays as it is, all else is a path."""
    return text if is_address(text) else Path(text)


def file_name(source: str | PathLike[str]) -> str:
    """Last part of a picture's path or address, accents composed: what files are matched by."""
    return _composed(_parts(str(source))[-1])


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


# Names of folders of results


def folder_name(source: str | PathLike[str]) -> str:
    """What a picture's folder of results is called: its file name without suffix, made safe."""
    return _safe(_stem(_parts(str(source))[-1]))


def folder_names(sources: Sequence[str]) -> list[str]:
    """A folder name for each of several pictures, no two alike, whatever their order.

    It is ``folder_name`` where no other has the same. Those that share it are told apart by their
    suffix and as many of the folders above as it takes (``a__x.png``, ``b__x.png``), and last by a
    hash of the whole path. Case and the composition of accents do not tell two apart, for disks of
    Windows and macOS do not.

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
    """Places of the names that another has too."""
    places = defaultdict(list)
    for place, name in enumerate(names):
        places[_composed(_composed(name).casefold())].append(place)
    return [place for group in places.values() if len(group) > 1 for place in group]


def _stem(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return stem if stem and f".{suffix.lower()}" in picture_suffixes() else name


def _safe(name: str) -> str:
    """A name that every disk can have, and that leads nowhere; with a hash where it is cut."""
    safe = name.encode(errors="replace").decode()  # bytes that are no UTF-8 become "?"
    safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", safe).rstrip(". ").lstrip(" ")
    if safe.split(".")[0].lower() in _RESERVED:
        safe = f"_{safe}"
    if len(safe.encode()) > _MAX_NAME_BYTES:
        digest = hashlib.sha256(safe.encode()).hexdigest()[:8]
        cut = safe.encode()[: _MAX_NAME_BYTES - 9].decode(errors="ignore").rstrip(". ")
        safe = f"{cut}-{digest}"
    return safe or _NAMELESS
