"""What the files of chiaroscuro hold: one table per file, checked whenever one is read.

Also the settings that stand in them, so that a setting means the same as an argument and in a file.
"""

from pathlib import PurePosixPath
from typing import Any

from chiaroscuro.core.checks import (
    Array,
    Check,
    anything,
    either,
    flag,
    many,
    mapping,
    maybe,
    number,
    one_of,
    path_text,
    record,
    shown,
    text,
    whole,
)
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.limits import (
    CELLS,
    FIDELITY,
    KEEP_PROBABILITY,
    MATCH_IOU,
    SCORE,
    SEED,
    SIDE,
    masks_or_auto,
)
from chiaroscuro.core.records import LABEL, LARGEST_LABEL

_FARTHEST = 3.4e38  # what float32 holds
_TOLERANCE = 1e-4  # shares computed in float32 may exceed 1 by a hair

AGAIN = (
    "explain again into a new folder, or with --overwrite; in a run folder, remove the picture's "
    "folder and study again"
)
STUDY_AGAIN = "remove the picture's folder and study again"


def folder_name(name: str, value: Any) -> str:
    """A relative path that stays inside the folder it is joined to."""
    plain = text(name, value)
    path = PurePosixPath(plain)
    if not plain or "\0" in plain or path.is_absolute() or {"..", "."} & set(plain.split("/")):
        raise InputError(f"{name}: wanted the name of a folder, got {plain!r}")
    return plain


_SHARE = number(-_TOLERANCE, 1 + _TOLERANCE)


def _box(name: str, value: Any) -> list[float]:
    box: list[float] = many(number(-_FARTHEST, _FARTHEST), 4)(name, value)
    if box[2] < box[0] or box[3] < box[1]:
        raise InputError(f"{name}: wanted x1 <= x2 and y1 <= y2, got {shown(value)}")
    return box


DESIGN = record(
    {
        "grid_size": many(CELLS, 2),
        "keep_probability": KEEP_PROBABILITY,
        "antithetic": flag,
        "fill": text,
    }
)

# evidence.npz ------------------------------------------------------------------------------------

EVIDENCE = {
    "settings": Array(dtypes=("str",)),
    "image": Array(dtypes=("uint8", "float32"), axes=(3, "height", "width"), low=0),
    "boxes": Array(axes=("proposals", 4)),
    "scores": Array(axes=("proposals",), low=0, high=1),
    "labels": Array(dtypes=("int64",), axes=("proposals",), low=0, high=LARGEST_LABEL),
    "counts": Array(dtypes=("int64",), axes=("n_masks",), low=0),
    "class_probabilities": Array(axes=("proposals", "classes"), low=0, high=1, needed=False),
    "objectness": Array(axes=("proposals",), low=0, high=1, needed=False),
    "fill": Array(dtypes=("uint8", "float32"), axes=(3, "height", "width"), low=0, needed=False),
}


def _kept(name: str, value: Any) -> tuple[tuple[float, ...], int | None]:
    """Box and label of a target."""
    box, label = many(anything, 2)(name, value)
    return tuple(_box(f"{name}[0]", box)), maybe(LABEL)(f"{name}[1]", label)


EVIDENCE_SETTINGS = record(
    {
        "detector": text,
        "before_nms": flag,
        "n_masks": whole(0),
        "seed": SEED,
        "design": DESIGN,
        "image_sha256": text,
    },
    {"versions": mapping(text), "kept_for": many(_kept)},
)

# saliency.npz and manifest.json ------------------------------------------------------------------

_MAPS = ("targets", "height", "width")
SALIENCY = {
    "saliency": Array(axes=_MAPS),
    "standard_error": Array(axes=_MAPS, low=0),
    "boxes": Array(axes=("targets", 4)),
    "scores": Array(axes=("targets",), low=0, high=1, nan=True),
    "labels": Array(dtypes=("int64",), axes=("targets",), low=-1, high=LARGEST_LABEL),
    "fidelity": Array(axes=("targets",), low=-1 - _TOLERANCE, high=1 + _TOLERANCE, nan=True),
    "mean_weight": Array(axes=("targets",), low=-_TOLERANCE, high=1 + _TOLERANCE, nan=True),
}

