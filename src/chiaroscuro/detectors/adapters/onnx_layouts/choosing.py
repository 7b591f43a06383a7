"""From what a file shows and what a user says to a layout, its outputs and its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chiaroscuro.core.errors import InputError, UnknownNameError
from chiaroscuro.detectors.adapters.onnx_layouts import LAYOUTS
from chiaroscuro.detectors.adapters.onnx_layouts.layout import (
    ACTIVATIONS,
    BOX_FORMATS,
    File,
    Layout,
    Output,
    Reading,
    Roles,
)
from chiaroscuro.detectors.adapters.onnx_layouts.stated import pick, stated_layout

_UNNAMED_CLASSES = 91  # where a file does not say how many it has: as many as COCO numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the user says of the numbers, in place of the layout's reading; see :class:`Reading`."""

    box_format: str | None = None
    normalised: bool | None = None
    scores: str | None = None
    grid_offsets: bool | None = None
    first_label: int | None = None

    def over(self, reading: Reading) -> Reading:
        """The reading with what was said in its place.

        Raises:
            UnknownNameError: on a word that is not known.
            InputError: on a first label that is neither 0 nor 1.
        """
        for kind, word, known in (
            ("box_format", self.box_format, BOX_FORMATS),
            ("scores", self.scores, ACTIVATIONS),
        ):
            if word is not None and word not in known:
                raise UnknownNameError(kind, str(word), list(known))
        if self.first_label not in (None, 0, 1):
            raise InputError(f"first_label: wanted 0 or 1, got {self.first_label!r}")
        said: dict[str, Any] = {k: v for k, v in asdict(self).items() if v is not None}
        return replace(reading, **said)


def fitting(file: File) -> list[str]:
    """Layouts that names and shapes of a file's outputs speak for."""
    return [
        name
        for name, layout in LAYOUTS.items()
        if (roles := layout.roles(file)) and layout.knows(file, roles)
    ]


def recognise(file: File) -> str:
    """The one layout that names and shapes of a file's outputs speak for.

    Raises:
        InputError: if no layout fits, or more than one; the message lists outputs and layouts.
    """
    fits = fitting(file)
    if len(fits) == 1:
        return fits[0]
    problem = f"these may be {' or '.join(fits)}" if fits else "these fit no layout"
    raise InputError(choose_layout(problem, file.outputs, fits))


def choose(
    file: File, name: str | None = None, stated: Mapping[str, str] | None = None
) -> tuple[Layout, Roles]:
    """The layout of a file, and which output plays which part in it.

    Args:
        file: what is known of it.
        name: of a layout, where the user says it.
        stated: names of outputs by role, where the user says them.

    Raises:
        UnknownNameError: if there is no such layout, role or output.
        InputError: if it cannot be told, or the outputs cannot be of that layout.
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
        raise InputError(choose_layout(f"these cannot be {name}", file.outputs))
    return layout, roles | (pick(stated, file.outputs, list(roles)) if stated else {})


def is_settled(layout: Layout, roles: Roles) -> bool:
    """Whether the shapes tell all that is to be known of them."""
    return layout.columns is None or bool(layout.columns(roles))


def read_classes(
    names: Sequence[str] | None, layout: Layout, roles: Roles, said: Said
) -> tuple[list[str], Reading]:
    """Names of the classes, and the reading that counts them right.

    Args:
        names: by label, where they are known.
        layout: of the file.
        roles: its outputs.
        said: by the user, of the numbers.

    Raises:
        InputError: if there are as many classes in the file as the names allow, or if it is open
            which is the first.
    """
    if layout.ask_format and said.box_format is None:
        raise InputError(
            "ONNX detector: the boxes that NonMaxSuppression chooses from may be y1 x1 y2 x2 "
            "(files of TensorFlow and Keras), x1 y1 x2 y2 (of PyTorch) or centre and size; give "
            "box_format='yxyx', 'xyxy' or 'cxcywh'"
        )
    reading = said.over(layout.reading)
    columns = layout.columns(roles) if layout.columns else None
    if names is None:
        counted = None if columns is None else columns - reading.n_extra
        if layout.class_names and counted in (None, len(layout.class_names)):
            return list(layout.class_names), reading
        first = reading.first_label or 0
        return [f"class {i + first}" for i in range(counted or _UNNAMED_CLASSES)], reading
    if names and _is_background(names[0]) and said.first_label is None:
        reading = replace(reading, first_label=0)
    if columns is None:
        if reading.first_label is None and len(names) > 1:
            raise InputError(
                f"class_names: the first, {names[0]!r}, may be label 0 or label 1 of this file "
                "(torchvision's count a background as 0); give first_label=0 or first_label=1"
            )
        return list(names), reading
    if said.first_label == 0 and len(names) == columns - reading.n_extra - 1 and not _table(roles):
        reading = replace(reading, no_object=True)
    _check_count(len(names), columns - reading.n_extra, roles)
    return list(names), reading


def _check_count(named: int, counted: int, roles: Roles) -> None:
    """Tables may go on after the classes, with mask coefficients or keypoints: never one alone."""
    if named == counted or (_table(roles) and named < counted - 1):
        return
    problem = f"these have {counted} classes, and {named} are named"
    if named == counted - 1:
        problem += (
            " (one more may be an angle: boxes that are turned cannot be read)"
            if _table(roles)
            else " (a background may be among them: give first_label=1 if it comes first, "
            "first_label=0 if it comes last)"
        )
    raise InputError(choose_layout(problem, list(roles.values())))


def _table(roles: Roles) -> bool:
    return "table" in roles


def _is_background(name: str) -> bool:
    return name.strip("_ ").lower() == "background"


def choose_layout(problem: str, outputs: Sequence[Output], names: Sequence[str] = ()) -> str:
    """The message that lists what the file has and what there is to choose from."""
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
