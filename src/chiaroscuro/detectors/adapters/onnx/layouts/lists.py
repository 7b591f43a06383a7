"""Layouts of several outputs: boxes, scores and labels, row by row."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Output, Roles, only
from chiaroscuro.detectors.adapters.onnx.layouts.grid import is_grid
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Feeding, Layout, Reading, Scene, item
from chiaroscuro.detectors.commons.rows import Rows

_COUNT = re.compile(r"(^|_)num(_|$)|num_?(dets|detections|predictions)|valid")


def _decode(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    """Boxes, scores and labels; of padded lists, only as many rows as the count."""
    boxes, scores, labels = (
        item(outputs[role], n) for role, n in (("boxes", 2), ("scores", 1), ("labels", 1))
    )
    n = int(outputs["count"].reshape(-1)[0]) if "count" in outputs else len(boxes)
    return scene.listed(boxes[:n], scores[:n], labels[:n])


def _decode_dets(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    dets, labels = item(outputs["boxes"], 2), item(outputs["labels"], 1)
    return scene.listed(dets[:, :4], dets[:, 4], labels)


def _decode_vectors(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    boxes, scores = item(outputs["boxes"], 2), item(outputs["scores"], 2)
    if scores.shape[0] != len(boxes):
        scores = scores.T
    return Rows.of_vectors(scene.boxes(boxes), scene.classes(scores))


def _decode_selected(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    """Boxes that the operator NonMaxSuppression selected, by picture, class and box number."""
    boxes, scores = item(outputs["boxes"], 2), item(outputs["scores"], 2)
    chosen = item(outputs["selected"], 2).long()
    chosen = chosen[(chosen >= 0).all(dim=1)]  # some exports pad with -1
    labels, numbers = chosen[:, 1], chosen[:, 2]
    return scene.listed(boxes[numbers], scores[labels, numbers], labels.float())


def _by_names(outputs: Sequence[Output], **wanted: str) -> Roles | None:
    """Outputs by name; None if one is missing."""
    named = {o.key: o for o in outputs}
    if not set(wanted.values()) <= set(named):
        return None
    return {role: named[name] for role, name in wanted.items()}


def _by_shapes(outputs: Sequence[Output]) -> Roles | None:
    """Boxes of four columns, with one list of whole numbers and one of floats."""
    boxes = only(outputs, lambda o: o.is_float and len(o.shape) in (2, 3) and o.shape[-1] == 4)
    if boxes is None:
        return None
    lists = [o for o in outputs if len(o.shape) == len(boxes.shape) - 1]
    lists = [o for o in lists if not _COUNT.search(o.key)]
    labels = only(lists, lambda o: not o.is_float)
    scores = only(lists, lambda o: o.is_float)
    return {"boxes": boxes, "labels": labels, "scores": scores} if labels and scores else None


def _roles_tensorflow(file: File) -> Roles | None:
    roles = _by_names(
        file.outputs,
        boxes="detection_boxes",
        scores="detection_scores",
        labels="detection_classes",
    )
    return roles and roles | (_by_names(file.outputs, count="num_detections") or {})


def _roles_ssd(file: File) -> Roles | None:
    roles = _by_names(file.outputs, boxes="bboxes", labels="labels", scores="scores")
    return roles if roles and roles["boxes"].shape[-1] == 4 else None


def _roles_efficient(file: File) -> Roles | None:
    """By name, else by shape: only this layout has an integer count."""
    count = only(file.outputs, lambda o: bool(_COUNT.search(o.key))) or only(
        file.outputs, lambda o: not o.is_float and o.shape[1:] in ((), (1,)) and len(o.shape) < 3
    )
    boxes = only(file.outputs, lambda o: o.is_float and o.shape[-1:] == (4,))
    if count is None or boxes is None or len(boxes.shape) != 3:
        return None
    lists = [o for o in file.outputs if len(o.shape) == 2 and o is not count]
    scores = only(lists, lambda o: "score" in o.key) or only(lists, lambda o: o.is_float)
    labels = only(lists, lambda o: "class" in o.key or "label" in o.key) or only(
        lists, lambda o: not o.is_float
    )
    if scores is None or labels is None or scores is labels:
        return None
    return {"boxes": boxes, "scores": scores, "labels": labels, "count": count}


def _roles_dets(file: File) -> Roles | None:
    dets = only(file.outputs, lambda o: o.is_float and o.shape[-1:] == (5,))
    labels = only(file.outputs, lambda o: not o.is_float)
    if dets is None or labels is None or len(labels.shape) != len(dets.shape) - 1:
        return None
    return {"boxes": dets, "labels": labels}


def _roles_detectron(file: File) -> Roles | None:
    size = only(file.outputs, lambda o: not o.is_float and o.shape == (2,))
    roles = _by_shapes([o for o in file.outputs if o is not size])
    return roles if size and roles and len(roles["boxes"].shape) == 2 else None


def _roles_boxes(file: File) -> Roles | None:
    """Boxes, labels and scores, by name or else by shape."""
    roles = _by_names(file.outputs, boxes="boxes", labels="labels", scores="scores")
    return roles or _by_shapes(file.outputs)


def _roles_selected(file: File) -> Roles | None:
    tables = [o for o in file.outputs if o.is_float and len(o.shape) == 3]
    selected = only(
        file.outputs,
        lambda o: not o.is_float and o.shape[-1:] == (3,) and len(o.shape) in (2, 3),
    )
    boxes = only(tables, lambda o: "box" in o.key) or only(tables, lambda o: o.shape[2] == 4)
    scores = only(tables, lambda o: o is not boxes)
    if not (selected and boxes and scores):
        return None
    return {"boxes": boxes, "scores": scores, "selected": selected}


def _roles_vectors(file: File) -> Roles | None:
    """Boxes and a score for every class, with a row or a column per cell."""
    tables = [o for o in file.outputs if o.is_float and len(o.shape) == 3]
    boxes = only(tables, lambda o: "box" in o.key and o.shape[2] == 4) or only(
        tables, lambda o: o.shape[2] == 4
    )
    scores = only(tables, lambda o: o is not boxes)
    if boxes is None or scores is None or boxes.shape[1] not in scores.shape[1:]:
        return None
    return {"boxes": boxes, "scores": scores}


def _vector_columns(roles: Roles) -> int | None:
    rows, sides = roles["boxes"].shape[1], roles["scores"].shape[1:]
    return (sides[1] if sides[0] == rows else sides[0]) or None


def _knows_boxes(for_sizes: bool) -> Callable[[File, Roles], bool]:
    specific = (_roles_tensorflow, _roles_ssd, _roles_efficient, _roles_detectron)

    def knows(file: File, roles: Roles) -> bool:
        fits_another = any(other(file) for other in specific)
        return not fits_another and ("orig_target_sizes" in file.inputs) == for_sizes

    return knows


def _knows_efficient(file: File, roles: Roles) -> bool:
    """TensorFlow Lite writes floats for the count; its boxes are y x y x in [0, 1]."""
    return not _roles_tensorflow(file) and not roles["count"].is_float


_BOXES = Layout(
    summary="boxes n x 4 x1 y1 x2 y2, labels n, scores n, after NMS (torchvision)",
    roles=_roles_boxes,
    knows=_knows_boxes(for_sizes=False),
    decode=_decode,
    reading=Reading(first_label=None),
    feeding=Feeding(letterbox=False, multiple=1),
)
_VECTORS = Layout(
    summary="boxes n x 4 x1 y1 x2 y2, scores n x classes, a row per cell, before NMS (YOLO-NAS)",
    roles=_roles_vectors,
    knows=lambda file, roles: is_grid(roles["boxes"].shape[1], file) and not _roles_selected(file),
    decode=_decode_vectors,
    before_nms=True,
    columns=_vector_columns,
)

_SELECTED = Layout(
    summary="boxes n x 4, scores classes x n, selected_indices k x 3: picture class box "
    "(operator NonMaxSuppression)",
    roles=_roles_selected,
    knows=lambda file, roles: "image_shape" not in file.inputs,
    decode=_decode_selected,
    columns=lambda roles: roles["scores"].shape[-2] or None,
    one_by_one=True,
    needs_format=True,
)

LISTS = {
    "torchvision": _BOXES,
    "dfine": replace(
        _BOXES,
        summary="boxes, labels, scores, scaled to the input orig_target_sizes (D-FINE, RT-DETR)",
        knows=_knows_boxes(for_sizes=True),
        reading=Reading(),
        feeding=Feeding(letterbox=False),
    ),
    "detectron2": replace(
        _BOXES,
        summary="boxes n x 4, classes n, scores n, size of the picture, after NMS (Detectron2)",
        roles=_roles_detectron,
        knows=lambda file, roles: True,
        reading=Reading(),
        feeding=Feeding(normalise="255", channel_order="bgr", letterbox=False, multiple=1),
    ),
    "mmdet": Layout(
        summary="dets n x 5 x1 y1 x2 y2 score, labels n, after NMS (MMDetection)",
        roles=_roles_dets,
        decode=_decode_dets,
        feeding=Feeding(normalise="imagenet", padding="top-left", padding_colour="mean"),
    ),
    "tf-ssd": Layout(
        summary="detection_boxes y1 x1 y2 x2 in [0, 1], detection_scores, detection_classes from "
        "1, num_detections, after NMS (TensorFlow)",
        roles=_roles_tensorflow,
        decode=_decode,
        reading=Reading(box_format="yxyx", normalised=True, first_label=1),
        feeding=Feeding(letterbox=False, normalise="255"),
    ),
    "ssd": Layout(
        summary="bboxes x1 y1 x2 y2 in [0, 1], labels from 1, scores, after NMS (SSD of the ONNX "
        "zoo)",
        roles=_roles_ssd,
        decode=_decode,
        reading=Reading(normalised=True, first_label=1),
        feeding=Feeding(letterbox=False, normalise="imagenet"),
    ),
    "efficientnms": Layout(
        summary="num_dets, det_boxes x1 y1 x2 y2, det_scores, det_classes, after NMS "
        "(EfficientNMS of TensorRT, YOLO-NAS in batches)",
        roles=_roles_efficient,
        knows=_knows_efficient,
        decode=_decode,
    ),
    "selected": _SELECTED,
    "yolov3": replace(
        _SELECTED,
        summary="as selected, y1 x1 y2 x2, with an input image_shape (YOLOv3 of the ONNX zoo)",
        knows=lambda file, roles: "image_shape" in file.inputs,
        reading=Reading(box_format="yxyx"),
        feeding=Feeding(padding_colour=128),
        needs_format=False,
    ),
    "yolonas": _VECTORS,
}
