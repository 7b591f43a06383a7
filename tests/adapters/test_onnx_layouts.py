"""Every layout as a small file that finds the red rectangle of a picture that is not square.

Each graph undoes the scaling that its family expects before it looks for red, writes what it found
as that family does, and must give back the box that was drawn, to a pixel, and its class.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from onnx_graphs import (
    BOX,
    BYTE,
    FLOAT,
    HALF,
    IMAGE,
    INT,
    OTHER,
    Graph,
    centre,
    find_red,
    picture,
)

from chiaroscuro.core.errors import DetectorOutputError, InputError
from chiaroscuro.detectors.adapters.onnx import OnnxDetector
from chiaroscuro.detectors.adapters.onnx.layouts.choosing import LAYOUTS, recognise
from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Output
from chiaroscuro.detectors.adapters.onnx.layouts.grid import centres

SIZE = HEIGHT, WIDTH = 64, 96
CELLS = len(centres(SIZE, (8, 16, 32)))
CELL = 17  # the fifth cell of the second row of 8 px: where the row of the box stands
GREEN, BLUE = 0.8, 0.5

# What undoes each way to feed a network.


def unit(g, x):
    return x


def of_255(g, x):
    return g("Div", x, 255.0)


def bgr_255(g, x):
    return g("Concat", *reversed(g("Split", of_255(g, x), n=3, axis=1, num_outputs=3)), axis=1)


def standardised(mean, deviation):
    def undo(g, x):
        column = (1, 3, 1, 1)
        scale, shift = (
            np.broadcast_to(np.reshape(v, (1, -1, 1, 1)), column) for v in (deviation, mean)
        )
        return g("Add", g("Mul", x, np.array(scale)), np.array(shift))

    return undo


imagenet = standardised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
by_127 = standardised([127 / 255], [128 / 255])
by_127_5 = standardised([127.5 / 255], [128 / 255])


def bytes_last(g, x):
    return g("Transpose", of_255(g, g("Cast", x, to=FLOAT)), perm=[0, 3, 1, 2])


def single_bgr_255(g, x):
    return bgr_255(g, g("Unsqueeze", x, [0]))


def normalised(g, box, width, height):
    sides = (width, height, width, height)
    return [g("Div", c, s) for c, s in zip(box, sides, strict=True)]


def like(g, value, number):
    """A number for each picture, ``n 1``."""
    return g("Add", g("Mul", value, 0.0), float(number))


def row(g, *columns):
    """``n 1 columns``."""
    return g("Unsqueeze", g("Concat", *columns, axis=1), [1])


def put(g, rows, n, at):
    """``n rows columns``: zeros but for one row."""
    place = np.zeros((1, n, 1), dtype=np.float32)
    place[0, at] = 1
    return g("Mul", rows, place)


def padded(g, rows, n=3):
    """Zeros below."""
    return g("Concat", rows, *[g("Mul", rows, 0.0)] * (n - 1), axis=1)


def raw(g, box, at=CELL):
    """Offsets from a cell, and logarithms of the size, in its stride."""
    x, y, stride = (float(v) for v in centres(SIZE, (8, 16, 32))[at])
    cx, cy, w, h = centre(g, box)
    places = [g("Div", g("Sub", c, corner), stride) for c, corner in ((cx, x), (cy, y))]
    return [*places, *[g("Log", g("Div", g("Max", s, 1e-3), stride)) for s in (w, h)]]


# Each head: graph and picture in, outputs by name as (value, shape, type) out.


def yolox_decoded(g, x):
    box, _, _, (red, *classes) = find_red(g, x)
    table = put(g, row(g, *centre(g, box), red, *classes), CELLS, CELL)
    return {"output": (table, ["n", CELLS, 7], FLOAT)}


def yolox_raw(g, x):
    box, _, _, (red, *classes) = find_red(g, x)
    table = put(g, row(g, *raw(g, box), red, *classes), CELLS, CELL)
    return {"output": (table, ["n", CELLS, 7], FLOAT)}


def yolov6(g, x):
    """As YOLOX in shape; its objectness is always 1."""
    box, _, _, (_, *classes) = find_red(g, x)
    table = put(g, row(g, *centre(g, box), like(g, classes[0], 0), *classes), CELLS, CELL)
    ones = np.reshape([0.0, 0, 0, 0, 1, 0, 0], (1, 1, 7))
    return {"outputs": (g("Add", table, ones), ["n", CELLS, 7], FLOAT)}


def yolov8(g, x):
    box, _, _, (_, *classes) = find_red(g, x)
    table = put(g, row(g, *centre(g, box), *classes), CELLS, CELL)
    return {"output0": (g("Transpose", table, perm=[0, 2, 1]), ["n", 6, CELLS], FLOAT)}


def transposed(g, x):
    box, _, _, (_, *classes) = find_red(g, x)
    return {"o": (put(g, row(g, *centre(g, box), *classes), CELLS, CELL), ["n", CELLS, 6], FLOAT)}


def yolov5(g, x):
    box, _, _, (red, *classes) = find_red(g, x)
    table = put(g, row(g, *centre(g, box), red, *classes), 3 * CELLS, CELL)
    return {"output": (table, ["n", 3 * CELLS, 7], FLOAT)}


def rtdetr_table(g, x):
    box, width, height, (_, *classes) = find_red(g, x)
    unit_box = normalised(g, centre(g, box), width, height)
    return {"output0": (padded(g, row(g, *unit_box, *classes), 300), ["n", 300, 6], FLOAT)}


def yolonas(g, x):
    box, _, _, (_, *classes) = find_red(g, x)
    return {
        "904": (put(g, row(g, *box), CELLS, CELL), ["n", CELLS, 4], FLOAT),
        "913": (put(g, row(g, *classes), CELLS, CELL), ["n", CELLS, 2], FLOAT),
    }


def rows_of_one(g, *columns):
    """``k columns`` without a batch axis."""
    return g("Concat", *columns, axis=1)


def flat_predictions(g, x):
    box, _, _, (_, green, _) = find_red(g, x)
    table = rows_of_one(g, like(g, green, 0), *box, green, like(g, green, 1))
    return {"graph2_flat_predictions": (table, ["k", 7], FLOAT)}


def yolov7_end_to_end(g, x):
    box, _, _, (_, green, _) = find_red(g, x)
    table = rows_of_one(g, like(g, green, 0), *box, like(g, green, 1), green)
    return {"output": (table, ["k", 7], FLOAT)}


def pinto(g, x):
    box, _, _, (_, green, _) = find_red(g, x)
    table = rows_of_one(g, like(g, green, 0), like(g, green, 1), green, *box)
    return {"batchno_classid_score_x1y1x2y2": (table, ["k", 7], FLOAT)}


def nms6(g, x):
    box, _, _, (_, green, _) = find_red(g, x)
    table = padded(g, row(g, *box, green, like(g, green, 1)), 300)
    return {"output0": (table, ["n", 300, 6], FLOAT)}


def paddle(g, x):
    """Divides by the scale it is given, as its exports do."""
    box, _, _, (_, green, _) = find_red(g, x)
    scale = g("Gather", g("Concat", "scale_factor", "scale_factor", axis=1), [1, 0, 1, 0], axis=1)
    table = rows_of_one(g, like(g, green, 1), green, g("Div", g("Concat", *box, axis=1), scale))
    return {
        "multiclass_nms3_0.tmp_0": (table, ["k", 6], FLOAT),
        "multiclass_nms3_0.tmp_2": (np.array([1]), ["n"], INT),
    }


def queries(g, box, width, height, logits):
    unit_box = normalised(g, centre(g, box), width, height)
    return {
        "logits": (row(g, *logits), ["n", 1, len(logits)], FLOAT),
        "pred_boxes": (row(g, *unit_box), ["n", 1, 4], FLOAT),
    }


def detr(g, x):
    """Logits whose softmax, the no-object class last, gives green and what is left."""
    box, width, height, (_, green, _) = find_red(g, x)
    logits = [g("Log", g("Max", v, 1e-6)) for v in (like(g, green, 0), green, g("Sub", 1.0, green))]
    return queries(g, box, width, height, logits)


def sigmoid(g, x):
    box, width, height, (_, *classes) = find_red(g, x)
    odds = [g("Div", c, g("Sub", 1.001, c)) for c in reversed(classes)]
    return queries(g, box, width, height, [g("Log", g("Max", o, 1e-6)) for o in odds])


def rfdetr(g, x):
    found = sigmoid(g, x)
    return {"dets": found["pred_boxes"], "labels": found["logits"]}


def lists(g, boxes, score, label, names, kind=INT):
    """Padded lists with a batch axis."""
    boxes, score, label = (padded(g, v) for v in (boxes, score, label))
    label = g("Cast", label, to=kind) if kind != FLOAT else label
    names = dict(zip(("boxes", "scores", "labels"), names, strict=True))
    return {
        names["boxes"]: (boxes, ["n", 3, 4], FLOAT),
        names["labels"]: (label, ["n", 3], kind),
        names["scores"]: (score, ["n", 3], FLOAT),
    }


def tf_ssd(g, x):
    box, width, height, (_, green, _) = find_red(g, x)
    x1, y1, x2, y2 = normalised(g, box, width, height)
    names = ("detection_boxes:0", "detection_scores:0", "detection_classes:0")
    label = like(g, green, 2)
    found = lists(g, row(g, y1, x1, y2, x2), green, label, names, kind=FLOAT)
    count = g("Squeeze", like(g, green, 1), [1])
    return found | {"num_detections:0": (count, ["n"], FLOAT)}


def ssd(g, x):
    box, width, height, (_, green, _) = find_red(g, x)
    unit_box = row(g, *normalised(g, box, width, height))
    return lists(g, unit_box, green, like(g, green, 2), ("bboxes", "scores", "labels"))


def efficientnms(g, x):
    """Padded with what is no detection: the count says so."""
    box, _, _, (_, green, _) = find_red(g, x)
    names = ("det_boxes", "det_scores", "det_classes")
    found = lists(g, row(g, *box), green, like(g, green, 1), names)
    scores, shape, kind = found["det_scores"]
    found["det_scores"] = (g("Max", scores, 0.3), shape, kind)
    count = g("Cast", like(g, green, 1), to=INT)
    return {"num_dets": (count, ["n", 1], INT)} | found


def yolonas_batched(g, x):
    named = efficientnms(g, x)
    prefix = "graph2_"
    return {
        prefix + "num_predictions": named["num_dets"],
        prefix + "pred_boxes": named["det_boxes"],
        prefix + "pred_scores": named["det_scores"],
        prefix + "pred_classes": named["det_classes"],
    }


def mmdet(g, x):
    box, _, _, (_, green, _) = find_red(g, x)
    label = g("Cast", padded(g, like(g, green, 1)), to=INT)
    return {
        "dets": (padded(g, row(g, *box, green)), ["n", "k", 5], FLOAT),
        "labels": (label, ["n", "k"], INT),
    }


def torchvision(g, x):
    box, _, _, (_, green, _) = find_red(g, x)
    ordered = [g("Min", box[0], box[2]), g("Min", box[1], box[3]), box[2], box[3]]
    label = g("Cast", like(g, green, 1), to=INT)
    return {
        "3157": (rows_of_one(g, *ordered), ["k", 4], FLOAT),
        "3168": (g("Squeeze", label, [1]), ["k"], INT),
        "3169": (g("Squeeze", green, [1]), ["k"], FLOAT),
    }


def detectron2(g, x):
    size = g("Slice", g("Shape", x), [2], [4])
    return torchvision(g, x) | {"3200": (size, [2], INT)}


def dfine(g, x):
    """Boxes are scaled to a size, width first, that is given."""
    box, width, height, (_, green, _) = find_red(g, x)
    size = g("Cast", "orig_target_sizes", to=FLOAT)
    unit_box = g("Concat", *normalised(g, box, width, height), axis=1)
    boxes = g("Mul", unit_box, g("Concat", size, size, axis=1))
    return lists(
        g, g("Unsqueeze", boxes, [1]), green, like(g, green, 1), ("boxes", "scores", "labels")
    )


def selected(g, x):
    """Every box and score, and which of them the operator NonMaxSuppression picked."""
    box, _, _, (_, *classes) = find_red(g, x, above=0.6)
    x1, y1, x2, y2 = box
    boxes = put(g, row(g, y1, x1, y2, x2), 8, 5)
    scores = g("Transpose", put(g, row(g, *reversed(classes)), 8, 5), perm=[0, 2, 1])
    chosen = g("NonMaxSuppression", boxes, scores, np.array([9]), np.array([0.5]), np.array([0.1]))
    return {
        "boxes": (boxes, [1, 8, 4], FLOAT),
        "scores": (scores, [1, 2, 8], FLOAT),
        "selected_indices": (chosen, ["k", 3], INT),
    }


def yolov3(g, x):
    """Boxes come back in pixels of the picture whose size is given, height first."""
    found = selected(g, x)
    network = g("Cast", g("Slice", g("Shape", x), [2], [4]), to=FLOAT)
    ratio = g("Div", "image_shape", network)
    boxes, shape, kind = found["boxes"]
    boxes = g("Mul", boxes, g("Unsqueeze", g("Concat", ratio, ratio, axis=1), [1]))
    names = ("yolonms_layer_1", "yolonms_layer_1:1", "yolonms_layer_1:2")
    values = [(boxes, shape, kind), found["scores"], found["selected_indices"]]
    return dict(zip(names, values, strict=True))


def ultraface(g, x):
    n = 12 * 8 * 3 + 6 * 4 * 2 + 3 * 2 * 2 + 2 * 1 * 3
    box, width, height, (_, green, _) = find_red(g, x)
    scores = row(g, g("Sub", 1.0, green), green)
    return {
        "scores": (put(g, scores, n, 40), ["n", n, 2], FLOAT),
        "boxes": (put(g, row(g, *normalised(g, box, width, height)), n, 40), ["n", n, 4], FLOAT),
    }


def pyramid(g, per_cell, **parts):
    """Every part as one output a stride, the row of the box at a cell of the middle stride."""
    outputs = {}
    for name, (rows, columns) in parts.items():
        for stride in (8, 16, 32):
            n = per_cell * (HEIGHT // stride) * (WIDTH // stride)
            here = stride == 16
            value = put(g, rows if here else g("Mul", rows, 0.0), n, 7 * per_cell * here)
            outputs[f"{name}_{stride}"] = (value, ["n", n, columns], FLOAT)
    return outputs


MIDDLE = 96 + 7  # the cell of the middle stride in all cells


def scrfd(g, x):
    """Distances from a cell's corner to the sides; no batch axis, as InsightFace writes it."""
    (x1, y1, x2, y2), _, _, (_, green, _) = find_red(g, x)
    cx, cy = (float(v) for v in centres(SIZE, (8, 16, 32))[MIDDLE][:2])
    sides = [g("Sub", cx, x1), g("Sub", cy, y1), g("Sub", x2, cx), g("Sub", y2, cy)]
    distances = g("Div", row(g, *sides), 16.0)
    points = row(g, *[like(g, green, 0)] * 10)
    found = pyramid(g, 2, score=(row(g, green), 1), bbox=(distances, 4), kps=(points, 10))
    return {
        str(440 + i): (g("Squeeze", value, [0]), shape[1:], kind)
        for i, (value, shape, kind) in enumerate(found.values())
    }


