"""The gradient of one step, in several parts where memory is short."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from chiaroscuro.core.errors import TrainingError
from chiaroscuro.core.log import LOG
from chiaroscuro.core.records import Truth
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.evidence.passes import out_of_memory
from chiaroscuro.training.settings import TrainingSettings

_STEPS_APART = 1_000_003  # between the first seeds of two neighbouring seeds of a run


class Gradient:
    """Computes gradients; after memory ran out, in smaller parts.

    A step keeps its size: gradients of parts are summed, each weighted by its share of the step's
    crops. That is the gradient of the whole step where the loss is a mean over crops, and close to
    it where it is a mean over matches, as in most detectors.

    Attributes:
        at_once: crops per pass through the network.
    """

    def __init__(self, detector: Trainable, settings: TrainingSettings) -> None:
        self._detector, self._settings = detector, settings
        self.at_once = settings.batch_size

    def of(self, crops: Tensor, truth: Sequence[Truth], step: int) -> dict[str, float]:
        """Store the gradient of the loss in the network's parameters; returns the losses.

        Args:
            crops: of this process, ``n 3 size size``.
            truth: one per crop.
            step: with the seed it determines what is random in the network, such as dropout.

        Returns:
            The parts of the loss; where one is NaN or infinite, the gradient is not usable.

        Raises:
            TrainingError: if a single crop does not fit in memory.
        """
        device = next(self._detector.network.parameters()).device
        while True:
            try:
                with torch.random.fork_rng([device] if device.type == "cuda" else []):
                    torch.manual_seed(step_seed(self._settings.seed, step))
                    return self._summed(crops, truth, device)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                self._halve(min(self.at_once, len(crops)), error, device)
            if device.type == "cuda":
                torch.cuda.empty_cache()

    def _summed(
        self, crops: Tensor, truth: Sequence[Truth], device: torch.device
    ) -> dict[str, float]:
        self._detector.network.zero_grad()
        values: dict[str, float] = {}
        for start in range(0, len(crops), self.at_once):
            part = slice(start, start + self.at_once)
            share = len(crops[part]) / self._settings.batch_size
            with precision_context(device, mixed=self._settings.mixed_precision):
                losses = self._detector.losses(crops[part].to(device), truth[part])
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            for name, loss in losses.items():
                values[name] = values.get(name, 0.0) + share * float(loss.detach())
            if not math.isfinite(sum(values.values())):
                return values
            (share * total).backward()  # type: ignore[no-untyped-call]
        return values

    def _halve(self, n_crops: int, error: Exception, device: torch.device) -> None:
        size = self._settings.augmentation.size
        if n_crops == 1:
            raise TrainingError(
                f"training: out of memory on a single crop of {size}x{size} pixels on {device}; "
                "use smaller crops (--crop-size), or another device (--device)"
            ) from error
        if self.at_once >= self._settings.batch_size:
            LOG.warning(
                f"{n_crops} crops at once do not fit in memory; they pass in smaller parts, whose "
                "gradients are summed"
            )
        self.at_once = n_crops // 2


def step_seed(seed: int, step: int) -> int:
    """Seed of everything random in a step."""
    return seed * _STEPS_APART + step


def precision_context(device: torch.device, *, mixed: bool) -> AbstractContextManager[object]:
    """Bfloat16 where torch considers it safe, on CUDA devices that have it; else nothing."""
    if mixed and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
