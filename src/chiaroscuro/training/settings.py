"""How a detector is trained."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from chiaroscuro.core import limits
from chiaroscuro.core.checks import flag, many, maybe, number, text, whole
from chiaroscuro.core.declared import part, setting, tuple_of
from chiaroscuro.core.errors import InputError


def _low_high(name: str, value: Any) -> tuple[int, int]:
    """Two numbers of pixels, the lower first; also as text ``480,1300``."""
    given = value.split(",") if isinstance(value, str) else value
    try:
        low, high = (int(one) if isinstance(value, str) else one for one in given)
        low, high = many(whole(1), 2)(name, [low, high])
    except (TypeError, ValueError):
        low, high = 1, 0
    if low > high:
        raise InputError(
            f"{name}: wanted two numbers of pixels, the lower first, such as 480,1300, got "
            f"{value!r}"
        )
    return low, high


@attrs.frozen(kw_only=True)
class Augmentation:
    """How random crops are made.

    Attributes:
        size: side of a crop in pixels.
        long_side: the whole picture is first scaled so that its longer side lies in this range,
            log-uniform.
        near_a_face: probability that a crop is placed so that it contains a given face.
        turn: crops are turned by up to so many degrees either way; 0 for none.
        flip: probability of a mirror image.
        colour: strength of changes of gamma, contrast, saturation and hue; 0 for none.
        blur: probability of a blur of up to 1.5 pixels.
        noise: strength of added noise, in [0, 1].
        tenebrism: probability of a dark ground and raking light; see ``augment.tenebrism``.

    Raises:
        InputError: on a setting of another kind or out of range; it names the setting.
    """

    size: int = setting(
        whole(1),
        416,
        flags=("--crop-size",),
        help="Side of a crop in pixels; a smaller one takes less memory.",
    )
    long_side: tuple[int, int] = setting(
        _low_high,
        (320, 1100),
        metavar="LOW,HIGH",
        typed=str,
        help="Pictures are first scaled so that their longer side is between these numbers of "
        "pixels.",
    )
    near_a_face: float = setting(number(0, 1), 0.75)
    turn: float = setting(
        number(0, 90), 0.0, help="Crops are turned by up to so many degrees either way."
    )
    flip: float = setting(number(0, 1), 0.5)
    colour: float = setting(number(0), 0.3)
    blur: float = setting(number(0, 1), 0.2)
    noise: float = setting(number(0, 1), 0.02)
    tenebrism: float = setting(
        number(0, 1), 0.3, help="Share of crops that get a dark ground and raking light."
    )


@attrs.frozen(kw_only=True)
class TrainingSettings:
    """How a detector is trained.

    Attributes:
        steps: of the optimiser.
        backgrounds: share of the crops that are of pictures without a box to find, where the data
            set has some: what a detector must not take for a face.
        batch_size: crops per step.
        learning_rate: the highest, of AdamW; it warms up, then falls along a cosine to zero.
        weight_decay: of AdamW.
        warm_up: steps until the highest rate.
        clip: largest norm of the gradient.
        keep: weight of the original model in the final average, in [0, 1).
        freeze: parameters whose names begin so are not trained.
        patience: evaluations on the validation pictures without gain after which training ends;
            None never.
        evaluate_every: steps between evaluations and saved states.
        max_side: longer side of pictures where precision is measured.
        mixed_precision: on a CUDA device that has bfloat16, losses are computed in it where torch
            holds that to be safe; weights and their averages stay float32. No effect on a CPU,
            where it was measured to be 14 times slower.
        train_norms: batch norms take their statistics from the crops, as a network needs that
            begins at random. Else they keep those of the start, which so few crops would blur.
        seed: of the crops, and of what the network draws in training.
        augmentation: how crops are made.

    Raises:
        InputError: on a setting of another kind or out of range; it names the setting.
    """

    steps: int = setting(whole(1), 100, help="Steps of the optimiser.")
    backgrounds: float = setting(
        number(0, 0.9),
        0.0,
        help="Share of the crops that are of pictures without a box to find, if there are any.",
    )
    batch_size: int = setting(whole(1), 8, help="Crops per step.")
    learning_rate: float = setting(
        number(0, ends=False), 1e-4, help="The highest learning rate, of AdamW."
    )
    weight_decay: float = setting(number(0), 1e-4)
    warm_up: int = setting(whole(0), 10)
    clip: float = setting(number(0, ends=False), 5.0)
    keep: float = setting(
        number(0, 1), 0.5, help="Weight of the original model in the final average (0 to 1)."
    )
    freeze: tuple[str, ...] = setting(
        tuple_of(text),
        (),
        help="Do not train parameters whose names begin like this; may be repeated.",
    )
    patience: int | None = setting(
        maybe(whole(1)),
        None,
        help="With --validation: evaluations without gain after which training ends.",
    )
    evaluate_every: int = setting(whole(1), 25)
    max_side: int = setting(whole(1), 1000)
    mixed_precision: bool = setting(
        flag, True, help="Compute losses in bfloat16; on CUDA devices only."
    )
    train_norms: bool = setting(
        flag,
        False,
        flags=("--train-norms",),
        help="Batch norms take their statistics from the crops: for a random start.",
    )
    seed: int = setting(limits.SEED, 0, help="The same seed gives the same crops.")
    augmentation: Augmentation = part(Augmentation)

    def __attrs_post_init__(self) -> None:
        if self.keep == 1:
            raise InputError("keep: wanted a share in [0, 1), got 1, which keeps the start alone")


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Names of the settings, as described, that differ."""
    for name in dict.fromkeys([*before, *now]):
        one, other = before.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from changed(one, other)
        elif one != other:
            yield name
