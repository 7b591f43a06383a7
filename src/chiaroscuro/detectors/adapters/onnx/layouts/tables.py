"""Layouts of one table: a row, or a column, holds a box, its scores, its label."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from chiaroscuro.detectors.adapters.onnx.layouts.layout import (
    Feeding,
    File,
    Layout,
    Output,
    Reading,
    Roles,
    Scene,
    is_grid,
    item,
    looks_raw,
    only,
)
from chiaroscuro.detectors.commons.rows import Rows

_MOST_FOUND = 300  # rows after NMS; before it there are more
_COCO_COLUMNS = 84  # a box and 80 classes, or a box, objectness and 79


def _decode_yolov8(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    return _box_and_classes(outputs["table"].T, scene)


def _decode_transposed(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    return _box_and_classes(outputs["table"], scene)


def _box_and_classes(table: Tensor, scene: Scene) -> Rows:
    return Rows.of_vectors(scene.boxes(table[:, :4]), scene.classes(table[:, 4:]))


def _decode_yolov5(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    table = outputs["table"]
    objectness = scene.activated(table[:, 4])
    return Rows.of_vectors(scene.boxes(table[:, :4]), scene.classes(table[:, 5:]), objectness)


def _decode_yolox(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    table, reading = outputs["table"], scene.reading
    if reading.grid_offsets is None:
        raw = looks_raw(table[:, :4], table[:, 4])
        scene = scene._replace(reading=replace(reading, grid_offsets=raw))
    return _decode_yolov5(outputs, scene)


def _listed(boxes: slice, score: int, label: int) -> Callable[[dict[str, Tensor], Scene], Rows]:
    """A decoder of rows that hold a box, a score and a label in these columns."""

    def decode(outputs: dict[str, Tensor], scene: Scene) -> Rows:
        table = item(outputs["table"], 2)
        return scene.listed(table[:, boxes], table[:, score], table[:, label])

    return decode


def the_table(file: File) -> Output | None:
    """The only output of floats with rows and columns."""
    return only(file.outputs, lambda o: o.is_float and len(o.shape) in (2, 3))


def _roles(fits: Callable[..., bool]) -> Callable[[File], Roles | None]:
    """One table, whose sides (batch, rows, columns; or rows, columns) fit."""

    def roles(file: File) -> Roles | None:
        table = the_table(file)
        return {"table": table} if table and fits(*table.shape) else None

    return roles


def _knows(name: str) -> Callable[[File, Roles], bool]:
    return lambda file, roles: name in likely(file, roles["table"])


def likely(file: File, table: Output) -> list[str]:
    """Layouts that the sides of a table speak for."""
    rows, columns = table.shape[-2:]
    n_classes, least = file.n_classes, file.n_classes or 1
    if is_paddle(file, table):
        return ["paddle-unit" if "plus" in file.words or "detr" in file.words else "paddle"]
    if len(table.shape) == 2:
        return {6: ["nms6"], 7: [_with_seven(table.key)]}.get(columns, [])
    if columns == 0:
        return []
    if "yolox" in file.words and columns >= 5 + least:
        return ["yolox"]
    if is_grid(rows, file):
        return _likely_on_grid(file, table)
    if is_grid(rows, file, per_cell=3):
        return ["yolov5"] if columns >= 5 + least else []
    if columns != 6 and (is_grid(columns, file) or rows < columns):
        return ["yolov8"] if rows >= 4 + least else []
    if "rtdetr" in file.words.replace("-", "") or (n_classes and columns == 4 + n_classes != 6):
        return ["rtdetr-table"] if columns >= 4 + least else []
    return _likely_rows(file, rows, columns)


def _likely_rows(file: File, rows: int, columns: int) -> list[str]:
    """Layouts of a table of more rows than columns that no grid explains."""
    least = file.n_classes or 1
    # with anchors or without: shapes of an unknown input say neither
    before_nms = ["yolov5"] if 0 in file.size or "yolov" in file.words else ["yolov5", "yolox"]
    if columns == 6:  # x1 y1 x2 y2 score label, or cx cy w h objectness and a single class
        if rows <= _MOST_FOUND or least > 1:
            return ["nms6"]
        return before_nms if rows > 1000 else ["nms6", *before_nms]
    if columns < 5 + least:
        return []
    if rows <= _MOST_FOUND and columns == 7 and file.n_classes != 2:
        return ["yolov7", "flat7", *before_nms]
    return before_nms


def _with_seven(key: str) -> str:
    """Of the layouts with seven columns, the one that the output's name speaks for."""
    if "batchno" in key:
        return "pinto7"
    return "flat7" if "flat" in key else "yolov7"


def _likely_on_grid(file: File, table: Output) -> list[str]:
    """Layouts of a table with one row a cell: without anchors."""
    columns, n_classes = table.shape[2], file.n_classes
    if columns == 5 or (n_classes and columns == 4 + n_classes):
        return ["transposed"]
    if n_classes is None and columns == _COCO_COLUMNS and "yolox" not in file.words:
        return ["yolox", "transposed"]
    if "yolov6" in file.words or _objectness_is_one(file.on_blank(table.name)):
        return ["yolov5"]
    return ["yolox"] if columns >= 5 + (n_classes or 1) else []


