"""What a kind of detector declares of itself, to be found by name."""

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from chiaroscuro.detectors.protocol import Detector


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSource:
    """Where detectors of one kind come from: an entry point of the group names one of these.

    Attributes:
        name: the word users type; ``name/rest`` reaches the same source with ``rest``.
        summary: one line for ``chiaroscuro detectors``.
        load: ``load(rest, **options) -> Detector``; ``rest`` is what follows the slash, or a path.
            Options are ``device``, ``min_score`` and the source's own.
        missing: why it is not usable now and the command that fixes it, or None.
        examples: names to type.
        suffixes: file suffixes that mean this source, such as ``.onnx``.
        wraps: whether a given ``nn.Module`` belongs to this source; ``load`` then gets the module
            in place of ``rest``.
    """

    name: str
    summary: str
    load: Callable[..., Detector]
    missing: Callable[[], str | None] = lambda: None
    examples: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    wraps: Callable[[nn.Module], bool] = lambda _: False


def needs(package: str, remedy: str) -> Callable[[], str | None]:
    """A ``missing`` that returns the remedy where a package is not installed; imports nothing."""
    return lambda: remedy if importlib.util.find_spec(package) is None else None


def is_of_package(module: nn.Module, package: str, kind: str) -> bool:
    """Whether a module is of a class of that package whose name matches; imports nothing."""
    return any(
        base.__module__.startswith(f"{package}.") and re.fullmatch(kind, base.__name__)
        for base in type(module).__mro__
    )