def yunet(g, x):
    box, _, _, (red, green, _) = find_red(g, x)
    points = row(g, *[like(g, green, 0)] * 10)
    offsets = row(g, *raw(g, box, MIDDLE))
    score = row(g, g("Mul", green, green))
    return pyramid(g, 1, cls=(score, 1), obj=(row(g, red), 1), bbox=(offsets, 4), kps=(points, 10))


class Case(NamedTuple):
    """A layout, how its network is fed, and what it finds beside the box."""

    head: Callable[..., Any]
    layout: str
    before: Callable[..., Any] = unit
    label: int = 0
    options: Mapping[str, Any] = MappingProxyType({})
    n_images: int | str = "n"
    extras: tuple[str, ...] = ()
    input_shape: tuple[Any, ...] | None = None
    kind: int = FLOAT


TWO = {"class_names": ("a", "b")}
CASES = {
    "YOLOX decoded": Case(yolox_decoded, "yolox", bgr_255),
    "YOLOX raw": Case(yolox_raw, "yolox", bgr_255),
    "YOLOv5, YOLOv7": Case(yolov5, "yolov5"),
    "YOLOv6": Case(yolov6, "yolov5"),
    "YOLOv8, YOLO11": Case(yolov8, "yolov8"),
    "YOLOv8 with rows for columns": Case(transposed, "transposed", options=TWO),
    "RT-DETR of Ultralytics": Case(
        rtdetr_table, "rtdetr-table", options={"name": "rtdetr-l.onnx", **TWO}
    ),
    "YOLO-NAS": Case(yolonas, "yolonas"),
    "YOLO-NAS flat": Case(flat_predictions, "flat7", label=1, n_images=1),
    "YOLO-NAS batched": Case(yolonas_batched, "efficientnms", label=1),
    "YOLOv7 end to end": Case(yolov7_end_to_end, "yolov7", label=1, n_images=1),
    "PINTO": Case(pinto, "pinto7", label=1, n_images=1),
    "YOLOv10": Case(nms6, "nms6", label=1),
    "PaddleDetection": Case(
        paddle, "paddle", imagenet, label=1, n_images=1, extras=("im_shape", "scale_factor")
    ),
    "PP-YOLOE+": Case(
        paddle,
        "paddle-unit",
        label=1,
        n_images=1,
        extras=("scale_factor",),
        options={"name": "ppyoloe_plus_s.onnx"},
    ),
    "DETR": Case(detr, "detr", imagenet, label=1, options={"name": "detr-resnet-50"}),
    "RT-DETR": Case(sigmoid, "rtdetr", label=1, options={"name": "rtdetr_r50vd"}),
    "Deformable DETR": Case(
        sigmoid, "deformable", imagenet, label=1, options={"name": "deformable-detr"}
    ),
    "Conditional DETR by its mask": Case(
        sigmoid, "deformable", imagenet, label=1, options=TWO, extras=("pixel_mask",)
    ),
    "RF-DETR": Case(rfdetr, "deformable", imagenet, label=1),
    "TensorFlow SSD": Case(
        tf_ssd, "tf-ssd", bytes_last, label=1, input_shape=("n", HEIGHT, WIDTH, 3), kind=BYTE
    ),
    "SSD of the ONNX zoo": Case(ssd, "ssd", imagenet, label=1),
    "EfficientNMS": Case(efficientnms, "efficientnms", label=1),
    "MMDetection": Case(mmdet, "mmdet", imagenet, label=1),
    "torchvision": Case(torchvision, "torchvision", label=1, n_images=1),
    "Detectron2": Case(
        detectron2, "detectron2", single_bgr_255, label=1, input_shape=(3, HEIGHT, WIDTH)
    ),
    "D-FINE": Case(dfine, "dfine", label=1, extras=("orig_target_sizes",)),
    "NonMaxSuppression": Case(
        selected, "selected", label=1, n_images=1, options={"box_format": "yxyx"}
    ),
    "YOLOv3 of the ONNX zoo": Case(yolov3, "yolov3", label=1, n_images=1, extras=("image_shape",)),
    "UltraFace": Case(ultraface, "ultraface", by_127),
    "SCRFD": Case(scrfd, "scrfd", by_127_5, n_images=1),
    "YuNet": Case(yunet, "yunet", bgr_255),
}
EXTRAS = {
    "im_shape": (["n", 2], FLOAT),
    "image_shape": (["n", 2], FLOAT),
    "scale_factor": (["n", 2], FLOAT),
    "orig_target_sizes": (["n", 2], INT),
    "pixel_mask": (["n", HEIGHT, WIDTH], INT),
}


