"""Torch networks: where they run, and how they are left as they were."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from chiaroscuro.core.errors import InputError

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """A torch network in evaluation mode, without gradients, for one thread at a time.

    Afterwards every module of it is in the mode it was in. (No ``inference_mode``: a network that
    keeps tensors from one call to the next could not be trained any more.)
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
    """``"auto"`` is CUDA where available, else the CPU.

    Raises:
        InputError: on a device that does not exist here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device: wanted auto, cpu, cuda or cuda:N, got {device!r}") from error
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: {device!r} was wanted, but torch sees no CUDA device here")
    return picked
