"""Layouts of the DETR family: a fixed set of queries, each with logits and a box in [0, 1]."""

import re
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from chiaroscuro.detectors.adapters.onnx.layouts.faces import is_ultraface
from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Roles, only
from chiaroscuro.detectors.adapters.onnx.layouts.grid import is_grid
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Feeding, Layout, Reading, Scene
from chiaroscuro.detectors.commons.rows import Rows

# Their image processors scale pixels to [0, 1]; the others normalise by ImageNet.
_UNIT_FAMILY = re.compile(r"rt-?detr|d-?fine|deim(?!-?v2)")
_SIGMOID_FAMILY = re.compile(
    r"lw-?detr|rf-?detr|deformable|conditional|dab-?detr|\bdino\b|\bdeta\b|deim-?v2"
)
_SOFTMAX_FAMILY = re.compile(r"detr|yolos|table-?transformer")


def _decode(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    return Rows.of_vectors(scene.boxes(outputs["boxes"]), scene.classes(outputs["logits"]))


def _roles(file: File) -> Roles | None:
    tables = [o for o in file.outputs if o.is_float and len(o.shape) == 3]
    boxes = only(tables, lambda o: "box" in o.key) or only(tables, lambda o: o.shape[2] == 4)
    logits = only(tables, lambda o: "logit" in o.key) or only(tables, lambda o: o is not boxes)
    if boxes is None or logits is None or boxes is logits or boxes.shape[2] != 4:
        return None
    return {"boxes": boxes, "logits": logits}


def _is_rfdetr(roles: Roles) -> bool:
    return (roles["boxes"].key, roles["logits"].key) == ("dets", "labels")


def _likely(file: File, roles: Roles) -> list[str]:
    words, n_classes = file.words, file.n_classes
    rows, columns = roles["boxes"].shape[1], roles["logits"].shape[2]
    if is_grid(rows, file) or is_ultraface(file, rows) or not _may_be_logits(file, roles):
        return []
    if _is_rfdetr(roles):
        return ["deformable"]
    if _UNIT_FAMILY.search(words):
        return ["rtdetr"]
    if _SIGMOID_FAMILY.search(words):
        return ["deformable"]
    if n_classes is not None and columns == n_classes + 1:
        return ["detr"]
    if n_classes is not None and columns == n_classes:
        return ["deformable"] if "pixel_mask" in file.inputs else ["rtdetr", "deformable"]
    return ["detr"] if _SOFTMAX_FAMILY.search(words) else ["detr", "rtdetr", "deformable"]


def _may_be_logits(file: File, roles: Roles) -> bool:
    finished = any(word in roles["logits"].key for word in ("score", "prob", "conf"))
    return not finished and all(output.is_float for output in file.outputs)


def _knows(name: str) -> Callable[[File, Roles], bool]:
    return lambda file, roles: name in _likely(file, roles)


_SIGMOID = Layout(
    summary="logits, each class for itself (sigmoid), boxes cx cy w h in [0, 1]; pixels in [0, 1] "
    "(RT-DETR, D-FINE, DEIM)",
    roles=_roles,
    knows=_knows("rtdetr"),
    decode=_decode,
    reading=Reading(box_format="cxcywh", normalised=True, scores="sigmoid"),
    feeding=Feeding(letterbox=False),
    columns=lambda roles: roles["logits"].shape[2] or None,
)

QUERIES = {
    "detr": replace(
        _SIGMOID,
        summary="logits with a last no-object class (softmax), boxes cx cy w h in [0, 1] "
        "(DETR, YOLOS)",
        knows=_knows("detr"),
        reading=replace(_SIGMOID.reading, scores="softmax", no_object=True),
        feeding=Feeding(letterbox=False, normalise="imagenet"),
    ),
    "rtdetr": _SIGMOID,
    "deformable": replace(
        _SIGMOID,
        summary="as rtdetr, normalised by ImageNet (Deformable, Conditional, LW-, RF-DETR, DINO)",
        knows=_knows("deformable"),
        feeding=Feeding(letterbox=False, normalise="imagenet"),
    ),
}
