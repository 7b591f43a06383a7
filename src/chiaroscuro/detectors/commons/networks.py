"""Torch networks: the device they run on, and their state after a call."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from chiaroscuro.core.errors import InputError

_ONE_AT_A_TIME = threading.Lock()

_OVER_ALL_PLACES = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.GroupNorm,
    nn.InstanceNorm2d,
    nn.MultiheadAttention,
)
_ATTENTION = ("attention", "attn")


def reads_all_places(network: nn.Module) -> bool:
    """Whether a layer's output at one place depends on the whole picture.

    Layers that pool over all places, normalise by their statistics, or attend to them. Attention
    that is not torch's own is recognised by its class name.
    """
    return any(
        isinstance(module, _OVER_ALL_PLACES)
        or any(word in type(module).__name__.lower() for word in _ATTENTION)
        for module in network.modules()
    )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """A torch network in evaluation mode, without gradients, for one thread at a time.

    Afterwards every module is in its earlier mode. (No ``inference_mode``: a network that keeps
    tensors from one call to the next could no longer be trained.)
    """
    with _ONE_AT_A_TIME, torch.no_grad():
        training = [module for module in network.modules() if module.training]
        network.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True


def pick_device(device: str | torch.device) -> torch.device:
    """``"auto"`` is CUDA where available, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    picked = _named(device)
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: {device!r} was wanted, but torch finds no CUDA device here")
    return picked


def device_of(network: nn.Module) -> torch.device:
    """Where the network's parameters are; the CPU where it has none."""
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def refuse_move(network: nn.Module, device: str | torch.device) -> None:
    """Check that an option ``device`` agrees with where the caller's own network is."""
    where = device_of(network)
    wanted = where if device == "auto" else _named(device)
    if wanted.type != where.type or wanted.index not in (None, where.index):
        raise InputError(
            f"device: the given network is on {where}; wanted device='auto', got {str(device)!r}; "
            f"move it first with .to({str(device)!r})"
        )


def _named(device: str | torch.device) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device: wanted auto, cpu, cuda or cuda:N, got {device!r}") from error