def build(case, **changes):
    """The file of a case; the outputs' declared shapes go through ``declare``."""
    declare = changes.get("declare", lambda name, found: found)
    g = Graph()
    outputs = {
        name: (g("Identity", value), declare(name, shape), kind)
        for name, (value, shape, kind) in case.head(g, case.before(g, "images")).items()
    }
    shape = case.input_shape or (case.n_images, 3, HEIGHT, WIDTH)
    inputs = [("images", list(changes.get("shape", shape)), case.kind)]
    inputs += [(name, *EXTRAS[name]) for name in case.extras]
    return g.model(inputs, outputs)


def open_case(case, **changes):
    return OnnxDetector(build(case, **changes), **case.options)


def assert_finds(proposals, box, label, score):
    assert len(proposals) >= 1
    torch.testing.assert_close(proposals.boxes[:1], torch.tensor([box]).float(), atol=0.5, rtol=0)
    assert proposals.labels[0] == label
    assert float(proposals.scores[0]) == pytest.approx(score, abs=0.01)


def name_of(detector):
    return next(name for name, layout in LAYOUTS.items() if layout is detector._layout)


@pytest.mark.parametrize("name", CASES)
def test_layout_is_recognised_and_its_box_found(name):
    case = CASES[name]
    detector = open_case(case)
    assert name_of(detector) == case.layout
    first, second = detector.detect(torch.stack([IMAGE, OTHER]))
    assert_finds(first, BOX, case.label, GREEN)
    torch.testing.assert_close(
        second.boxes[:1], torch.tensor([[2.0, 10, 16, 30]]), atol=0.5, rtol=0
    )