_SETTINGS: dict[str, Check] = {
    "method": text,
    "estimator": text,
    "detector": text,
    "before_nms": flag,
    "n_masks": whole(0),
    "passes": whole(0),
    "seed": SEED,
    "design": DESIGN,
    "image_sha256": text,
    "versions": mapping(text),
}
_PICTURE = record({"source": path_text, "width": SIDE, "height": SIDE, "scale": number(1e-6, 1)})
_TARGET = record(
    {
        "box": _box,
        "label": maybe(LABEL),
        "score": maybe(SCORE),
        "origin": one_of("found", "drawn", "truth"),
        "fidelity": maybe(number(-1, 1)),
        "mean_weight": maybe(_SHARE),
    }
)
_EXPLANATION: dict[str, Check] = {
    "settings": record({}, _SETTINGS),
    "meaning": text,
    "notes": many(text),
    "height": SIDE,
    "width": SIDE,
    "targets": many(_TARGET),
}
_OF_A_COMMAND: dict[str, Check] = {
    "picture": _PICTURE,
    "asked": record({"detector": text, "options": mapping()}),
    "captions": many(text),
    "files": mapping(either(maybe(text), many(text))),
    "seconds": number(0),
}

MANIFEST = record(_EXPLANATION, _OF_A_COMMAND)


def _made_by_a_command(check: Check) -> Check:
    """A manifest that says how its maps were made, as far as others rely on it."""

    def checked(name: str, value: Any) -> Any:
        manifest = check(name, value)
        by_drise = manifest["settings"]["method"] == "drise"
        needed = ("estimator", "n_masks") if by_drise else ("passes",)
        absent = [key for key in needed if key not in manifest["settings"]]
        if manifest["targets"] and absent:
            raise InputError(f"settings.{absent[0]} is absent")
        return manifest

    return checked


_MADE = {**_EXPLANATION, "settings": record({"method": text, "detector": text}, _SETTINGS)}
RESULT = _made_by_a_command(record(_MADE, _OF_A_COMMAND))

# run folders -------------------------------------------------------------------------------------

_MISS = record(
    {"reading": text, "sentence": text},
    {
        "whole_score": maybe(SCORE),
        "best_score": maybe(SCORE),
        "share_found": maybe(_SHARE),
        "negative_share": maybe(_SHARE),
    },
)
_STUDIED = record(
    {
        "kind": one_of("hit", "false alarm", "missed", "ignored", "found"),
        "in_box": maybe(_SHARE),
        "in_ring": maybe(_SHARE),
        "beyond": maybe(_SHARE),
    },
    {
        "match": maybe(text),
        "iou": maybe(_SHARE),
        "truth": maybe(whole(0)),
        "miss": maybe(_MISS),
    },
)

_STUDIED_PICTURE = _made_by_a_command(
    record(
        {
            **_MADE,
            **{key: _OF_A_COMMAND[key] for key in ("picture", "asked", "captions", "seconds")},
            "about": record({}, {"title": maybe(either(number(), text))}),
            "study": many(_STUDIED),
            "detections": many(record({"box": _box, "score": SCORE, "label": LABEL})),
            "truth": maybe(
                many(record({"box": _box, "label": LABEL, "ignore": flag}, {"crowd": flag}))
            ),
        }
    )
)


def STUDIED_PICTURE(name: str, value: Any) -> Any:  # noqa: N802  (a table like the others)
    """The manifest of a studied picture, whose parts fit each other."""
    manifest = _STUDIED_PICTURE(name, value)
    targets, studied, truth = (manifest[key] for key in ("targets", "study", "truth"))
    if len(studied) != len(targets):
        raise InputError(
            f"study: wanted {len(targets)} entries, one per target, got {len(studied)}"
        )
    if targets and "n_masks" not in manifest["settings"]:
        raise InputError("settings.n_masks is absent")
    for i, one in enumerate(studied):
        matched = one.get("truth")
        if (matched is None and one["kind"] == "hit") or (matched or 0) >= len(truth or [0]):
            raise InputError(f"study[{i}].truth: wanted the number of a box, got {matched}")
    return manifest


FAILED = record({"reason": text}, {"picture": path_text})

RUN = record(
    {
        "version": text,
        "detector": record({"name": text, "detector": text, "options": mapping()}),
        "data": record(
            {
                "source": path_text,
                "marked": flag,
                "classes": many(record({"label": LABEL, "name": text, "id": anything})),
                "pictures": mapping(text, key=folder_name),
                "missing": many(path_text),
                "notes": many(text),
            },
            {"class_map": mapping(text)},
        ),
        "settings": record(
            {
                "min_score": SCORE,
                "n_masks": masks_or_auto,
                "fidelity": FIDELITY,
                "seed": SEED,
                "design": DESIGN,
                "estimator": text,
                "match_iou": MATCH_IOU,
                "max_side": maybe(SIDE),
            }
        ),
    }
)

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

KEPT_METHOD = record(
    {
        **_EXPLANATION,
        "made": mapping(),
        "cost": record(
            {
                "method": text,
                "targets": whole(0),
                "passes": whole(0),
                "seconds": number(0),
                "pass_seconds": number(0, ends=False),
            }
        ),
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
