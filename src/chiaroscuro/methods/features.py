"""A network while it runs: feature maps recorded and enlarged, operations replaced."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.detectors.commons.placement import over_picture
from chiaroscuro.methods.differentiable import differentiable
from chiaroscuro.methods.question import Question

_NO_LARGER = 1e-6  # of the largest gradient: what rounding alone may leave in a cell


@dataclass(slots=True, eq=False)
class Features:
    """Feature maps of the latest run of a network.

    Attributes:
        outputs: of the recorded layers by name, ``n channels h w``, in the order in which they ran.
        input_size: height and width of the first convolution's input.
    """

    outputs: dict[str, Tensor] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None

    def read_from(self, value: Float[Tensor, ""]) -> tuple[str, Tensor] | None:
        """The layer that a value is computed from, and the value's gradient by its output.

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
        """A map of cells over the picture, bilinear, and constant beyond the outer cells' centres.

        The width of a cell is a power of two pixels of the network's input, which has the
        ``extent`` in pixels of the picture: ``h`` cells cover it, or more where its size is no
        multiple of that.
        """
        given = self.input_size or extent
        cell = tuple(
            2 ** round(math.log2(side / n)) * whole / side
            for n, side, whole in zip(cells.shape, given, extent, strict=True)
        )
        return over_picture(cells.detach()[None], (cell[0], cell[1]), (height, width))[0]


@contextmanager
def recording(network: nn.Module, layers: Sequence[str]) -> Iterator[Features]:
    """Record the outputs of layers whenever the network runs."""
    features = Features()

    def clear(_module: nn.Module, _inputs: Any) -> None:
        features.outputs.clear()
        features.input_size = None

    def record_size(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if features.input_size is None:
            features.input_size = inputs[0].shape[-2], inputs[0].shape[-1]

    with ExitStack() as undo:
        undo.callback(network.register_forward_pre_hook(clear).remove)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                undo.callback(module.register_forward_pre_hook(record_size).remove)
        for name in layers:

            def record(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
                features.outputs.pop(name, None)
                features.outputs[name] = output

            module = network.get_submodule(name)
            undo.callback(module.register_forward_hook(record).remove)
        yield features


def feature_layers(question: Question, method: str) -> tuple[str, ...]:
    """The layers that the detector's class scores are computed from, as it declares them."""
    detector = differentiable(question.detector, method)
    if not detector.feature_layers:
        raise UnsupportedMethodError(
            method,
            f"{detector.info.name} does not say which layers its class scores are read from; "
            "wanted their names as the detector's feature_layers",
        )
    return tuple(detector.feature_layers)


def receptive_window(gradient: Float[Tensor, "channels h w"]) -> Bool[Tensor, "h w"]:
    """The cells that a score is computed from."""
    strength = gradient.abs().amax(dim=0)
    return strength > _NO_LARGER * strength.max()


class ReplacedOperations(TorchFunctionMode):
    """While it is on, every operation of torch, in modules or not, goes through ``replace``."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``replace`` with the operation's own name."""
        name = str(getattr(func, "__name__", func))
        return self.replace(func, name, args, dict(kwargs or {}))

    @abstractmethod
    def replace(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The result of an operation; ``name`` has underscores, as torch has it."""
