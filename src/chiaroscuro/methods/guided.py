"""Guided backpropagation: activations pass back only gradients that raise the score.

Every rectifier passes a gradient back where it passed its input on, and only if the gradient is
positive. The rectifiers are replaced while the network runs; the network itself is not changed.

The map looks sharp because of what the rectifiers do to any gradient, not because of what the
network has learned (Adebayo et al. 2018, arXiv:1810.03292); the randomisation metrics measure it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.methods.differentiable import input_image, target_scores
from chiaroscuro.methods.features import ReplacedOperations
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question

_NAME = "guided-backprop"
_OTHERS = {
    "hardswish", "silu", "gelu", "elu", "selu", "celu", "mish", "softplus", "prelu", "rrelu",
    "softsign", "tanhshrink", "hardshrink", "softshrink", "logsigmoid", "glu",
}  # fmt: skip


def guided_backprop(question: Question) -> Answer:
    """Positive part of the guided gradient, the largest over the channels."""
    with target_scores(question, _NAME) as scores:
        image = input_image(question)
        with _Guided():
            weights = scores(image)[0]

        def explain(index: int) -> Tensor:
            (gradient,) = torch.autograd.grad(weights[index], image, retain_graph=True)
            return gradient[0].clamp(min=0).amax(dim=0)

        return scores.answer(question, explain)


class _Guided(ReplacedOperations):
    """While it is on, rectifiers pass back positive gradients only."""

    def replace(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        operation = name.strip("_")
        if operation in _RECTIFIERS:
            call = _RECTIFIERS[operation](*args, **kwargs)
            output = _rectify(call)
            in_place = call.inplace or name.endswith("_")
            return call.inputs.copy_(output) if in_place else output
        if operation in _OTHERS:
            raise _not_defined(operation)
        return func(*args, **kwargs)


class _Call(NamedTuple):
    """A rectifier: ``slope`` times its input below 0, its input above, ``high`` at most."""

    inputs: Tensor
    slope: float = 0.0
    high: float = math.inf
    inplace: bool = False


def _relu(input: Tensor, inplace: bool = False) -> _Call:  # noqa: A002 (torch's own names)
    return _Call(input, inplace=inplace)


def _relu6(input: Tensor, inplace: bool = False) -> _Call:  # noqa: A002
    return _Call(input, high=6.0, inplace=inplace)


def _leaky_relu(
    input: Tensor,  # noqa: A002
    negative_slope: float = 0.01,
    inplace: bool = False,
) -> _Call:
    return _Call(input, slope=negative_slope, inplace=inplace)


def _hardtanh(
    input: Tensor,  # noqa: A002
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> _Call:
    if min_val != 0:
        raise _not_defined(f"hardtanh from {min_val:g}")
    return _Call(input, high=max_val, inplace=inplace)


_RECTIFIERS: dict[str, Callable[..., _Call]] = {
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "hardtanh": _hardtanh,
}


class _PositiveBack(torch.autograd.Function):
    """Forwards ``output``; backwards the positive part of the gradient, times a derivative."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, output: Tensor, derivative: Tensor) -> Tensor:
        ctx.save_for_backward(derivative)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (derivative,) = ctx.saved_tensors
        return gradients[0].clamp(min=0) * derivative, None, None


def _rectify(call: _Call) -> Tensor:
    with torch.no_grad():
        derivative = torch.where(call.inputs > 0, 1.0, call.slope).to(call.inputs)
        output = (call.inputs * derivative).clamp(max=call.high)
        derivative[call.inputs >= call.high] = 0
    rectified: Tensor = _PositiveBack.apply(call.inputs, output, derivative)
    return rectified


def _not_defined(activation: str) -> UnsupportedMethodError:
    return UnsupportedMethodError(
        _NAME,
        f"wanted rectifiers (relu, leaky_relu, relu6), got the activation {activation}, for which "
        "the rule is not defined; use integrated-gradients or gradcam",
    )


GUIDED_BACKPROP = Method(
    name=_NAME,
    title="gradient of which activations pass back only the positive parts",
    family="gradient",
    meaning="largest positive part of the gradient over the three channels",
    n_passes=1,
    source="Springenberg et al. 2015, arXiv:1412.6806, section 3.4",
    run=guided_backprop,
)