def test_every_layout_has_a_case():
    assert {case.layout for case in CASES.values()} == set(LAYOUTS)


def test_every_layout_is_on_its_page():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "onnx.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+)` \| .* \| .* \| .* \|$", page, re.MULTILINE)) == set(
        LAYOUTS
    )


@pytest.mark.parametrize("name", CASES)
def test_a_tall_picture_is_found_too(name):
    """Its frame differs in both directions: swapped axes would be seen."""
    case = CASES[name]
    image = picture((5, 30, 25, 62), height=90, width=45)
    assert_finds_roughly(open_case(case).detect(image[None])[0], (5, 30, 25, 62))


def assert_finds_roughly(proposals, box):
    assert abs(proposals.boxes[0] - torch.tensor(box)).max() < 1.6  # a pixel of the network's input


# Variants of the same files: right, or refused with a question; never a wrong box.


def renamed(case):
    """The same outputs, numbered."""

    def head(g, x):
        found = case.head(g, x).values()
        return {str(1200 + i): output for i, output in enumerate(found)}

    return case._replace(head=head)


def halved(case):
    """The same outputs, floats as float16."""

    def head(g, x):
        return {
            name: (g("Cast", value, to=HALF), shape, HALF)
            if kind == FLOAT
            else (value, shape, kind)
            for name, (value, shape, kind) in case.head(g, x).items()
        }

    return case._replace(head=head)


