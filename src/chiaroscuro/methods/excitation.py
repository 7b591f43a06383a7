"""Excitation backprop: the score's probability is passed back along positive weights only.

One unit of probability starts at the class score of the proposal most similar to the target. A
neuron passes its probability to those below it in proportion to activation times positive weight,
so nothing is lost unless a neuron has no positive input at all. The map is what reaches an early
layer.

Where we go beyond the paper: a sum of two branches shares in proportion to their positive parts;
means, interpolation and RoI align are layers of positive weights; max pooling passes to the
maximum; activations, softmax and sigmoid pass on unchanged; a batch norm is one with the
convolution before it, and a negative scale changes the weights' sign. The fit of the box is not
followed, only its score. The operations are replaced while the network runs; the network itself is
not changed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.core.notes import Note
from chiaroscuro.methods.differentiable import differentiable, input_image, target_scores
from chiaroscuro.methods.features import ReplacedOperations, recording
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question

_NAME = "excitation-backprop"
_LOST = 0.1  # of the probability; more that does not reach the layer is worth a note


def excitation_backprop(question: Question) -> Answer:
    """Probability that a pixel's cell is where the score comes from; sums to 1 if none is lost."""
    layer = _layer_of(question)
    notes: list[Note] = []
    with (
        target_scores(question, _NAME) as scores,
        recording(scores.network, [layer]) as features,
    ):
        with _Exciting():
            (raw,) = scores.propose(input_image(question))
        best = scores.best_scores(raw)
        output = features.outputs[layer]

        def explain(index: int) -> Tensor | None:
            score = best[index]
            if score is None:
                return None
            cells = _passed_back(score, output)
            arrived = float(cells.sum())
            if 0 < arrived < 1 - _LOST:
                notes.append(Note("lost on the way", index + 1, lost=1 - arrived))
            enlarged = features.enlarge(cells, scores.extent, *question.size)
            whole = float(enlarged.sum())
            return enlarged * (arrived / whole) if whole else enlarged

        return scores.answer(question, explain, notes, {"layer": layer})


def _layer_of(question: Question) -> str:
    """Where to stop, as the detector declares it."""
    detector = differentiable(question.detector, _NAME)
    layer = str(getattr(detector, "excitation_layer", ""))
    if not layer:
        raise UnsupportedMethodError(
            _NAME,
            f"{detector.info.name} does not say at which early layer to stop; wanted the name of a "
            "module of its network as the detector's excitation_layer",
        )
    return layer


