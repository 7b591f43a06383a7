"""Files that others can open: ``.npz`` and ``.json``, whole or absent, never pickled.

Paths are local, or addresses that fsspec knows, such as ``s3://bucket/run``: see ``as_path``.
"""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from upath import UPath

from chiaroscuro.errors import BundleError

AnyPath = Path | UPath


def as_path(place: "str | AnyPath") -> AnyPath:
    """A local path, or for ``scheme://...`` the place that fsspec knows by that address."""
    if isinstance(place, str) and "://" in place:
        return UPath(place)
    return Path(place) if isinstance(place, str) else place


def matching(folder: AnyPath, pattern: str) -> list[AnyPath]:
    """What matches a glob pattern in a folder, by path."""
    found: list[AnyPath] = list(folder.glob(pattern))
    return sorted(found, key=str)


def write_atomically(path: AnyPath, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it there in one step.

    Elsewhere than on this machine's disks, it is sent whole: object stores show it whole or not.

    Raises:
        BundleError: if it cannot be written: a full disk, a folder without write permission.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(path, Path):
            content = io.BytesIO()
            write(content)
            path.write_bytes(content.getvalue())
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                write(stream)
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error}") from error


def write_arrays(
    path: AnyPath, arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = True
) -> None:
    """Write named arrays as an ``.npz``.

    Args:
        path: the file.
        arrays: by name.
        compressed: maps of float32 hardly shrink, and packing them takes longer than fitting them.
    """
    save = np.savez_compressed if compressed else np.savez
    write_atomically(path, lambda stream: save(stream, **arrays))  # type: ignore[arg-type]


def write_json(path: AnyPath, value: Mapping[str, Any]) -> None:
    """Write JSON values, indented, UTF-8; file names of other bytes are read back as they are."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda stream: stream.write(printable(text).encode()))


def printable(text: str) -> str:
    r"""The text with ``\udce9`` spelt out for what UTF-8 cannot say.

    Such parts come from file names of Linux that are no UTF-8. In JSON the spelling means the same.
    """
    return text.encode(errors="backslashreplace").decode()


def read_arrays(path: AnyPath) -> dict[str, npt.NDArray[Any]]:
    """Read every array of an ``.npz``.

    Raises:
        BundleError: if the file is absent, damaged, or holds Python objects.
    """
    with _opened(path) as archive:
        return {name: archive[name] for name in archive.files}


def read_array(path: AnyPath, name: str) -> npt.NDArray[Any]:
    """Read one array of an ``.npz``; the others are not unpacked.

    Raises:
        BundleError: as ``read_arrays``, or if there is none of that name.
    """
    with _opened(path) as archive:
        if name not in archive.files:
            raise BundleError(f"{path} holds no {name}")
        array: npt.NDArray[Any] = archive[name]
        return array


@contextmanager
def _opened(path: AnyPath) -> Iterator[Any]:
    try:
        source: Any = path if isinstance(path, Path) else io.BytesIO(path.read_bytes())
        with np.load(source, allow_pickle=False) as archive:
            yield archive
    except FileNotFoundError as error:
        raise BundleError(f"{path} does not exist") from error
    except BundleError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise BundleError(f"{path} is no readable .npz of plain arrays: {error}") from error


def read_json(path: AnyPath) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BundleError: if the file is absent or is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "; without it a result folder is incomplete" if path.name == "manifest.json" else ""
        raise BundleError(f"{path} does not exist{hint}") from error
    except (ValueError, OSError) as error:
        raise BundleError(f"{path} is no readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path}: wanted a JSON object, got {type(value).__name__}")
    return value