def batch_of_one(case):
    shape = case.input_shape or ("n", 3, HEIGHT, WIDTH)
    return case._replace(input_shape=tuple(1 if side == "n" else side for side in shape))


def open_outputs(case):
    def head(g, x):
        found = case.head(g, x).items()
        return {
            name: (value, [f"{name}_{i}" for i in range(len(shape))], kind)
            for name, (value, shape, kind) in found
        }

    return case._replace(head=head)


VARIANTS = {
    "float16": halved,
    "batch of one": batch_of_one,
    "open outputs": open_outputs,
    "unnamed": renamed,
}

# Where names are all that tells: these are refused without them.
NEED_NAMES = {"YOLO-NAS flat", "PINTO", "RF-DETR", "TensorFlow SSD", "SSD of the ONNX zoo"}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", CASES)
def test_variants_are_right_or_refused(name, variant):
    case = VARIANTS[variant](CASES[name])
    if variant == "unnamed" and name in NEED_NAMES:
        with pytest.raises((InputError, DetectorOutputError)):
            open_case(case).detect(IMAGE[None])
        return
    (proposals,) = open_case(case).detect(IMAGE[None])
    assert_finds(proposals, BOX, case.label, GREEN)


@pytest.mark.parametrize(
    ("outputs", "hint", "layouts"),
    [
        ([(1, 50, 7)], "", "yolov5 or yolox or yolov7 or flat7"),
        ([(1, CELLS, 84)], "", "yolox or transposed"),
        ([(1, 1200, 85)], "", "yolov5 or yolox"),
        ([(1, 20, 4), (1, 20, 9)], "", "detr or rtdetr or deformable"),
    ],
)
def test_what_shapes_leave_open_is_asked(outputs, hint, layouts):
    found = [Output(f"o{i}", shape, "tensor(float)") for i, shape in enumerate(outputs)]
    with pytest.raises(InputError, match=f"may be {layouts}"):
        recognise(File(outputs=found, size=SIZE, hint=hint))


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ([("scores", (1, 20, 2)), ("boxes", (1, 20, 4))], "no grid of anchors"),
        ([("loc", (1, 320, 14)), ("conf", (1, 320, 2)), ("iou", (1, 320, 1))], "YuNet of 2022"),
        ([("a", (1, 252, 4)), ("b", (1, 252, 2)), ("c", (1, 252, 10))], "raw RetinaFace"),
        ([("a", (1, 3, 4)), ("b", (1, 3)), ("c", (1, 3)), ("d", (1,))], "TensorFlow Lite"),
        ([("a", (1, 3, 8, 12, 85)), ("b", (1, 3, 4, 6, 85))], "YOLOv5 in training"),
        ([("o", (1, 1, 100, 7))], "DetectionOutput of OpenVINO"),
        ([("o", (1, 5, 5))], "too few columns"),
    ],
)
def test_layouts_that_are_not_known_are_refused(outputs, why):
    found = [Output(name, shape, "tensor(float)") for name, shape in outputs]
    with pytest.raises(InputError, match="these fit no layout"):
        recognise(File(outputs=found, size=SIZE))