def _passed_back(score: Float[Tensor, ""], features: Tensor) -> Float[Tensor, "h w"]:
    """Probability that reaches the cells of a layer, when the score's proposal has 1."""
    (reached,) = torch.autograd.grad(
        score, features, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return reached[0].sum(dim=0).cpu()


class _Linear(NamedTuple):
    """How a tensor was made: ``run(inputs, weight)``, plus something constant."""

    inputs: Tensor
    weight: Tensor  # outputs first
    run: Callable[[Tensor, Tensor], Tensor]


class _Exciting(ReplacedOperations):
    """While it is on, gradients of what is computed are probabilities passed back.

    An operation that the rule is not defined for raises ``UnsupportedMethodError`` in the backward
    pass, and only if probability reaches it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: Any = WeakTensorKeyDictionary()  # tensor: its version, how it was made

    def replace(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run an operation so that its gradient is the rule's; see the module."""
        operation = name.strip("_")
        if operation in ("conv2d", "linear"):
            return self._layer(func, *args, **kwargs)
        if operation == "batch_norm":
            return self._batch_norm(func, *args, **kwargs)
        if operation in _ARITHMETIC and not kwargs and any(map(_differentiated, args)):
            output = self._arithmetic(_ARITHMETIC[operation], *args)
            return args[0].copy_(output) if name in _IN_PLACE else output
        if operation in _POSITIVE:
            return _Hand.apply(
                args[0], partial(func, *args, **kwargs), lambda x: func(x, *args[1:], **kwargs)
            )
        if name in _UNCHANGED:
            if kwargs.get("inplace"):
                kwargs["inplace"] = False
            return _unchanged(args[0], partial(func, *args, **kwargs))
        output = func(*args, **kwargs)
        if operation not in _NATURAL:
            _forbid(output, operation)
        return output

    def _layer(
        self,
        func: Callable[..., Tensor],
        input: Tensor,  # noqa: A002 (torch's own name)
        weight: Tensor,
        bias: Tensor | None = None,
        *rest: Any,
        **options: Any,
    ) -> Tensor:
        made = _Linear(input, weight, lambda x, w: func(x, w, None, *rest, **options))
        return self._linear(made, partial(func, input, weight, bias, *rest, **options))

    def _linear(self, made: _Linear, compute: Callable[[], Tensor]) -> Tensor:
        """The result of ``compute``; backwards, along positive weights."""
        positive = made.weight.clamp(min=0)
        output: Tensor = _Hand.apply(made.inputs, compute, lambda x: made.run(x, positive))
        self._made[output] = output._version, made
        return output

    def _how(self, tensor: Tensor) -> _Linear | None:
        """How a tensor was made, if nothing in place has changed it since."""
        version, made = self._made.get(tensor, (None, None))
        return made if version == tensor._version else None

    def _batch_norm(
        self,
        func: Callable[..., Tensor],
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        compute = partial(
            func, input, running_mean, running_var, weight, bias, training, momentum, eps
        )
        made = self._how(input)
        if made is None or training or running_var is None:
            output = compute()
            _forbid(output, "batch_norm without a convolution before it")
            return output
        scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
        return self._linear(_scaled(made, scale), compute)

    def _arithmetic(self, operation: Callable[..., Tensor], *args: Any) -> Tensor:
        """Sums and products of two things, of which at least one depends on the picture."""
        first, second = args
        compute = partial(operation, first, second)
        if _differentiated(first) and _differentiated(second):
            if operation is torch.add:
                shared: Tensor = _Share.apply(first, second)
                return shared
            return _forbidden(compute(), f"{operation.__name__} of two activations")
        if operation in (torch.add, torch.mul) and not _differentiated(first):
            first, second = second, first
        if not _differentiated(first):
            return _forbidden(compute(), operation.__name__)
        made = self._how(first)
        if operation in (torch.add, torch.sub):
            return _unchanged(first, compute) if made is None else self._linear(made, compute)
        factor = torch.as_tensor(second) if operation is torch.mul else 1 / torch.as_tensor(second)
        if made is not None and factor.numel() in (1, len(made.weight)):
            return self._linear(_scaled(made, factor), compute)
        if bool((factor > 0).all()):
            return _unchanged(first, compute)
        return _forbidden(compute(), f"{operation.__name__} by negative numbers")


_ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "iadd": torch.add,
    "radd": torch.add,
    "sub": torch.sub,
    "isub": torch.sub,
    "mul": torch.mul,
    "imul": torch.mul,
    "rmul": torch.mul,
    "multiply": torch.mul,
    "div": torch.div,
    "truediv": torch.div,
    "itruediv": torch.div,
    "true_divide": torch.div,
}
_IN_PLACE = {"add_", "sub_", "mul_", "div_", "__iadd__", "__isub__", "__imul__", "__itruediv__"}
_POSITIVE = {"interpolate", "avg_pool2d", "adaptive_avg_pool2d", "roi_align", "mean", "sum"}
_UNCHANGED = {"softmax", "sigmoid", "relu6", "hardtanh", "normalize"}
_NATURAL = {
    *("relu", "leaky_relu", "max_pool2d", "adaptive_max_pool2d", "max", "amax", "dropout", "pad"),
    *("reshape", "view", "flatten", "unflatten", "permute", "transpose", "movedim", "contiguous"),
    *("squeeze", "unsqueeze", "expand", "expand_as", "flip", "cat", "concat", "stack", "split"),
    *("chunk", "unbind", "getitem", "setitem", "select", "narrow", "index_select", "gather"),
    *("take", "topk", "sort", "to", "float", "clone", "get", "set"),
}


def _differentiated(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _scaled(made: _Linear, scale: Tensor) -> _Linear:
    """The same with every output times a number."""
    shape = (-1, *[1] * (made.weight.ndim - 1))
    return made._replace(weight=made.weight * scale.to(made.weight).reshape(shape))


class _Hand(torch.autograd.Function):
    """Any function; backwards, a linear one of positive weights distributes the probability.

    With ``z = positive(x+)``, ``x`` gets ``x+`` times the transpose of ``positive`` on
    ``P / z``: equation 5 of the paper for all neurons at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        compute: Callable[[], Tensor],
        positive: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.positive = positive
        return compute()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inputs,) = ctx.saved_tensors
        with torch.enable_grad():
            below = inputs.detach().clamp(min=0).requires_grad_()
            total = ctx.positive(below)
        (share,) = torch.autograd.grad(total, below, _ratio(gradients[0], total.detach()))
        return below.detach() * share, None, None


class _Share(torch.autograd.Function):
    """A sum; backwards, each part gets probability in proportion to its positive value."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first.clamp(min=0), second.clamp(min=0))
        return first + second

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        first, second = ctx.saved_tensors
        ratio = _ratio(gradients[0], first + second)
        return (first * ratio).sum_to_size(first.shape), (second * ratio).sum_to_size(second.shape)


class _Unchanged(torch.autograd.Function):
    """Any element-wise function; backwards, the probability passes unchanged."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        return compute()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _unchanged(inputs: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    output: Tensor = _Unchanged.apply(inputs, compute)
    return output


def _ratio(probability: Tensor, total: Tensor) -> Tensor:
    """Probability per unit of excitation; 0 where there is no excitation."""
    return torch.where(total > 1e-20, probability / total.clamp(min=1e-20), 0)


def _forbidden(output: Tensor, what: str) -> Tensor:
    _forbid(output, what)
    return output


def _forbid(output: Any, what: str) -> None:
    """Raise an error as soon as probability is passed back through an operation."""

    def refuse(probability: Tensor) -> None:
        if bool(probability.any()):
            raise UnsupportedMethodError(
                _NAME,
                f"the score is computed through {what}, for which the rule is not defined; wanted "
                "convolutions, rectifiers, sums and pooling; use integrated-gradients or gradcam",
            )

    for one in output if isinstance(output, (tuple, list)) else (output,):
        if _differentiated(one):
            one.register_hook(refuse)


EXCITATION_BACKPROP = Method(
    name=_NAME,
    title="the score's probability passed back along positive weights",
    family="gradient",
    meaning="share of the score that comes from the pixel; shares sum to 1 less what is lost",
    n_passes=1,
    source="Zhang et al. 2018, arXiv:1608.00507, section 3, equations 3 to 5",
    run=excitation_backprop,
)
