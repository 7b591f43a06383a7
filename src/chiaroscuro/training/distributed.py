"""Training with several processes, as started by ``torchrun``.

Every process makes the crops of a step, which follow from the seed and the step, and passes its
share of them through the network. Gradients are summed over processes, so all take the same step.
Only rank 0 measures precision on the validation pictures, and only rank 0 writes files and logs.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn

from chiaroscuro.core.errors import InputError, TrainingError

T = TypeVar("T")

_PATIENCE = timedelta(hours=1)  # how long the others wait while rank 0 measures precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """The processes that train together; with one, every method returns its argument.

    Attributes:
        rank: number of this process.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes files and logs."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of ``n`` crops."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Numbers summed over processes; all have the same names."""
        if self.size == 1:
            return dict(values)
        names = sorted(values)
        summed = torch.tensor([values[name] for name in names], device=_device())
        distributed.all_reduce(summed)
        return dict(zip(names, summed.tolist(), strict=True))

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum gradients in place; a parameter without a gradient in any process keeps none."""
        if self.size == 1:
            return
        there = [parameter.grad is not None for parameter in parameters]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten().float() for gradient in gradients])
        flat = torch.cat([flat, torch.tensor(there, dtype=flat.dtype, device=flat.device)])
        distributed.all_reduce(flat)
        summed = torch.split(flat[: -len(there)], [p.numel() for p in parameters])
        for parameter, values, n_there in zip(
            parameters, summed, flat[-len(there) :].tolist(), strict=True
        ):
            parameter.grad = values.view_as(parameter).to(parameter.dtype) if n_there else None

    def broadcast(self, network: nn.Module) -> None:
        """Copy weights and buffers from rank 0 to all processes."""
        if self.size > 1:
            for value in network.state_dict().values():
                distributed.broadcast(value, src=0)

    def run_on_first(self, make: Callable[[], T]) -> T:
        """The result of a function that only rank 0 runs, in all processes.

        Raises:
            TrainingError: in the others, if rank 0 failed.
        """
        if self.size == 1:
            return make()
        made: list[T | None] = [None]
        failure: list[str | None] = [None]
        try:
            if self.first:
                made = [make()]
        except BaseException as error:
            failure = [str(error) or type(error).__name__]
            raise
        finally:
            distributed.broadcast_object_list(failure, src=0, device=_device())
        if failure[0] is not None:
            raise TrainingError(f"rank 0 failed: {failure[0]}")
        distributed.broadcast_object_list(made, src=0, device=_device())
        return made[0]  # type: ignore[return-value]


def processes() -> Processes:
    """The processes that train together: this one, unless ``joined`` or the caller joined more.

    Your own program joins them by ``torch.distributed.init_process_group``.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return Processes()
    return Processes(rank=distributed.get_rank(), size=distributed.get_world_size())


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started, if any, and leave them at the end.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; each process uses one of several CUDA devices.

    Yields:
        The device of this process.

    Raises:
        InputError: if the processes would share a CUDA device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield device
        return
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: under torchrun wanted auto, cpu or cuda, got {device!r}")
    on_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if on_cuda:
        number, n_devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= n_devices:
            raise InputError(f"torchrun: wanted at most {n_devices} processes, one per CUDA device")
        torch.cuda.set_device(number)
        device = f"cuda:{number}"
    distributed.init_process_group("nccl" if on_cuda else "gloo", timeout=_PATIENCE)
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def _device() -> torch.device:
    """Device of tensors that are sent: nccl sends between CUDA devices only."""
    if distributed.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
