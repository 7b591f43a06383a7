"""Settings of a training."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from chiaroscuro.core import limits
from chiaroscuro.core.checks import flag, maybe, number, settle, whole
from chiaroscuro.core.errors import InputError
from chiaroscuro.training.augment import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a detector is trained.

    Attributes:
        steps: of the optimiser.
        batch_size: crops per step.
        learning_rate: the highest, of AdamW; it rises linearly, then falls along a cosine to 0.
        weight_decay: of AdamW.
        warm_up: steps until the highest rate.
        clip: largest norm of the gradient.
        keep: weight of the original model in the final average, in [0, 1).
        freeze: prefixes of the names of parameters that are not trained.
        patience: evaluations on the validation pictures without gain after which training stops;
            never when None.
        evaluate_every: steps between evaluations and saved states.
        max_side: longer side of pictures where precision is measured.
        mixed_precision: on a CUDA device with bfloat16, compute losses in it where torch considers
            it safe; weights and their averages stay float32. No effect on a CPU, where it was
            measured to be 14 times slower.
        train_norms: batch norms take their statistics from the crops, which a randomly initialised
            network needs. Otherwise they keep those of the original model.
        seed: of the crops, and of what is random in the network.
        augmentation: how random crops are made.

    Raises:
        InputError: on a setting of another kind or out of range; it names the setting.
    """

    steps: int = 100
    batch_size: int = 8
    learning_rate: float | int = 1e-4
    weight_decay: float | int = 1e-4
    warm_up: int = 10
    clip: float | int = 5.0
    keep: float | int = 0.5
    freeze: tuple[str, ...] = ()
    patience: int | None = None
    evaluate_every: int = 25
    max_side: int = 1000
    mixed_precision: bool = True
    train_norms: bool = False
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        at_least_one = dict.fromkeys(
            ("steps", "batch_size", "evaluate_every", "max_side"), whole(1)
        )
        settle(
            self,
            {
                **at_least_one,
                "learning_rate": number(0, ends=False),
                "weight_decay": number(0),
                "warm_up": whole(0),
                "clip": number(0, ends=False),
                "keep": number(0, 1),
                "patience": maybe(whole(1)),
                "mixed_precision": flag,
                "train_norms": flag,
                "seed": limits.SEED,
            },
        )
        if self.keep == 1:
            raise InputError(
                "keep: wanted a share in [0, 1), got 1, which keeps the original model alone"
            )

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        described = asdict(self)
        described["freeze"] = list(self.freeze)
        described["augmentation"]["long_side"] = list(self.augmentation.long_side)
        return described


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Names of the settings, as described, that differ."""
    for name in dict.fromkeys([*before, *now]):
        one, other = before.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from changed(one, other)
        elif one != other:
            yield name
