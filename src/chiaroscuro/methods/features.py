"""Feature maps: watching them while the network runs, and laying them over the picture."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiaroscuro.detectors.commons.placement import over_picture


@dataclass(slots=True, eq=False)
class Features:
    """What was seen in the latest run of a network.

    Attributes:
        outputs: of the watched layers by name, ``n channels h w``, in the order in which they ran.
        input_size: height and width of what the first convolution was given.
    """

    outputs: dict[str, Tensor] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None

    def read_from(self, value: Float[Tensor, ""]) -> tuple[str, Tensor] | None:
        """The layer that a value is read from, and the value's gradient by its output.

        Where layers feed one another it is the last of them. None if no layer has a gradient.
        """
        reachable = {name: one for name, one in self.outputs.items() if one.requires_grad}
        if not reachable or not value.requires_grad:
            return None
        gradients = torch.autograd.grad(
            value, list(reachable.values()), retain_graph=True, allow_unused=True
        )
        for name, gradient in reversed(list(zip(reachable, gradients, strict=True))):
            if gradient is not None and bool(gradient.any()):
                return name, gradient
        return None

    def enlarge(
        self,
        cells: Float[Tensor, "h w"],
        extent: tuple[float | int, float | int],
        height: int,
        width: int,
    ) -> Float[Tensor, "height width"]:
        """A map of cells over the picture, bilinearly; beyond the outer cells' centres it is level.

        A cell is a power of two pixels of the network's input wide: ``h`` cells cover the input, or
        more where its size is no multiple of that.

        Args:
            cells: values.
            extent: height and width, in pixels of the picture, of the network's input.
            height: of the picture.
            width: of the picture.
        """
        given = self.input_size or extent
        cell = tuple(
            2 ** round(math.log2(side / n)) * whole / side
            for n, side, whole in zip(cells.shape, given, extent, strict=True)
        )
        return over_picture(cells.detach()[None], (cell[0], cell[1]), (height, width))[0]


@contextmanager
def watching(network: nn.Module, layers: Sequence[str]) -> Iterator[Features]:
    """See what layers give while the network runs on pictures."""
    seen = Features()

    def starts(_module: nn.Module, _inputs: Any) -> None:
        seen.outputs.clear()
        seen.input_size = None

    def convolves(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if seen.input_size is None:
            seen.input_size = inputs[0].shape[-2], inputs[0].shape[-1]

    with ExitStack() as undo:
        undo.callback(network.register_forward_pre_hook(starts).remove)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                undo.callback(module.register_forward_pre_hook(convolves).remove)
        for name in layers:

            def gives(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
                seen.outputs.pop(name, None)
                seen.outputs[name] = output

            module = network.get_submodule(name)
            undo.callback(module.register_forward_hook(gives).remove)
        yield seen
