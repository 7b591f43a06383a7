"""A bare torch module as a detector."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from chiaroscuro.detectors.adapters.function.detector import FunctionDetector
from chiaroscuro.detectors.commons.networks import device_of, evaluating, pick_device
from chiaroscuro.detectors.protocol import as_unit_floats


class ModuleDetector(FunctionDetector):
    """A torch module whose results are those of a function, as a detector.

    It runs where its parameters are, in evaluation mode and without gradients; afterwards every
    part of it is in its earlier mode. Where the module has ``propose`` and ``feature_layers`` (see
    the ``Differentiable`` protocol), so has the detector, and gradient methods can explain it.

    Args:
        module: as the function of :class:`FunctionDetector`.
        device: where to move it; ``"auto"`` leaves it where it is.
        options: of :class:`FunctionDetector`.

    Attributes:
        network: the module, shared.
    """

    def __init__(self, module: nn.Module, *, device: str = "auto", **options: Any) -> None:
        options.setdefault("name", type(module).__name__)
        super().__init__(self._run, **options)
        if device != "auto":
            module = module.to(pick_device(device))
        self.network = module
        for member in ("propose", "feature_layers"):
            if hasattr(module, member):
                setattr(self, member, getattr(module, member))
        self.info = replace(self.info, device=str(device_of(module)))

    def _prepared(self, images: Tensor) -> Tensor:
        return as_unit_floats(images.detach()).to(device_of(self.network), copy=True)

    def _run(self, batch: Tensor) -> Any:
        with evaluating(self.network):
            return self.network(batch)
