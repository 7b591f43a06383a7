"""Detectors by name, path or object.

Built-in detectors and plug-ins enter the same way, by the entry-point group
``chiaroscuro.detectors``: each entry names a :class:`DetectorSource`. A framework is imported only
when a detector of it is loaded.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from torch import nn

from chiaroscuro.core.errors import (
    CheckpointError,
    InputError,
    MissingDependencyError,
    UnknownNameError,
)
from chiaroscuro.detectors.adapters.function import FunctionDetector, ModuleDetector
from chiaroscuro.detectors.checkpoint import read_about
from chiaroscuro.detectors.foreign import refusal, unknown_file
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.detectors.source import DetectorSource

GROUP = "chiaroscuro.detectors"


def sources() -> dict[str, DetectorSource]:
    """Every installed source by name. A plug-in that cannot be imported is listed as missing."""
    return {name: _source(entry) for name, entry in _entries().items()}


def _entries() -> dict[str, EntryPoint]:
    """Entry points by name; ours are not overridden."""
    found = sorted(entry_points(group=GROUP), key=lambda e: e.value.startswith("chiaroscuro."))
    return {entry.name: entry for entry in found}


def _source(entry: EntryPoint) -> DetectorSource:
    try:
        loaded: DetectorSource = entry.load()
    except Exception as error:  # a plug-in may fail in any way; reported when it is loaded
        reason = f"the plug-in {entry.value} cannot be imported: {type(error).__name__}: {error}"

        def refuse(*_: Any, **__: Any) -> Detector:
            raise MissingDependencyError(f"detector {entry.name}: {reason}")

        return DetectorSource(
            name=entry.name, summary="a plug-in", load=refuse, missing=lambda: reason
        )
    return loaded


def load_detector(spec: Any, **options: Any) -> Detector:
    """A detector from a name, a path, a ``module:function``, an ``nn.Module`` or a function.

    Args:
        spec: ``"centerface"``, ``"retinaface"``, ``"torchvision/<builder>"``, a checkpoint or ONNX
            path, ``"module:function"``, a torch module, a plain function (see
            :class:`FunctionDetector`), or a detector, which is returned unchanged.
        options: ``device`` (``"auto"`` by default), ``min_score``, and the source's own.

    Raises:
        UnknownNameError: if nothing of that name exists.
        MissingDependencyError: if its package is not installed.
        CheckpointError: if its weights cannot be loaded.
    """
    if isinstance(spec, Path):
        spec = str(spec)
    if isinstance(spec, str):
        return _load_by_text(spec, options)
    if isinstance(spec, nn.Module):
        for source in sources().values():
            if source.wraps(spec):
                return _load(source, spec, options)
    if isinstance(spec, Detector):
        _refuse(options, "a detector that exists already")
        return spec
    if isinstance(spec, nn.Module):
        return ModuleDetector(spec, **options)
    if isinstance(spec, type):
        raise InputError(
            f"detector: wanted a function or an object, got the class {spec.__name__}; make an "
            f"object of it, {spec.__name__}(...), and pass or name that"
        )
    if callable(spec):
        return FunctionDetector(spec, **options)
    raise InputError(
        "detector: wanted a name, a path, module:function, a torch module or a function, "
        f"got {type(spec).__name__}"
    )


def _load_by_text(spec: str, options: dict[str, Any]) -> Detector:
    entries, path = _entries(), Path(spec)
    name, _, rest = spec.partition("/")
    if name in entries and not path.is_file():
        return _load(_source(entries[name]), rest, options)
    known = sources()
    stated = read_about(path).get("detector")
    if stated in known:
        return _load(known[stated], spec, options)
    if spec and (problem := refusal(path)):
        raise CheckpointError(problem)
    for source in known.values():
        if path.suffix and path.suffix.lower() in source.suffixes:
            if not path.is_file():
                raise CheckpointError(f"{spec} does not exist; wanted a detector's file")
            return _load(source, spec, options)
    if path.is_file():
        raise CheckpointError(unknown_file(path))
    if ":" in spec:
        return load_detector(_import_object(spec), **options)
    raise UnknownNameError(
        "detector",
        spec,
        [e for s in known.values() for e in (s.examples or (s.name,))]
        + ["a path", "module:function"],
    )


def _load(source: DetectorSource, rest: Any, options: dict[str, Any]) -> Detector:
    """The source's detector; an unknown option is named in the error."""
    try:
        return source.load(rest, **options)
    except TypeError as error:
        refused = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if not refused or refused[1] not in options:
            raise
        parameters = inspect.signature(source.load).parameters.values()
        known = {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        known |= {"device", "min_score"}
        raise UnknownNameError(f"option of {source.name}", refused[1], sorted(known)) from error


def _import_object(spec: str) -> Any:
    module_name, _, attribute = spec.rpartition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as in `python -m`: scripts of the current folder are found
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise InputError(
                f"detector {spec!r}: there is no module {error.name!r} here or installed"
            ) from error
        raise
    except AttributeError as error:
        raise InputError(f"detector {spec!r}: module {module_name} has no {attribute!r}") from error
    return found


def _refuse(options: dict[str, Any], what: str) -> None:
    defaults = {"device": "auto"}
    given = [n for n, value in options.items() if value is not None and value != defaults.get(n)]
    if given:
        raise InputError(f"{what} takes no {', '.join(given)}")


def describe_sources() -> Sequence[tuple[DetectorSource, str | None]]:
    """Every source, and why it is not usable now, or None."""
    return [(source, source.missing()) for source in sources().values()]
