"""What the outputs of an ONNX file mean.

A file says what its outputs are called and how large they are, not what they mean. What they mean
is a :class:`Layout`: recognised from names and shapes where these leave no doubt, named by the user
where they do.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from chiaroscuro.detectors.frames import Frame
from chiaroscuro.detectors.rows import Rows
from chiaroscuro.errors import InputError


class Output(NamedTuple):
    """One output of a file; only the first side may be 0, which means any."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float(self) -> bool:
        """Whether it holds floats of any width."""
        return "float" in self.dtype or "double" in self.dtype


Roles = dict[str, Output]  # which output plays which part in a layout
Decode = Callable[[dict[str, Tensor], Frame, int], Rows]  # of one picture, number of classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a family of exports means by its outputs, and how it wants its pictures.

    Attributes:
        summary: one line for messages.
        roles: which output plays which part; None where these outputs cannot be of this layout.
        decode: outputs of one picture, by role, as rows.
        before_nms: whether non-maximum suppression is left to the caller.
        n_classes: how many classes the shapes speak of; None if they do not.
        letterbox: whether pictures get bars or are stretched.
        normalise: how pixels are scaled.
        multiple: what sides must be a multiple of, where a file leaves them open.
    """

    summary: str
    roles: Callable[[Sequence[Output]], Roles | None]
    decode: Decode
    before_nms: bool = False
    n_classes: Callable[[Roles], int | None] = lambda _: None
    letterbox: bool = True
    normalise: str = "unit"
    multiple: int = 32


def _from_centre(boxes: Tensor) -> Tensor:
    """``cx cy w h`` as ``x1 y1 x2 y2``."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=1)


def _decode_nms6(outputs: dict[str, Tensor], frame: Frame, n_classes: int) -> Rows:
    table = outputs["table"]
    labels = table[:, 5]
    scores = torch.where(torch.isfinite(labels), table[:, 4], torch.nan)
    return Rows(table[:, :4], scores, labels.nan_to_num(0, 0, 0).round().long())


def _decode_yolov5(outputs: dict[str, Tensor], frame: Frame, n_classes: int) -> Rows:
    table = outputs["table"]
    return Rows.of_vectors(_from_centre(table[:, :4]), table[:, 5 : 5 + n_classes], table[:, 4])


def _decode_yolov8(outputs: dict[str, Tensor], frame: Frame, n_classes: int) -> Rows:
    table = outputs["table"].T
    return Rows.of_vectors(_from_centre(table[:, :4]), table[:, 4 : 4 + n_classes])


def _decode_detr(outputs: dict[str, Tensor], frame: Frame, n_classes: int) -> Rows:
    probabilities = outputs["logits"].softmax(dim=1)[:, :-1]
    return Rows.of_vectors(_from_unit(outputs["boxes"], frame), probabilities)


def _decode_rtdetr(outputs: dict[str, Tensor], frame: Frame, n_classes: int) -> Rows:
    return Rows.of_vectors(_from_unit(outputs["boxes"], frame), outputs["logits"].sigmoid())


def _from_unit(boxes: Tensor, frame: Frame) -> Tensor:
    height, width = frame.size
    return _from_centre(boxes) * boxes.new_tensor([width, height, width, height])


def _decode_torchvision(outputs: dict[str, Tensor], frame: Frame, n_classes: int) -> Rows:
    return Rows(outputs["boxes"], outputs["scores"], outputs["labels"].round().long())


def _only(outputs: Sequence[Output], wanted: Callable[[Output], bool]) -> Output | None:
    found = [output for output in outputs if wanted(output)]
    return found[0] if len(found) == 1 else None


def _the_table(outputs: Sequence[Output]) -> Output | None:
    return _only(outputs, lambda o: o.is_float and len(o.shape) in (2, 3))


def _roles_table(fits: Callable[..., bool]) -> Callable[[Sequence[Output]], Roles | None]:
    """One table, whose sides (batch, rows, columns; or rows, columns) fit."""

    def roles(outputs: Sequence[Output]) -> Roles | None:
        table = _the_table(outputs)
        return {"table": table} if table and fits(*table.shape) else None

    return roles


def _roles_detr(outputs: Sequence[Output]) -> Roles | None:
    tables = [o for o in outputs if o.is_float and len(o.shape) == 3]
    boxes = _only(tables, lambda o: "box" in o.name.lower()) or _only(
        tables, lambda o: o.shape[2] == 4
    )
    logits = _only(tables, lambda o: "logit" in o.name.lower()) or _only(
        tables, lambda o: o is not boxes
    )
    if boxes is None or logits is None or boxes is logits or boxes.shape[2] != 4:
        return None
    return {"boxes": boxes, "logits": logits}


def roles_torchvision(outputs: Sequence[Output]) -> Roles | None:
    """Boxes, labels and scores, by name or else by shape."""
    named = {o.name.lower(): o for o in outputs}
    if {"boxes", "labels", "scores"} <= set(named):
        return {role: named[role] for role in ("boxes", "labels", "scores")}
    boxes = _only(outputs, lambda o: o.is_float and len(o.shape) in (2, 3) and o.shape[-1] == 4)
    if boxes is None:
        return None
    lists = [o for o in outputs if len(o.shape) == len(boxes.shape) - 1]
    labels = _only(lists, lambda o: not o.is_float)
    scores = _only(lists, lambda o: o.is_float)
    return {"boxes": boxes, "labels": labels, "scores": scores} if labels and scores else None


