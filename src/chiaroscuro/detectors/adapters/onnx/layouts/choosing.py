"""The layout of a file, by what the file declares and what the user states."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError, InputError, UnknownNameError
from chiaroscuro.detectors.adapters.onnx.layouts.faces import FACES
from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Output, Roles
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Layout, Reading, Scene, item
from chiaroscuro.detectors.adapters.onnx.layouts.lists import LISTS
from chiaroscuro.detectors.adapters.onnx.layouts.queries import QUERIES
from chiaroscuro.detectors.adapters.onnx.layouts.tables import TABLES
from chiaroscuro.detectors.commons.rows import Rows

LAYOUTS: dict[str, Layout] = TABLES | QUERIES | LISTS | FACES
ROLES = ("boxes", "scores", "labels", "objectness", "count")


def understood(
    file: File,
    measure: Callable[[File], File],
    name: str | None = None,
    stated: Mapping[str, str] | None = None,
) -> tuple[Layout, Roles]:
    """As ``choose``, by what the file declares, else by its outputs measured on a blank picture."""
    closed = all(o.shape and all(o.shape[1:]) for o in file.outputs)
    try:
        layout, roles = choose(file, name, stated)
        if closed or layout.columns is None or layout.columns(roles):
            return layout, roles
    except UnknownNameError:
        raise
    except InputError:
        if closed:
            raise
    return choose(measure(file), name, stated)


def fitting(file: File) -> list[str]:
    """Layouts that the names and shapes of a file's outputs indicate."""
    return [
        name
        for name, layout in LAYOUTS.items()
        if (roles := layout.roles(file)) and layout.knows(file, roles)
    ]


def recognise(file: File) -> str:
    """The one layout that the names and shapes of a file's outputs indicate."""
    fits = fitting(file)
    if len(fits) == 1:
        return fits[0]
    problem = f"these may be {' or '.join(fits)}" if fits else "these fit no layout"
    raise InputError(layouts_message(problem, file.outputs, fits))


def choose(
    file: File, name: str | None = None, stated: Mapping[str, str] | None = None
) -> tuple[Layout, Roles]:
    """The layout of a file, and its outputs by their part in it.

    The user may give the name of a layout, or state the names of outputs by role.
    """
    if name is None and stated is not None:
        layout = stated_layout(stated)
        return layout, layout.roles(file) or {}
    name = name or recognise(file)
    if name not in LAYOUTS:
        raise UnknownNameError("layout", name, list(LAYOUTS))
    layout = LAYOUTS[name]
    roles = layout.roles(file) or {}
    if not roles:
        raise InputError(layouts_message(f"these cannot be {name}", file.outputs))
    return layout, roles | (pick(stated, file.outputs, list(roles)) if stated else {})


def layouts_message(problem: str, outputs: Sequence[Output], names: Sequence[str] = ()) -> str:
    """A message that lists the file's outputs and the layouts to choose from."""
    listed = "\n".join(
        f"  {o.name}: {' x '.join(str(side or '?') for side in o.shape)}, {o.dtype}"
        for o in outputs
    )
    layouts = "\n".join(f"  {name}: {LAYOUTS[name].summary}" for name in names or LAYOUTS)
    return (
        f"ONNX detector: wanted outputs of a known layout, but {problem}. The file's outputs:\n"
        f"{listed}\nGive layout= one of\n{layouts}\nor say what each output is, as in "
        "outputs={'boxes': 'NAME', 'scores': 'NAME', 'labels': 'NAME'}, "
        "or write a function that returns boxes."
    )


def read_roles(outputs: Any) -> dict[str, str]:
    """Names of outputs by role; from ``"boxes:NAME,scores:NAME"`` too."""
    if isinstance(outputs, str):
        parts = [part.partition(":") for part in outputs.split(",") if part.strip()]
        outputs = {role.strip(): name.strip() for role, _, name in parts}
    if not isinstance(outputs, Mapping) or not all(
        isinstance(name, str) and name for name in outputs.values()
    ):
        raise InputError(
            "outputs: wanted names of the file's outputs by role, such as "
            f"{{'boxes': 'NAME', 'scores': 'NAME'}} or boxes:NAME,scores:NAME, got {outputs!r}"
        )
    return dict(outputs)


def pick(stated: Mapping[str, str], outputs: Sequence[Output], roles: Sequence[str]) -> Roles:
    """The outputs that were named."""
    named = {output.name: output for output in outputs}
    for role, name in stated.items():
        if role not in roles:
            raise UnknownNameError("role of an output", role, list(roles))
        if name not in named:
            raise UnknownNameError("output of the file", name, list(named))
    return {role: named[stated[role]] for role in roles if role in stated}


def stated_layout(stated: Mapping[str, str]) -> Layout:
    """A layout of the outputs that the user named."""
    if "boxes" not in stated:
        raise InputError(
            f"outputs: wanted at least boxes (and scores, or boxes n x 5 with a score), got "
            f"{', '.join(stated) or 'none'}"
        )
    has_list = "labels" in stated

    def roles(file: File) -> Roles | None:
        return pick(stated, file.outputs, ROLES)

    def columns(found: Roles) -> int | None:
        boxes = found["boxes"].shape
        scores = found["scores"].shape if "scores" in found else boxes[:-1]
        if not boxes or 0 in scores[1:]:
            return None
        if len(scores) < len(boxes):
            return 1
        return scores[-2] if _is_across(boxes, scores) else scores[-1]

    return Layout(
        summary="as given by outputs=",
        roles=roles,
        knows=lambda file, found: False,
        decode=_decode,
        reading=Reading(first_label=None if has_list else 0),
        before_nms=not has_list,
        columns=None if has_list else columns,
    )


def _is_across(boxes: Sequence[int], scores: Sequence[int]) -> bool:
    """Whether scores have a column per box, instead of a row."""
    return boxes[-2] not in (0, scores[-2]) and scores[-1] == boxes[-2]


def _decode(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    boxes = item(outputs["boxes"], 2)
    if boxes.shape[1] != (4 if "scores" in outputs else 5):
        raise DetectorOutputError(
            "ONNX detector: wanted boxes of 4 columns, or of 5 where no scores are named, got "
            f"shape {tuple(boxes.shape)}"
        )
    scores = outputs["scores"] if "scores" in outputs else boxes[:, 4:]
    boxes = boxes[:, :4]
    scores = scores.reshape(len(boxes), -1) if scores.numel() == len(boxes) else item(scores, 2)
    if _is_across(boxes.shape, scores.shape):
        scores = scores.T
    n = int(outputs["count"].reshape(-1)[0]) if "count" in outputs else len(boxes)
    if "labels" in outputs:
        labels = outputs["labels"].reshape(-1)
        if not len(labels) == len(boxes) == scores.numel():
            raise DetectorOutputError(
                f"ONNX detector: wanted a score and a label for each of {len(boxes)} boxes, got "
                f"{scores.numel()} and {len(labels)}"
            )
        return scene.listed(boxes[:n], scores.reshape(-1)[:n], labels[:n])
    if len(scores) != len(boxes):
        raise DetectorOutputError(
            f"ONNX detector: wanted scores of {len(boxes)} boxes, got {tuple(scores.shape)}"
        )
    objectness = outputs.get("objectness")
    if objectness is not None:
        objectness = scene.activated(objectness.reshape(-1))[:n]
    # a single column is the score itself, also where other files have a background
    vectors = scene.activated(scores) if scores.shape[1] == 1 else scene.classes(scores)
    return Rows.of_vectors(scene.boxes(boxes)[:n], vectors[:n], objectness)
