"""Replacing the operations of a network while it runs, without changing the network."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode


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
