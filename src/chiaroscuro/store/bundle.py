"""Files that others can open: ``.npz`` and ``.json``, whole or absent, never pickled.

Paths are local, or addresses that fsspec knows, such as ``s3://bucket/run``: see ``as_path``.
"""

import io
import json
import math
import operator
import os
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
from upath import UPath

from chiaroscuro.core.checks import shown
from chiaroscuro.core.declared import plain, read
from chiaroscuro.core.errors import BundleError, InputError
from chiaroscuro.core.text import printable
from chiaroscuro.store.arrays import Array

T = TypeVar("T")
_JSON_BYTES = 512 * 2**20
_UNPACKED_BYTES, _UNPACKED_TIMES = 512 * 2**20, 100  # an array above both is a zip bomb

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
    A full disk or a folder without write permission is a BundleError.
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

    Maps of float32 are best not compressed: they hardly shrink, and it takes longer than fitting.
    """
    save = np.savez_compressed if compressed else np.savez
    write_atomically(path, lambda stream: save(stream, **arrays))  # type: ignore[arg-type]


def write_record(path: AnyPath, value: Any) -> None:
    """Write a declared class as JSON."""
    write_json(path, plain(value))


def read_record(path: AnyPath, kind: type[T], *, remedy: str = "") -> T:
    """Read what :func:`write_record` wrote; a BundleError ends with the remedy."""
    value = read_json(path, remedy=remedy)
    with as_bundle_error(path, remedy):
        return read(kind, value)


def write_json(path: AnyPath, value: Mapping[str, Any]) -> None:
    """Write JSON values, indented, UTF-8; file names of other bytes are read back as they are."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, printable(text))


def write_text(path: AnyPath, text: str) -> None:
    """Write text as UTF-8."""
    write_atomically(path, lambda stream: stream.write(text.encode()))


def read_arrays(
    path: AnyPath,
    table: Mapping[str, Array],
    *,
    only: Collection[str] | None = None,
    remedy: str = "",
) -> dict[str, npt.NDArray[Any]]:
    """Read an ``.npz`` whose arrays a table describes, or ``only`` some of them.

    Names, dtypes, shapes and sizes are read from the headers and checked before any array is
    unpacked, and values afterwards.

    Raises:
        BundleError: if the file is absent, damaged, too large to be what it says, holds Python
            objects, or other arrays than those of the table; it ends with the remedy.
    """
    content = _checked_bytes(path)
    with as_bundle_error(path, remedy):
        try:
            with zipfile.ZipFile(content) as archive:
                return _unpacked(archive, path.stat().st_size, table, only)
        except InputError:
            raise
        except MemoryError as error:
            raise InputError("its arrays do not fit in memory") from error
        except Exception as error:  # damage surfaces as almost any error; all of them end here
            raise InputError(f"no readable .npz of plain arrays ({error!r})") from error


def read_bytes(path: AnyPath) -> bytes:
    """All of a file; a BundleError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error


def _unpacked(
    archive: zipfile.ZipFile,
    size: int,
    table: Mapping[str, Array],
    only: Collection[str] | None,
) -> dict[str, npt.NDArray[Any]]:
    members = _members(archive, table)
    lengths: dict[str, int] = {}
    for name, member in members.items():
        with archive.open(member) as stream:
            shape, dtype = _header(stream)
            if dtype.hasobject:
                raise InputError(f"{name}: wanted plain arrays, got Python objects")
            table[name].check_header(name, dtype, shape, lengths)
            wanted = stream.tell() + math.prod(shape) * dtype.itemsize
        if member.file_size != wanted:
            raise InputError(
                f"{name}: its header says {wanted} bytes, the archive {member.file_size}"
            )
        if member.compress_size > size:
            raise InputError(f"{name}: its {member.compress_size} bytes are more than the file has")
        if member.file_size > max(_UNPACKED_BYTES, _UNPACKED_TIMES * member.compress_size):
            raise InputError(
                f"{name}: {member.compress_size} bytes that unpack to {member.file_size} are "
                "refused as a zip bomb"
            )
    arrays = {}
    for name in members if only is None else [name for name in members if name in only]:
        with archive.open(members[name]) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
        table[name].check_values(name, array)
        arrays[name] = np.ascontiguousarray(array) if array.ndim else array
    return arrays


def _members(archive: zipfile.ZipFile, table: Mapping[str, Array]) -> dict[str, zipfile.ZipInfo]:
    """What the archive holds, by name: all of the table that is needed, and nothing else."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name not in table or name == member.filename or name in members:
            why = "twice" if name in members else f"which is none of {', '.join(table)}"
            raise InputError(f"holds {shown(member.filename)}, {why}")
        members[name] = member
    absent = [name for name, array in table.items() if array.needed and name not in members]
    if absent:
        raise InputError(f"holds no {', '.join(absent)}")
    return members


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array; the stream is at its first value afterwards."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"no readable .npz of plain arrays: version {version} of .npy")
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return tuple(map(operator.index, shape)), dtype


def read_json(path: AnyPath, *, remedy: str = "") -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BundleError: if the file is absent or is no JSON object; it ends with the remedy.
    """
    content = _checked_bytes(path)
    with as_bundle_error(path, remedy):
        try:
            whole = (
                content.read_text(encoding="utf-8") if isinstance(content, Path) else content.read()
            )
        except (ValueError, OSError) as error:
            raise InputError(f"no readable JSON: {error}") from error
        value = parse_json(whole)
        if not isinstance(value, dict):
            raise InputError(f"wanted a JSON object, got {type(value).__name__}")
        return value


def parse_json(whole: str | bytes) -> Any:
    """Read strict JSON: no key twice in an object, no NaN, no infinity, no number too large."""
    try:
        return json.loads(
            whole, object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite
        )
    except InputError:
        raise
    except RecursionError as error:
        raise InputError("no readable JSON: it is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"no readable JSON: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i]))
        raise InputError(f"no readable JSON: key {shown(twice)} is there twice")
    return made


def _no_constant(word: str) -> Any:
    raise InputError(f"no readable JSON: wanted numbers, got {word}")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InputError(f"no readable JSON: {shown(digits)} is beyond the range of a number")
    return value


@contextmanager
def as_bundle_error(path: AnyPath, remedy: str = "") -> Iterator[None]:
    """Turn what is wrong with a file's content into a ``BundleError`` that names the file."""
    try:
        yield
    except BundleError:
        raise
    except InputError as error:
        raise BundleError(f"{path}: {error}" + (f"; {remedy}" if remedy else "")) from error


def _checked_bytes(path: AnyPath) -> "Path | io.BytesIO":
    """A file that is there and of a size to be read: its path, or its content from elsewhere."""
    try:
        if not path.is_file():
            hint = (
                "; without it a result folder is incomplete" if path.name == "manifest.json" else ""
            )
            raise BundleError(f"{path} does not exist{hint}")
        if path.suffix == ".json" and path.stat().st_size > _JSON_BYTES:
            raise BundleError(f"{path} is larger than any JSON file of chiaroscuro")
        return path if isinstance(path, Path) else io.BytesIO(path.read_bytes())
    except (OSError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path} cannot be read: {error}") from error
