"""The detector that is trained: loading it, which of its weights learn, their average."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from chiaroscuro.core.errors import TrainingError
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.detectors.registry import load_detector


def open_trainable(spec: Any, device: str = "auto", **options: Any) -> Trainable:
    """Load a detector in a form that can be trained; ``"retinaface"`` means its torch form.

    Arguments are those of ``load_detector``.

    Raises:
        TrainingError: if it cannot be trained; or as ``load_detector`` does.
    """
    if spec == "retinaface":
        options.setdefault("form", "torch")
    detector = load_detector(spec, device=device, **options)
    if not isinstance(detector, Trainable):
        raise TrainingError(
            f"{detector.info.name} cannot be trained; retinaface, its checkpoints and "
            "torchvision's detectors can"
        )
    return detector


def free_parameters(network: nn.Module, freeze: Sequence[str]) -> list[nn.Parameter]:
    """Parameters that are trained; the others get no gradient.

    Raises:
        TrainingError: if no parameter begins with a name to freeze, or none is left.
    """
    names = [name for name, _ in network.named_parameters()]
    for prefix in freeze:
        if not any(name.startswith(prefix) for name in names):
            parts = sorted({name.split(".")[0] for name in names})
            raise TrainingError(
                f"freeze: no parameter begins with {prefix!r}; parts are {', '.join(parts)}"
            )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(freeze)))
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not free:
        raise TrainingError("freeze: nothing is left to learn")
    return free


def set_to_train(network: nn.Module, *, norms: bool) -> None:
    """Training mode; of batch norms only if ``norms``."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(norms)


def average_with(network: nn.Module, start: Mapping[str, Tensor], share: float | int) -> None:
    """Average the weights with others, which count by ``share``."""
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(start[name].to(value), share)
