"""What files hold that have no declared class yet: evaluations, weights, states of a training."""

from typing import Any

from chiaroscuro.core.checks import (
    Check,
    either,
    flag,
    many,
    mapping,
    maybe,
    number,
    one_of,
    record,
    text,
    whole,
)
from chiaroscuro.core.errors import InputError

# evaluation-PROTOCOL -----------------------------------------------------------------------------


def _curve(needed: dict[str, Check], values: tuple[str, ...]) -> Check:
    """A record of a curve, with as many values of every kind."""
    check = record({**needed, **{name: many(number()) for name in values}})

    def checked(name: str, value: Any) -> Any:
        curve = check(name, value)
        lengths = {key: len(curve[key]) for key in values}
        if len(set(lengths.values())) > 1 or not lengths[values[0]]:
            raise InputError(f"{name}: wanted as many values of each, got {lengths}")
        return curve

    return checked


# rows that are taken over only if they have the hash, so what is in them needs no check
EVALUATED_ROWS = ("scores", "curves", "stability", "randomisation", "costs", "left_out")
EVALUATED_PICTURE = record(
    {
        "rows_sha256": text,
        "pieces": many(
            record(
                {
                    "map": text,
                    "measure": text,
                    "made": mapping(),
                    **{rows: many(mapping()) for rows in EVALUATED_ROWS},
                }
            )
        ),
    }
)
EVALUATED_COLLECTION = record(
    {
        "rows_sha256": text,
        "made": mapping(),
        "curves": many(mapping()),
        "left_out": many(mapping()),
        "annotations": mapping(),
    }
)

EVALUATION = record(
    {
        "collection": many(
            _curve(
                {
                    "direction": one_of("insertion", "deletion"),
                    "protocol": record({"name": text}),
                    "area": number(),
                    "ap50_area": number(),
                },
                ("fraction", "ap", "ap50"),
            )
        )
    }
)

# checkpoints: what the metadata of ours says of the weights ---------------------------------------

_INPUT_SIDE = whole(1, 100_000)
ABOUT_WEIGHTS = record(
    {},
    {
        "detector": text,
        "builder": text,
        "class_names": many(text),
        "epsilon": mapping(number(0, 1)),
        "min_size": _INPUT_SIDE,
        "max_size": _INPUT_SIDE,
    },
)

# state.pt of a training --------------------------------------------------------------------------

TRAINING_STATE = record(
    {
        "asked": record({"settings": mapping(), "starting weights": text, "pictures": many(text)}),
        "diverged": flag,
        "network": mapping(),
        "optimiser": mapping(),
        "step": whole(0),
        "best": maybe(many(either(number(), mapping()), 2)),
        "since_best": whole(0),
        "rows": many(record({"step": whole(1)})),
    }
)
