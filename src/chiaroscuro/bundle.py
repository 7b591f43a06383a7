"""Files that others can open: ``.npz`` and ``.json``, whole or absent, never pickled."""

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

from chiaroscuro.errors import BundleError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it there in one step.

    Raises:
        BundleError: if it cannot be written: a full disk, a folder without write permission.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = True
) -> None:
    """Write named arrays as an ``.npz``.

    Args:
        path: the file.
        arrays: by name.
        compressed: maps of float32 hardly shrink, and packing them takes longer than fitting them.
    """
    save = np.savez_compressed if compressed else np.savez
    write_atomically(path, lambda stream: save(stream, **arrays))  # type: ignore[arg-type]


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON values, indented, UTF-8."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda stream: stream.write(text.encode()))


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read every array of an ``.npz``.

    Raises:
        BundleError: if the file is absent, damaged, or holds Python objects.
    """
    with _opened(path) as archive:
        return {name: archive[name] for name in archive.files}


def read_array(path: Path, name: str) -> npt.NDArray[Any]:
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
def _opened(path: Path) -> Iterator[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except FileNotFoundError as error:
        raise BundleError(f"{path} does not exist") from error
    except BundleError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise BundleError(f"{path} is no readable .npz of plain arrays: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
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
