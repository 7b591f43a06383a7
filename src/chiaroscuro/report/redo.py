"""An explanation as the Python lines that redo it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from chiaroscuro.core.errors import InputError
from chiaroscuro.core.masks import MaskDesign
from chiaroscuro.core.records import Target
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.images.read import image_hash, is_address
from chiaroscuro.results.explaining import Picture

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

    The maps are the same to the bit on the same machine and versions, but: a detector whose output
    depends on the batch size may differ in the last digits; an explanation read by
    ``Explanation.load`` has no class probabilities; and a fill image is read from ``fill.png``.

    Args:
        picture: what was explained, as ``open_picture`` gave it.
        explanation: the result, by D-RISE, with the number of masks that was used.
        detector: what ``load_detector`` was given: a name, a path or ``module:function``; the
            detector's own name when not given.
        options: what else it was given, as plain JSON values.
        out: the folder that the lines save to.

    Returns:
        Lines with a final newline. Of a path they hold only the file's name, of an address all.

    Raises:
        InputError: if the explanation is of another picture, by another method, or lacks the
            settings that made it.
    """
    settings = explanation.settings
    _check(picture, settings)
    reduced = picture.scale != 1
    lines = [
        "import chiaroscuro as cs",
        f"from chiaroscuro.images.read import image_hash{', shrink' if reduced else ''}",
        "",
        f"image = cs.read_image({_arguments(file_name(picture), **_limit(picture))})",
    ]
    if reduced:
        lines.append(f"image, _ = shrink(image, {max(picture.image.shape[1:])})")
    spec = detector or str(settings.get("detector", ""))
    lines += [
        f'assert image_hash(image) == "{settings["image_sha256"]}"',
        f"detector = cs.load_detector({_arguments(spec, **(options or {}))})",
        *_targets(explanation.targets),
    ]
    estimator = f"estimator={_typed(str(settings['estimator']))}"
    n_masks, how = int(settings["n_masks"]), [f"seed={int(settings['seed'])}"]
    how += _design(settings["design"])
    if n_masks:
        observed = ", ".join([f"n_masks={n_masks}", *how])
        lines += [
            f"evidence = cs.observe(image, detector, {observed})",
            f"result = evidence.explain(targets, {estimator})",
        ]
    else:  # without targets there was no detector pass
        explained = ", ".join([estimator, *how])
        lines.append(f"result = cs.explain(image, detector, targets, {explained})")
    return "\n".join([*lines, f"result.save({_typed(out)})", ""])


def _check(picture: Picture, settings: Mapping[str, Any]) -> None:
    missing = [name for name in NEEDED if name not in settings]
    if settings.get("method") != "drise" or missing:
        raise InputError(
            f"redo_script: wanted an explanation by D-RISE with its settings, got method "
            f"{settings.get('method')!r}" + (f" without {', '.join(missing)}" if missing else "")
        )
    sha256 = image_hash(picture.image)
    if settings["image_sha256"] != sha256:
        raise InputError(
            f"redo_script: the explanation is of another picture: {settings['image_sha256']}, "
            f"the picture given is {sha256}"
        )


def file_name(picture: Picture) -> str:
    """The name of a picture's file, or the whole address where it came from one."""
    if is_address(picture.source):
        return picture.source
    return Path(picture.source).name or "picture"


def _limit(picture: Picture) -> dict[str, int]:
    """``max_pixels``, where the file has more than the default limit."""
    height, width = picture.image.shape[1:]
    n_pixels = height * width / picture.scale**2
    if n_pixels < 0.99 * _READ_LIMIT_PIXELS:  # the scale is that of the longer side, rounded
        return {}
    return {"max_pixels": math.ceil(1.01 * n_pixels)}


def _arguments(first: str, /, **named: Any) -> str:
    """The source of a call's arguments; values that are not plain become text."""
    plain = (str, int, float, list, tuple, dict, type(None))
    typed = [
        f"{name}={_typed(value if isinstance(value, plain) else str(value))}"
        for name, value in named.items()
    ]
    return ", ".join([_typed(first), *typed])


def _typed(value: Any) -> str:
    """The source of a plain value, text in double quotes."""
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
    """The mask design as an argument with what differs from the default; none if nothing does."""
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