def _objectness_is_one(values: Any) -> bool:
    """Whether column 4 says nothing, as in exports of YOLOv6."""
    return values is not None and bool((np.asarray(values)[..., 4] == 1).all())


def is_paddle(file: File, table: Output) -> bool:
    """Whether PaddleDetection wrote the file, told by its inputs or its outputs."""
    inputs = {"im_shape", "scale_factor"} & file.inputs
    return bool(table.shape[-1] == 6 and (inputs or "multiclass_nms" in table.key))


def _columns(axis: int, before: int) -> Callable[[Roles], int | None]:
    return lambda roles: max(roles["table"].shape[axis] - before, 0) or None


_CENTRED = Reading(box_format="cxcywh")
_PADDLE = Layout(
    summary="n x 6: label score x1 y1 x2 y2, after NMS (PaddleDetection)",
    roles=_roles(lambda *sides: sides[-1] == 6),
    knows=_knows("paddle"),
    decode=_listed(slice(2, 6), score=1, label=0),
    feeding=Feeding(normalise="imagenet", letterbox=False),
    one_by_one=True,
)

TABLES = {
    "nms6": Layout(
        summary="n x 6: x1 y1 x2 y2 score label, after NMS (YOLOv10, end-to-end exports)",
        roles=_roles(lambda *sides: sides[-1] == 6),
        knows=_knows("nms6"),
        decode=_listed(slice(0, 4), score=4, label=5),
    ),
    "yolov5": Layout(
        summary="n x (5 + classes): cx cy w h objectness classes, before NMS (also YOLOv6, YOLOv7)",
        roles=_roles(lambda *sides: len(sides) == 3 and sides[2] >= 6),
        knows=_knows("yolov5"),
        decode=_decode_yolov5,
        reading=_CENTRED,
        before_nms=True,
        columns=_columns(2, 5),
    ),
    "yolox": Layout(
        summary="n x (5 + classes), a row a cell: cx cy w h objectness classes, raw or decoded, "
        "before NMS (YOLOX)",
        roles=_roles(lambda *sides: len(sides) == 3 and sides[2] >= 6),
        knows=_knows("yolox"),
        decode=_decode_yolox,
        reading=replace(_CENTRED, grid_offsets=None),
        feeding=Feeding(normalise="255", channel_order="bgr", padding="top-left"),
        before_nms=True,
        columns=_columns(2, 5),
    ),
    "yolov8": Layout(
        summary="(4 + classes) x n: cx cy w h classes, before NMS (also YOLO11)",
        roles=_roles(lambda *sides: len(sides) == 3 and sides[1] >= 5),
        knows=_knows("yolov8"),
        decode=_decode_yolov8,
        reading=_CENTRED,
        before_nms=True,
        columns=_columns(1, 4),
    ),
    "transposed": Layout(
        summary="n x (4 + classes): cx cy w h classes, before NMS (YOLOv8 with rows for columns)",
        roles=_roles(lambda *sides: len(sides) == 3 and sides[2] >= 5),
        knows=_knows("transposed"),
        decode=_decode_transposed,
        reading=_CENTRED,
        before_nms=True,
        columns=_columns(2, 4),
    ),
    "rtdetr-table": Layout(
        summary="n x (4 + classes): cx cy w h in [0, 1], classes (RT-DETR of Ultralytics)",
        roles=_roles(lambda *sides: len(sides) == 3 and sides[2] >= 5),
        knows=_knows("rtdetr-table"),
        decode=_decode_transposed,
        reading=replace(_CENTRED, normalised=True),
        feeding=Feeding(letterbox=False),
        columns=_columns(2, 4),
    ),
    "yolov7": Layout(
        summary="n x 7: picture x1 y1 x2 y2 label score, after NMS (YOLOv7 end-to-end)",
        roles=_roles(lambda *sides: sides[-1] == 7),
        knows=_knows("yolov7"),
        decode=_listed(slice(1, 5), score=6, label=5),
        one_by_one=True,
    ),
    "flat7": Layout(
        summary="n x 7: picture x1 y1 x2 y2 score label, after NMS (YOLO-NAS, flat)",
        roles=_roles(lambda *sides: sides[-1] == 7),
        knows=_knows("flat7"),
        decode=_listed(slice(1, 5), score=5, label=6),
        one_by_one=True,
    ),
    "pinto7": Layout(
        summary="n x 7: picture label score x1 y1 x2 y2, after NMS (PINTO model zoo)",
        roles=_roles(lambda *sides: sides[-1] == 7),
        knows=_knows("pinto7"),
        decode=_listed(slice(3, 7), score=2, label=1),
        one_by_one=True,
    ),
    "paddle": _PADDLE,
    "paddle-unit": replace(
        _PADDLE,
        summary="as paddle, of networks fed with pixels in [0, 1] (PP-YOLOE+, RT-DETR)",
        knows=_knows("paddle-unit"),
        feeding=Feeding(letterbox=False),
    ),
}
