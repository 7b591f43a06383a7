"""Torchvision detectors from a builder's name, a file of weights, or a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from chiaroscuro.core.errors import InputError
from chiaroscuro.detectors.adapters.torchvision.builders import (
    build,
    check_builder,
    download,
    published_weights,
    replace_head,
)
from chiaroscuro.detectors.adapters.torchvision.checkpoints import from_file
from chiaroscuro.detectors.adapters.torchvision.detector import TorchvisionDetector
from chiaroscuro.detectors.adapters.torchvision.fitting import without_background
from chiaroscuro.detectors.checkpoint import named_by_content
from chiaroscuro.detectors.commons.networks import pick_device, refuse_move

SUFFIXES = (".pt", ".pth", ".safetensors")


class _Loaded(NamedTuple):
    """A model, its name in results, its builder, and the detector options of its weights."""

    model: nn.Module
    name: str
    builder: str
    stated: dict[str, Any]


def load(
    rest: str | nn.Module,
    *,
    weights: str | Path | None = "DEFAULT",
    builder: str | None = None,
    class_names: Sequence[str] | None = None,
    device: str | torch.device = "auto",
    min_score: float | None = None,
    autocast: str | None = None,
    channels_last: bool = False,
    min_size: int | None = None,
    max_size: int | None = None,
    new_head: bool = False,
) -> TorchvisionDetector:
    """A torchvision detector from a builder's name, a file of weights, or a model.

    Args:
        rest: a builder of ``torchvision.models.detection``, a path to weights, or a model.
        weights: for a builder: ``"DEFAULT"`` or another name of torchvision's weights (downloaded
            once), a path, or None for a random network.
        builder: for a path: the builder that the weights are of, where the file does not state it.
        class_names: see :class:`TorchvisionDetector`; a random network has as many classes.
        device: ``"auto"`` is CUDA where available, else the CPU; a given model stays where it is.
        min_score: lowest score to report; 0.01 by default.
        autocast: see :class:`TorchvisionDetector`.
        channels_last: keep the weights in that memory format, faster on some GPUs.
        min_size: see :class:`TorchvisionDetector`.
        max_size: see :class:`TorchvisionDetector`.
        new_head: to train a network for other classes than its weights are of: the layers whose
            size depends on the number of classes start at random, for ``class_names`` or one face.

    Raises:
        UnknownNameError: if torchvision has no such builder.
        CheckpointError: if weights cannot be downloaded or read, or are of another network.
        InputError: on options that contradict one another.
    """
    options: dict[str, Any] = {
        "class_names": class_names,
        "min_score": min_score,
        "autocast": autocast,
        "min_size": min_size,
        "max_size": max_size,
    }
    if isinstance(rest, nn.Module):
        if weights != "DEFAULT" or builder is not None or channels_last or new_head:
            raise InputError("a given model takes no weights, builder, channels_last or new_head")
        refuse_move(rest, device)
        return TorchvisionDetector(rest, **options)
    target = pick_device(device)
    is_file = Path(rest).suffix.lower() in SUFFIXES
    loaded = (_from_path if is_file else _from_builder)(rest, weights, builder, class_names)
    if new_head:
        loaded = _with_new_head(loaded, class_names)
    network = loaded.model.eval().to(target)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    given = loaded.stated | {key: value for key, value in options.items() if value is not None}
    return TorchvisionDetector(network, name=loaded.name, builder=loaded.builder, **given)


def _from_path(
    path: str, weights: str | Path | None, builder: str | None, _: Sequence[str] | None
) -> _Loaded:
    if weights != "DEFAULT":
        raise InputError(f"weights: wanted none beside the file {path}, got {weights!r}")
    model, stated, builder = from_file(Path(path), builder)
    return _Loaded(model, named_by_content(path), builder, stated)


def _from_builder(
    name: str,
    weights: str | Path | None,
    builder: str | None,
    class_names: Sequence[str] | None,
) -> _Loaded:
    if builder not in (None, name):
        raise InputError(f"builder: wanted {name!r} or nothing, got {builder!r}")
    called = f"torchvision/{check_builder(name)}"
    if weights is None:
        names = without_background(class_names or ("face",))
        model = build(name, len(names) + 1)
        return _Loaded(model, f"{called} (random weights)", name, {"class_names": names})
    published = published_weights(name)
    if str(weights) in published:
        names = published[str(weights)].meta["categories"][1:]
        return _Loaded(download(name, str(weights)), called, name, {"class_names": names})
    model, stated, _ = from_file(Path(weights), name)
    return _Loaded(model, f"{called} ({named_by_content(weights)})", name, stated)


def _with_new_head(loaded: _Loaded, class_names: Sequence[str] | None) -> _Loaded:
    names = without_background(class_names or ("face",))
    replace_head(loaded.model, build(loaded.builder, len(names) + 1))
    return loaded._replace(
        name=f"{loaded.name} (new head)", stated=loaded.stated | {"class_names": names}
    )
