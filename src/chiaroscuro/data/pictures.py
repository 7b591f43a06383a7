r"""The pictures of a folder: all of them, and those that an annotation file names.

File names come from other machines: with ``\`` between folders, with accents composed (NFC) or not
(NFD), with suffixes in capitals, with bytes that are not UTF-8.
"""

import posixpath
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.paths import composed, picture_suffixes

# Folders that systems put beside pictures: previews, resource forks, deleted files.
_NOT_PICTURES = frozenset(
    (
        *("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"),
        ".ipynb_checkpoints",
    )
)


def find_pictures(folder: Path) -> list[Path]:
    """The picture files in a folder and the folders in it, by path.

    Files that macOS and Windows put beside pictures (``._a.jpg``, ``__MACOSX``, ``Thumbs.db``) are
    skipped. Links to folders are followed, and every folder is searched once, so that a link to a
    folder above ends there.

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


def resolve(folder: Path, file_name: str) -> Path | None:
    r"""The file that an annotation file means by a name, None where there is none.

    The name as it is written is tried first. Then ``\`` separates folders, a leading ``./`` is
    ignored, accents are the same composed and decomposed, and the suffix may differ in case or, in
    a name without one, be that of any picture; only where a single file fits.

    Args:
        folder: what the name is relative to.
        file_name: as the annotation file has it. An absolute one must be within the folder.

    Raises:
        AnnotationError: if the name leads out of the folder.
    """
    if not file_name or "\0" in file_name:
        return None
    written = _relative(folder, file_name)
    relative = _relative(folder, file_name.replace("\\", "/"))
    for name in (written, relative):  # a file may have a backslash in its name
        if _is_file(folder / name):
            return folder / name
    *parents, last = relative.split("/")
    directory = folder
    for name in parents:
        same = [n for n in _names(directory) if composed(n) == composed(name)]
        if name not in same and len(same) != 1:
            return None
        directory /= name if name in same else same[0]
    fitting = [name for name in _names(directory) if _fits(name, last)]
    path = directory / fitting[0] if len(fitting) == 1 else None
    return path if path is not None and _is_file(path) else None


def _relative(folder: Path, file_name: str) -> str:
    """The name without ``.`` and ``..``, and without the folder itself."""
    inside = posixpath.normpath(folder.absolute().as_posix()) + "/"
    name = posixpath.normpath(file_name).removeprefix(inside)
    out = name.startswith("/") or name.split("/")[0] == ".."
    if out or Path(name).drive or re.match(r"[a-zA-Z]:/", name):
        raise AnnotationError(
            f"the data set's file name {file_name!r} leads out of its folder {folder}; wanted a "
            "name relative to that folder (set the folder with --images)"
        )
    return name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for this disk, or not a valid name
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
    here, there = Path(composed(name)), Path(composed(wanted))
    if there.suffix.lower() in picture_suffixes():
        return (here.stem, here.suffix.lower()) == (there.stem, there.suffix.lower())
    named = here.stem == there.name and here.suffix.lower() in picture_suffixes()
    return named or here.name == there.name