LAYOUTS = {
    "nms6": Layout(
        summary="n x 6: x1 y1 x2 y2 score label, after NMS (YOLOv10, end-to-end exports)",
        roles=_roles_table(lambda *sides: sides[-1] == 6),
        decode=_decode_nms6,
    ),
    "yolov5": Layout(
        summary="n x (5 + classes): cx cy w h objectness classes, before NMS",
        roles=_roles_table(lambda *sides: len(sides) == 3 and sides[2] >= 6),
        decode=_decode_yolov5,
        before_nms=True,
        n_classes=lambda roles: roles["table"].shape[2] - 5,
    ),
    "yolov8": Layout(
        summary="(4 + classes) x n: cx cy w h classes, before NMS (also YOLO11)",
        roles=_roles_table(lambda *sides: len(sides) == 3 and sides[1] >= 5),
        decode=_decode_yolov8,
        before_nms=True,
        n_classes=lambda roles: roles["table"].shape[1] - 4,
    ),
    "detr": Layout(
        summary="logits with a last no-object class (softmax), boxes cx cy w h in [0, 1]",
        roles=_roles_detr,
        decode=_decode_detr,
        n_classes=lambda roles: roles["logits"].shape[2] - 1,
        letterbox=False,
        normalise="imagenet",
    ),
    "rtdetr": Layout(
        summary="logits, each class by itself (sigmoid), boxes cx cy w h in [0, 1]",
        roles=_roles_detr,
        decode=_decode_rtdetr,
        n_classes=lambda roles: roles["logits"].shape[2],
        letterbox=False,
    ),
    "torchvision": Layout(
        summary="boxes n x 4 x1 y1 x2 y2, labels n, scores n, after NMS (torchvision, D-FINE)",
        roles=roles_torchvision,
        decode=_decode_torchvision,
        letterbox=False,
        multiple=1,
    ),
}
_SIGMOID_FAMILY = re.compile(r"rt-?detr|d-?fine|deim|lw-?detr|rf-?detr|deformable|conditional|dino")
_SOFTMAX_FAMILY = re.compile(r"detr|yolos|table-?transformer")


def recognise(outputs: Sequence[Output], n_classes: int | None = None, hint: str = "") -> str:
    """The layout that names and shapes of the outputs speak for.

    Args:
        outputs: as the file declares them.
        n_classes: number of classes, where it is known from elsewhere.
        hint: any text that may name the architecture, such as the file's name.

    Raises:
        InputError: if no layout fits, or more than one; the message lists outputs and layouts.
    """
    fits: list[str] = []
    if roles_torchvision(outputs):
        fits = ["torchvision"]
    elif roles := _roles_detr(outputs):
        fits = _recognise_detr(roles["logits"].shape[2], n_classes, hint.lower().replace("_", "-"))
    elif table := _the_table(outputs):
        fits = _recognise_table(table.shape, n_classes)
    if len(fits) == 1:
        return fits[0]
    problem = f"these may be {' or '.join(fits)}" if fits else "these fit no layout"
    raise InputError(choose_layout(problem, outputs))


def _recognise_detr(columns: int, n_classes: int | None, hint: str) -> list[str]:
    if n_classes is not None and columns in (n_classes, n_classes + 1):
        return ["rtdetr" if columns == n_classes else "detr"]
    if _SIGMOID_FAMILY.search(hint):
        return ["rtdetr"]
    return ["detr"] if _SOFTMAX_FAMILY.search(hint) else ["detr", "rtdetr"]


def _recognise_table(shape: tuple[int, ...], n_classes: int | None) -> list[str]:
    rows, columns = shape[-2:]
    if len(shape) == 2:
        return ["nms6"] if columns == 6 else []
    if columns == 6:  # x1 y1 x2 y2 score label, or cx cy w h objectness and a single class
        if rows <= 300 or (n_classes or 0) > 1:
            return ["nms6"]
        return ["yolov5"] if rows > 1000 else ["nms6", "yolov5"]
    if rows < columns:
        return ["yolov8"] if rows >= 4 + (n_classes or 1) else []
    return ["yolov5"] if columns >= 5 + (n_classes or 1) else []


def choose_layout(problem: str, outputs: Sequence[Output]) -> str:
    """The message that lists what the file has and what there is to choose from."""
    listed = "\n".join(
        f"  {o.name}: {' x '.join(str(side or '?') for side in o.shape)}, {o.dtype}"
        for o in outputs
    )
    layouts = "\n".join(f"  {name}: {layout.summary}" for name, layout in LAYOUTS.items())
    return (
        f"ONNX detector: wanted outputs of a known layout, but {problem}. The file's outputs:\n"
        f"{listed}\nGive layout= one of\n{layouts}\nor write a function that returns boxes."
    )
