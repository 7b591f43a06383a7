"""A network's weights: which are trained, and their average with the start."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from chiaroscuro.core.errors import TrainingError


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
