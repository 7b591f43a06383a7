"""An explanation as the Python lines that make it again."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from chiaroscuro.core.errors import InputError
from chiaroscuro.core.plan import MaskDesign
from chiaroscuro.core.records import Target
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.images.sources import is_address
from chiaroscuro.results.picture import Picture

NEEDED = "estimator", "n_masks", "seed", "design", "image_sha256"
_WIDTH, _READ_LIMIT_PIXELS = 99, 100_000_000  # of a line; above it read_image wants max_pixels


def redo_script(
    picture: Picture,
    explanation: Explanation,
    detector: str = "",
    options: Mapping[str, Any] | None = None,
    *,
    out: str = "out",
) -> str:
    """The Python lines that redo an explanation, to be run where the picture's file is.

    The maps come out the same to the bit, on the same machine and versions. Three things are
    beyond the lines: a detector whose answer depends on how many pictures it is given at once may
    differ in the last digits; an explanation read back by ``Explanation.load`` has no class
    probabilities; and a fill that was an image is read from a file, which must be put there.

    Args:
        picture: what was explained, as ``open_picture`` gave it.
        explanation: the result, by D-RISE. The number of masks is the number made, also where
            ``"auto"`` was asked for.
        detector: what ``load_detector`` was given: a name, a path or ``module:function``; the
            detector's own name when not given.
        options: what else it was given, as plain JSON values.
        out: the folder that the lines save to.

    Returns:
        Lines that end with a newline. Of the picture's path only the file's name is in them, of an
        address all.

    Raises:
        InputError: if the explanation is of another picture, by another method, or does not say
            how it was made.
    """
    settings = explanation.settings
    lacking = [name for name in NEEDED if name not in settings]
    if settings.get("method") != "drise" or lacking:
        raise InputError(
            f"redo_script: wanted an explanation by D-RISE with its settings, got method "
            f"{settings.get('method')!r}" + (f" without {', '.join(lacking)}" if lacking else "")
        )
    sha256 = image_hash(picture.image)
    if settings["image_sha256"] != sha256:
        raise InputError(
            f"redo_script: the explanation is of another picture: {settings['image_sha256']}, "
            f"the picture given is {sha256}"
        )
    reduced, asked = picture.scale != 1, detector or str(settings.get("detector", ""))
    lines = [
        "import chiaroscuro as cs",
        "from chiaroscuro.images.hashes import image_hash",
        *["from chiaroscuro.images.resize import shrink"] * reduced,
        "",
        f"image = cs.read_image({_arguments(file_name(picture), **_limit(picture))})",
    ]
    if reduced:
        lines.append(f"image, _ = shrink(image, {max(picture.image.shape[1:])})")
    lines += [
        f'assert image_hash(image) == "{sha256}"',
        f"detector = cs.load_detector({_arguments(asked, **(options or {}))})",
        *_targets(explanation.targets),
    ]
    estimator, n_masks = str(settings["estimator"]), int(settings["n_masks"])
    how = [f"seed={int(settings['seed'])}", *_design(settings["design"])]
    if n_masks:
        lines += [
            f"evidence = cs.observe(image, detector, n_masks={n_masks}, {', '.join(how)})",
            f"result = evidence.explain(targets, estimator={_typed(estimator)})",
        ]
    else:  # nothing to explain: no pass was made
        how.insert(0, f"estimator={_typed(estimator)}")
        lines.append(f"result = cs.explain(image, detector, targets, {', '.join(how)})")
    return "\n".join([*lines, f"result.save({_typed(out)})", ""])


def file_name(picture: Picture) -> str:
    """The name of a picture's file, or the whole address where it came from one."""
    if is_address(picture.source):
        return picture.source
    return Path(picture.source).name or "picture"


def _limit(picture: Picture) -> dict[str, int]:
    """``max_pixels``, where the file has more than are read unasked."""
    height, width = picture.image.shape[1:]
    n_pixels = height * width / picture.scale**2
    if n_pixels < 0.99 * _READ_LIMIT_PIXELS:  # the scale is that of the longer side, rounded
        return {}
    return {"max_pixels": math.ceil(1.01 * n_pixels)}


def _arguments(first: str, /, **named: Any) -> str:
    """A call's arguments as they are typed; what is no plain value is typed as text."""
    plain = (str, int, float, list, tuple, dict, type(None))
    typed = [
        f"{name}={_typed(value if isinstance(value, plain) else str(value))}"
        for name, value in named.items()
    ]
    return ", ".join([_typed(first), *typed])


def _typed(value: Any) -> str:
    """A plain value as it is typed, text in double quotes."""
    typed = repr(value)
    if typed.startswith("'") and '"' not in typed:
        return f'"{typed[1:-1]}"'
    return typed


def _targets(targets: Sequence[Target]) -> list[str]:
    """The targets, every number with all its digits."""
    if not targets:
        return ["targets = []"]
    lines = ["targets = ["]
    for target in targets:
        fields: dict[str, Any] = {"box": target.box.tolist()}
        if target.label is not None:
            fields["label"] = target.label
        if target.score is not None:
            fields["score"] = target.score
        if target.class_probabilities is not None:
            fields["class_probabilities"] = target.class_probabilities.tolist()
        if target.origin != "drawn":
            fields["origin"] = target.origin
        lines += ["    cs.Target(", *_indented(fields), "    ),"]
    return [*lines, "]"]


def _indented(fields: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in fields.items():
        typed = (
            _typed(value)
            if isinstance(value, str)
            else pformat(value, width=_WIDTH - 9 - len(name), compact=True)
        )
        lines += f"        {name}={typed},".replace("\n", f"\n{' ' * (9 + len(name))}").split("\n")
    return lines


def _design(described: Mapping[str, Any]) -> list[str]:
    """The mask design as an argument, saying what differs from the default; none if nothing."""
    default = MaskDesign().describe()
    changed = {
        name: described[name]
        for name in default
        if described.get(name, default[name]) != default[name]
    }
    if not changed:
        return []
    typed = []
    for name, value in changed.items():
        if name == "grid_size":
            rows, columns = value
            value = rows if rows == columns else (rows, columns)
        if name == "fill" and value == "image":
            typed.append('fill=cs.read_image("fill.png")')  # its pixels are in the evidence only
        else:
            typed.append(f"{name}={_typed(value)}")
    return [f"design=cs.MaskDesign({', '.join(typed)})"]
