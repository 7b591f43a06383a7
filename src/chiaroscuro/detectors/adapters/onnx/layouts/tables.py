"""Layouts of one table: a row or a column holds a box, its scores, its label."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Output, Roles, only
from chiaroscuro.detectors.adapters.onnx.layouts.grid import is_grid, looks_raw
from chiaroscuro.detectors.adapters.onnx.layouts.layout import (
    Decode,
    Feeding,
    Layout,
    Reading,
    Scene,
    item,
)
from chiaroscuro.detectors.commons.rows import Rows

_MOST_FOUND = 300  # rows after NMS; before it there are more
_COCO_COLUMNS = 84  # a box and 80 classes, or a box, objectness and 79


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


def _roles(fits: Callable[..., bool]) -> Callable[[File], Roles | None]:
    """The only output with rows and columns, if its sides (batch, rows, columns) fit."""

    def roles(file: File) -> Roles | None:
        table = only(file.outputs, lambda o: o.is_float and len(o.shape) in (2, 3))
        return {"table": table} if table and fits(*table.shape) else None

    return roles


def _knows(name: str) -> Callable[[File, Roles], bool]:
    return lambda file, roles: name in _likely(file, roles["table"])


def _likely(file: File, table: Output) -> list[str]:
    """Layouts that the sides of a table indicate."""
    rows, columns = table.shape[-2:]
    n_classes, least = file.n_classes, file.n_classes or 1
    if _is_paddle(file, table):
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
    # shapes of an unknown input do not show whether there are anchors
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
    """Of the layouts with seven columns, the one that the output's name indicates."""
    if "batchno" in key:
        return "pinto7"
    return "flat7" if "flat" in key else "yolov7"


def _likely_on_grid(file: File, table: Output) -> list[str]:
    """Layouts of a table with one row per cell: without anchors."""
    columns, n_classes = table.shape[2], file.n_classes
    if columns == 5 or (n_classes and columns == 4 + n_classes):
        return ["transposed"]
    if n_classes is None and columns == _COCO_COLUMNS and "yolox" not in file.words:
        return ["yolox", "transposed"]
    if "yolov6" in file.words or _objectness_is_one(file.on_blank(table.name)):
        return ["yolov5"]
    return ["yolox"] if columns >= 5 + (n_classes or 1) else []


def _objectness_is_one(values: Any) -> bool:
    """Whether column 4 is 1 throughout, as in exports of YOLOv6."""
    return values is not None and bool((np.asarray(values)[..., 4] == 1).all())


def _is_paddle(file: File, table: Output) -> bool:
    """Whether PaddleDetection wrote the file, by its inputs or its outputs."""
    inputs = {"im_shape", "scale_factor"} & file.inputs
    return bool(table.shape[-1] == 6 and (inputs or "multiclass_nms" in table.key))


def _before_nms(
    summary: str, decode: Decode, first: int, *, axis: int = 2, **options: Any
) -> Layout:
    """Of boxes ``cx cy w h``, by row or (axis 1) by column; classes begin at ``first``."""
    options = {"reading": _CENTRED, "before_nms": True, **options}
    return Layout(
        summary=summary,
        roles=_roles(lambda *sides: len(sides) == 3 and sides[axis] > first),
        decode=decode,
        columns=lambda roles: max(roles["table"].shape[axis] - first, 0) or None,
        **options,
    )


def _after_nms(columns: str, families: str, *, one_by_one: bool = True, **options: Any) -> Layout:
    """Of rows with these columns: one detection each."""
    names = columns.split()
    first, score, label = (names.index(name) for name in ("x1", "score", "label"))

    def decode(outputs: dict[str, Tensor], scene: Scene) -> Rows:
        table = item(outputs["table"], 2)
        return scene.listed(table[:, first : first + 4], table[:, score], table[:, label])

    return Layout(
        summary=f"n x {len(names)}: {columns}, after NMS ({families})",
        roles=_roles(lambda *sides: sides[-1] == len(names)),
        decode=decode,
        one_by_one=one_by_one,
        **options,
    )


_CENTRED = Reading(box_format="cxcywh")
_LAYOUTS = {
    "nms6": _after_nms("x1 y1 x2 y2 score label", "YOLOv10, end-to-end exports", one_by_one=False),
    "yolov5": _before_nms(
        "n x (5 + classes): cx cy w h objectness classes, before NMS (also YOLOv6, YOLOv7)",
        _decode_yolov5,
        5,
    ),
    "yolox": _before_nms(
        "n x (5 + classes), a row per cell: cx cy w h objectness classes, raw or decoded, before "
        "NMS (YOLOX)",
        _decode_yolox,
        5,
        reading=replace(_CENTRED, grid_offsets=None),
        feeding=Feeding(normalise="255", channel_order="bgr", padding="top-left"),
    ),
    "yolov8": _before_nms(
        "(4 + classes) x n: cx cy w h classes, before NMS (also YOLO11)",
        lambda outputs, scene: _box_and_classes(outputs["table"].T, scene),
        4,
        axis=1,
    ),
    "transposed": _before_nms(
        "n x (4 + classes): cx cy w h classes, before NMS (YOLOv8 with rows for columns)",
        lambda outputs, scene: _box_and_classes(outputs["table"], scene),
        4,
    ),
    "rtdetr-table": _before_nms(
        "n x (4 + classes): cx cy w h in [0, 1], classes (RT-DETR of Ultralytics)",
        lambda outputs, scene: _box_and_classes(outputs["table"], scene),
        4,
        before_nms=False,
        reading=replace(_CENTRED, normalised=True),
        feeding=Feeding(letterbox=False),
    ),
    "yolov7": _after_nms("picture x1 y1 x2 y2 label score", "YOLOv7 end-to-end"),
    "flat7": _after_nms("picture x1 y1 x2 y2 score label", "YOLO-NAS, flat"),
    "pinto7": _after_nms("picture label score x1 y1 x2 y2", "PINTO model zoo"),
    "paddle": _after_nms(
        "label score x1 y1 x2 y2",
        "PaddleDetection",
        feeding=Feeding(normalise="imagenet", letterbox=False),
    ),
    "paddle-unit": _after_nms(
        "label score x1 y1 x2 y2",
        "PaddleDetection with pixels in [0, 1]: PP-YOLOE+, RT-DETR",
        feeding=Feeding(letterbox=False),
    ),
}
TABLES = {name: replace(layout, knows=_knows(name)) for name, layout in _LAYOUTS.items()}
