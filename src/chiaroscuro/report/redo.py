"""An explanation as the Python lines that redo it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from chiaroscuro.core.errors import InputError
from chiaroscuro.core.limits import MAX_PIXELS
from chiaroscuro.core.plan import DetectorChoice, MaskDesign
from chiaroscuro.core.records import Target
from chiaroscuro.evidence.explanation import CloseUp, Explanation
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.images.sources import is_address
from chiaroscuro.results.picture import Picture
from chiaroscuro.store.schema import MapSettings

_WIDTH = 99  # of a line


def redo_script(
    picture: Picture,
    explanation: Explanation,
    choice: DetectorChoice | None = None,
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
        choice: what ``load_detector`` was given; the detector's own name when not given.
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
        "from chiaroscuro.images.hashes import image_hash",
        *["from chiaroscuro.images.resize import shrink"] * reduced,
        "",
        f"image = cs.read_image({_arguments(file_name(picture), **_limit(picture))})",
    ]
    tile = picture.tile
    if reduced:
        longer = max(picture.image.shape[1:] if tile is None else tile.size)
        lines.append(f"image, _ = shrink(image, {longer})")
    if tile is not None:
        x1, y1, x2, y2 = tile.window.plain()
        lines.append(f"image = image[:, {y1}:{y2}, {x1}:{x2}].contiguous()")
    choice = choice if choice and choice.detector else DetectorChoice(detector=settings.detector)
    lines += [
        f'assert image_hash(image) == "{settings.image_sha256}"',
        f"detector = cs.load_detector({_arguments(choice.detector, **choice.options)})",
        *_targets(explanation.targets),
    ]
    return "\n".join([*lines, *_maps(explanation), f"result.save({_typed(out)})", ""])


def _maps(explanation: Explanation) -> list[str]:
    """The lines that make the maps of ``targets``."""
    settings, closeups = explanation.settings, [one for one in explanation.closeups if one]
    estimator = f"estimator={_typed(settings.estimator)}"
    how = [estimator, f"seed={settings.seed}", *_design(settings.design)]
    if not settings.n_passes:  # without targets there was no detector pass
        return [f"result = cs.explain(image, detector, targets, {', '.join(how)})"]
    if not explanation.in_windows and not closeups:
        observed = ", ".join([f"n_passes={settings.n_passes}", *how[1:]])
        return [
            f"evidence = cs.observe(image, detector, {observed})",
            f"result = evidence.explain(targets, {estimator})",
        ]
    wanted = f"n_passes={settings.most_passes}"
    if settings.fidelity is not None:
        wanted = f"fidelity={settings.fidelity}"
    windows = [] if explanation.in_windows else ["windows=False"]
    lines = []
    if closeups and all(settings.fidelity is not None or _fits(one, settings) for one in closeups):
        windows.append("closeup=True")
    elif closeups:
        lines = ["# closeup=True makes close-ups too; theirs were of other numbers of masks here"]
    explained = ", ".join([wanted, *windows, *how])
    return [*lines, f"result = cs.explain(image, detector, targets, {explained})"]


def _fits(closeup: CloseUp, settings: MapSettings) -> bool:
    """Whether a close-up is from as many masks as the maps."""
    return closeup.record.source.n_masks == settings.most_passes


def _check(picture: Picture, settings: MapSettings) -> None:
    if settings.method != "drise" or settings.image_sha256 is None:
        missing = "" if settings.image_sha256 else " without image_sha256"
        raise InputError(
            f"redo_script: wanted an explanation by D-RISE with its settings, got method "
            f"{settings.method!r}{missing}"
        )
    sha256 = image_hash(picture.image)
    if settings.image_sha256 != sha256:
        raise InputError(
            f"redo_script: the explanation is of another picture: {settings.image_sha256}, "
            f"the picture given is {sha256}"
        )


def file_name(picture: Picture) -> str:
    """The name of a picture's file, or the whole address where it came from one."""
    if is_address(picture.source):
        return picture.source
    return Path(picture.source).name or "picture"


def _limit(picture: Picture) -> dict[str, int]:
    """``max_pixels``, where the file has more than the default limit."""
    n_pixels = math.prod(picture.file_size)
    if n_pixels < 0.99 * MAX_PIXELS:  # perhaps from the scale, rounded
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


def _design(design: MaskDesign) -> list[str]:
    """The mask design as an argument with what differs from the default; none if nothing does."""
    described, default = design.plain(), MaskDesign().plain()
    typed = []
    for name, value in described.items():
        if value == default[name]:
            continue
        if name == "grid_size":
            value = design.grid_size
        if name == "fill" and value == "image":
            typed.append('fill=cs.read_image("fill.png")')  # its pixels are in the evidence only
        else:
            typed.append(f"{name}={_typed(value)}")
    return [f"design=cs.MaskDesign({', '.join(typed)})"] if typed else []
