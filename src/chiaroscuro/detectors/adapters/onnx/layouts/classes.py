"""Class names of a file, and the options that override a layout's reading."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chiaroscuro.core.errors import InputError, UnknownNameError
from chiaroscuro.detectors.adapters.onnx.layouts.choosing import layouts_message
from chiaroscuro.detectors.adapters.onnx.layouts.file import Roles
from chiaroscuro.detectors.adapters.onnx.layouts.layout import ACTIVATIONS, Layout, Reading
from chiaroscuro.detectors.commons.options import flag
from chiaroscuro.detectors.commons.placement import BOX_FORMATS

_UNNAMED_CLASSES = 91  # where a file does not state its number of classes: as in COCO


@dataclass(frozen=True, slots=True)
class Overrides:
    """The user's options in place of the layout's reading; see :class:`Reading`."""

    box_format: str | None = None
    normalised: bool | str | None = None
    scores: str | None = None
    grid_offsets: bool | str | None = None
    first_label: int | None = None

    def over(self, reading: Reading) -> Reading:
        """The reading with these options in its place."""
        for kind, word, known in (
            ("box_format", self.box_format, BOX_FORMATS),
            ("scores", self.scores, ACTIVATIONS),
        ):
            if word is not None and word not in known:
                raise UnknownNameError(kind, str(word), list(known))
        if self.first_label not in (None, 0, 1):
            raise InputError(f"first_label: wanted 0 or 1, got {self.first_label!r}")
        options: dict[str, Any] = asdict(self)
        options |= {name: flag(name, options[name]) for name in ("normalised", "grid_offsets")}
        return replace(reading, **{k: v for k, v in options.items() if v is not None})


def read_classes(
    names: Sequence[str] | None, layout: Layout, roles: Roles, overrides: Overrides
) -> tuple[list[str], Reading]:
    """Names of the classes, and the reading with the right columns or labels for them."""
    if layout.needs_format and overrides.box_format is None:
        raise InputError(
            "ONNX detector: the boxes that NonMaxSuppression selects from may be y1 x1 y2 x2 "
            "(files of TensorFlow and Keras), x1 y1 x2 y2 (of PyTorch) or centre and size; give "
            "box_format='yxyx', 'xyxy' or 'cxcywh'"
        )
    reading = overrides.over(layout.reading)
    columns = layout.columns(roles) if layout.columns else None
    if names is None:
        counted = None if columns is None else columns - reading.n_extra
        if layout.class_names and counted in (None, len(layout.class_names)):
            return list(layout.class_names), reading
        first = reading.first_label or 0
        return [f"class {i + first}" for i in range(counted or _UNNAMED_CLASSES)], reading
    if names and _is_background(names[0]) and overrides.first_label is None:
        reading = replace(reading, first_label=0)
    if columns is None:
        if reading.first_label is None and len(names) > 1:
            raise InputError(
                f"class_names: the first, {names[0]!r}, may be label 0 or label 1 of this file "
                "(torchvision's count a background as 0); give first_label=0 or first_label=1"
            )
        return list(names), reading
    if (
        overrides.first_label == 0
        and len(names) == columns - reading.n_extra - 1
        and not _table(roles)
    ):
        reading = replace(reading, no_object=True)
    _check_count(len(names), columns - reading.n_extra, roles)
    return list(names), reading


def _check_count(named: int, counted: int, roles: Roles) -> None:
    """In tables, mask coefficients or keypoints may follow the classes: never one alone."""
    if named == counted or (_table(roles) and named < counted - 1):
        return
    problem = f"these have {counted} classes, and {named} are named"
    if named == counted - 1:
        problem += (
            " (one more may be an angle: rotated boxes cannot be read)"
            if _table(roles)
            else " (a background may be among them: give first_label=1 if it comes first, "
            "first_label=0 if it comes last)"
        )
    raise InputError(layouts_message(problem, list(roles.values())))


def _table(roles: Roles) -> bool:
    return "table" in roles


def _is_background(name: str) -> bool:
    return name.strip("_ ").lower() == "background"
