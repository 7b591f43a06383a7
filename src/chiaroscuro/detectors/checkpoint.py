"""Weights from files, without running code in a file.

``.safetensors`` files hold numbers only. ``.pt`` and ``.pth`` files are pickles, and a pickle can
run code when it is opened; they are read by torch's weights-only reader, which refuses everything
but tensors and plain containers.

Our checkpoints are ``.safetensors`` files with two more entries in their metadata: ``chiaroscuro``,
a JSON object that describes the weights (``builder``, ``class_names`` and so on), so that the file
alone is enough to build the detector again; and ``chiaroscuro_sha256``, which reveals damage.
"""

import argparse
import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from chiaroscuro.core.checks import many, mapping, number, record, text, whole
from chiaroscuro.core.errors import CheckpointError, InputError
from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.store import bundle

_ENTRY, _DIGEST = "chiaroscuro", "chiaroscuro_sha256"
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_REMEDY = (
    "where it was trained, save the weights alone: torch.save(model.state_dict(), 'weights.pth') "
    "or safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
_SIDE = whole(1, 100_000)
_ABOUT = record(
    {},
    {
        "detector": text,
        "builder": text,
        "class_names": many(text),
        "epsilon": mapping(number(0, 1)),
        "min_size": _SIDE,
        "max_size": _SIDE,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a file of weights holds."""

    state_dict: dict[str, Tensor]  # on the CPU
    about: dict[str, Any] = field(default_factory=dict)  # of ``write_checkpoint``


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named_by_content(path: Path | str) -> str:
    """Name in results of a detector from a file: ``faces.safetensors@5e884898``.

    The file's name and eight digits of its SHA-256. Weights trained further under the same name are
    another detector, with which the first one's work cannot be resumed. A folder is named by all
    files in it.
    """
    path = Path(path)
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    try:
        digests = [_sha256(file) for file in inside or [path]]
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    digest = hashlib.sha256("".join(digests).encode()).hexdigest() if inside else digests[0]
    return f"{path.name}@{digest[:8]}"


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a file of weights.

    A state dict may be wrapped as ``{"state_dict": ...}``, ``{"model_state_dict": ...}`` or
    ``{"model": ...}``. Prefixes ``module.``, ``_orig_mod.`` and ``model.`` that all its names share
    are removed. Any suffix but ``.safetensors`` means a file that ``torch.save`` wrote.

    A file that holds Python objects that could run code (a hostile file, or a whole model that was
    pickled) is a CheckpointError, as is one that is absent, damaged or without a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; wanted a file of weights")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; wanted a file of weights: copy it again")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    return Checkpoint(state_dict=_state_dict(path, _read_pickle(path)))


def read_about(path: Path) -> dict[str, Any]:
    """The description in one of our checkpoints, without its weights; empty for other files."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return _about(path, file.metadata() or {})
    except (SafetensorError, OSError, CheckpointError):
        return {}  # reading the weights raises the error


def write_checkpoint(
    path: Path | str, weights: Mapping[str, Tensor], about: Mapping[str, Any]
) -> None:
    """Write one of our checkpoints, completely or not at all."""
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError(f"checkpoint: wanted a path that ends in .safetensors, got {path}")
    tensors = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in weights.items()
    }
    entry = json.dumps(about, ensure_ascii=False, allow_nan=False)
    content = save(tensors, metadata={"format": "pt", _ENTRY: entry, _DIGEST: _digest(tensors)})
    bundle.write_atomically(path, lambda stream: stream.write(content))


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # damage surfaces as almost any error; all of them end here
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({error}); copy or save it again"
        ) from error
    if metadata.get(_DIGEST, "") not in ("", _digest(tensors)):
        raise CheckpointError(
            f"{path} is damaged: its weights are not those that were saved; copy or save it again"
        )
    return Checkpoint(state_dict=_state_dict(path, tensors), about=_about(path, metadata))


def _about(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The description in one of our checkpoints; empty for other files."""
    try:
        about: dict[str, Any] = _ABOUT("", bundle.parse_json(metadata.get(_ENTRY, "{}")))
    except InputError as error:
        raise CheckpointError(
            f"{path}: its metadata entry {_ENTRY!r} is unusable: {error}; save the weights again"
        ) from error
    return about


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors, their names, types and shapes, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_pickle(path: Path) -> Any:
    # torchvision's training scripts store their command line in the file: a harmless record
    try:
        with (
            PROCESS_WIDE,
            warnings.catch_warnings(),
            torch.serialization.safe_globals([argparse.Namespace]),
        ):
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            warnings.filterwarnings("ignore", message="'torch.load' received a zip file")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage surfaces as almost any error; all of them end here
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            kind = refused[1]
            hint = ""
            if kind.startswith("ultralytics."):
                hint = f"; an Ultralytics model is loaded as 'ultralytics/{path}'"
            raise CheckpointError(
                f"{path} was not opened: wanted tensors only, but it holds the Python object "
                f"{kind}, and such a file (a whole pickled model is one) can run any code when "
                f"opened; {_REMEDY}{hint}"
            ) from error
        reason = str(error.__context__ or error).split(". ")[0].strip() or type(error).__name__
        raise CheckpointError(
            f"{path} could not be read: it is damaged, or was not written by torch.save as a state "
            f"dict ({type(error).__name__}: {reason}); copy it again, or {_REMEDY}"
        ) from error


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    """The state dict of a file's content, without wrappers and common prefixes."""
    if isinstance(content, Mapping):
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        content = inner[0] if inner else content
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: wanted a state dict, got {_describe(content)}; {_REMEDY}")
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        raise CheckpointError(
            f"{path}: wanted a state dict, tensors by name, got {_describe(content)}; {_REMEDY}"
        )
    tensors = dict(content)
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) for k in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        shown = ", ".join(f"{k!r}: {type(v).__name__}" for k, v in list(content.items())[:3])
        return f"{{{shown}{', ...' if len(content) > 3 else ''}}}"
    return type(content).__name__
