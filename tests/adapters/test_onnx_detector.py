"""Every graph here finds the red rectangle; its green and its blue are two classes' scores.

What each layout means is in test_onnx_layouts.py, what users may say in test_onnx_options.py.
"""

import json
import pickle
import re

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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
    constant_table,
    find_red,
    picture,
)

from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    MissingDependencyError,
    UnknownNameError,
)
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.onnx import OnnxDetector
from chiaroscuro.detectors.adapters.onnx.layouts.choosing import recognise
from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Output
from chiaroscuro.detectors.commons.onnx_session import make_session
from chiaroscuro.detectors.commons.placement import Placement
from chiaroscuro.testing import detector_checks


def raw_table(g, images, with_objectness):
    """A wider, weaker box (IoU 0.8), the true one, and empty ones: ``n columns rows``.

    With objectness as many as YOLOv5 has anchors in 64 x 96, else eight.
    """
    box, _, _, (red, *classes) = find_red(g, images)
    columns = []
    for wider, weaker in ((1.25, 0.75), (1.0, 1.0)):
        scores = ([red] if with_objectness else []) + [g("Mul", c, weaker) for c in classes]
        row = g("Concat", *centre(g, box, wider), *scores, axis=1)
        columns.append(g("Unsqueeze", row, [2]))
    nothing = g("Mul", columns[0], 0.0)
    n_empty = 3 * (96 + 24 + 6) - 2 if with_objectness else 6
    return g("Concat", *columns, g("Tile", nothing, np.array([1, 1, n_empty])), axis=2)


def yolov8(g, images):
    return {"output0": (raw_table(g, images, with_objectness=False), ["n", 6, 8], FLOAT)}


def yolov5(g, images):
    table = g("Transpose", raw_table(g, images, with_objectness=True), perm=[0, 2, 1])
    return {"output0": (table, ["n", 378, 7], FLOAT)}


def nms6(g, images):
    box, _, _, (_, _, blue) = find_red(g, images)
    label = g("Add", g("Mul", blue, 0.0), 1.0)
    row = g("Unsqueeze", g("Concat", *box, blue, label, axis=1), [1])
    nothing = g("Mul", row, 0.0)
    return {"output0": (g("Concat", row, nothing, nothing, axis=1), ["n", 3, 6], FLOAT)}


def detr(g, images):
    box, width, height, (_, green, blue) = find_red(g, images)
    sides = (width, height, width, height)
    unit = [g("Div", c, s) for c, s in zip(centre(g, box), sides, strict=True)]
    logits = g("Concat", green, blue, g("Mul", blue, 0.0), axis=1)
    return {
        "logits": (g("Unsqueeze", logits, [1]), ["n", 1, 3], FLOAT),
        "pred_boxes": (g("Unsqueeze", g("Concat", *unit, axis=1), [1]), ["n", 1, 4], FLOAT),
    }


def torchvision(g, images):
    box, _, _, (_, _, blue) = find_red(g, images)
    ordered = [g("Min", box[0], box[2]), g("Min", box[1], box[3]), box[2], box[3]]
    label = g("Cast", g("Add", g("Mul", blue, 0.0), 1.0), to=INT)
    return {
        "3157": (g("Concat", *ordered, axis=1), ["k", 4], FLOAT),
        "3168": (g("Squeeze", label, [1]), ["k"], INT),
        "3169": (g("Squeeze", blue, [1]), ["k"], FLOAT),
    }


def dfine(g, images):
    """As D-FINE and RT-DETR export themselves: boxes are scaled to a size, width first, given."""
    box, width, height, (_, _, blue) = find_red(g, images)
    sides = (width, height, width, height)
    unit = g("Concat", *[g("Div", c, s) for c, s in zip(box, sides, strict=True)], axis=1)
    size = g("Cast", "orig_target_sizes", to=FLOAT)
    boxes = g("Mul", unit, g("Concat", size, size, axis=1))
    return {
        "labels": (g("Cast", g("Add", g("Mul", blue, 0.0), 1.0), to=INT), ["n", 1], INT),
        "boxes": (g("Unsqueeze", boxes, [1]), ["n", 1, 4], FLOAT),
        "scores": (blue, ["n", 1], FLOAT),
    }


def build(head, shape=("n", 3, 64, 96), kind=FLOAT, before=lambda g, x: x, metadata=None):
    g = Graph()
    outputs = head(g, before(g, "images"))
    inputs = [("images", list(shape), kind)]
    if head is dfine:
        inputs.append(("orig_target_sizes", ["n", 2], INT))
    return g.model(inputs, outputs, metadata)


def assert_finds_box(detector, image=IMAGE, box=BOX):
    proposals = detector.detect(image[None])[0]
    torch.testing.assert_close(proposals.boxes[:1], torch.tensor([box]).float())


@pytest.mark.parametrize("head", [yolov8, yolov5])
def test_raw_layouts_are_letterboxed_and_suppressed(head):
    detector = OnnxDetector(build(head), class_names=("a", "b"))
    first, second = detector.detect(torch.stack([IMAGE, OTHER]))
    torch.testing.assert_close(first.boxes, torch.tensor([[6.0, 4, 20, 14]]))
    torch.testing.assert_close(first.scores, torch.tensor([0.8]))
    torch.testing.assert_close(second.boxes, torch.tensor([[2.0, 10, 16, 30]]))
    torch.testing.assert_close(second.class_probabilities, torch.tensor([[0.6, 0.9]]))
    assert second.labels.tolist() == [1]
    assert (first.objectness is None) == (head is yolov8)
    assert not detector.info.before_nms


@pytest.mark.parametrize("head", [yolov8, yolov5])
def test_without_nms_gives_back_what_was_covered(head):
    detector = OnnxDetector(build(head))
    raw = detector.without_nms()
    proposals = raw.detect(IMAGE[None])[0]
    torch.testing.assert_close(proposals.scores, torch.tensor([0.8, 0.6]))
    torch.testing.assert_close(proposals.boxes[1], torch.tensor([4.25, 4, 21.75, 14]))
    assert raw.info.before_nms
    assert len(detector.detect(IMAGE[None])[0]) == 1


def test_nms_iou_can_be_chosen():
    assert len(OnnxDetector(build(yolov8), nms_iou=0.85).detect(IMAGE[None])[0]) == 2


def test_one_class_has_no_class_vector():
    table = np.zeros((5, 8), dtype=np.float32)
    table[:, 0] = (48, 32, 20, 16, 0.7)
    detector = OnnxDetector(constant_table(table), class_names="face")
    proposals = detector.detect(IMAGE[None])[0]
    assert detector.info.class_names == ("face",)
    assert proposals.scores.tolist() == pytest.approx([0.7])
    assert proposals.class_probabilities is None


def test_columns_after_the_classes_are_left_alone():
    """Segmentation and pose exports go on with mask coefficients or keypoints, in any range."""
    table = np.zeros((9, 12), dtype=np.float32)
    table[:, 0] = (48, 32, 20, 16, 0.7, 0.1, -3, 50, 7)
    proposals = OnnxDetector(constant_table(table), class_names=("a", "b")).detect(IMAGE[None])[0]
    torch.testing.assert_close(proposals.class_probabilities, torch.tensor([[0.7, 0.1]]))


def test_nms6_rows_are_taken_as_they_are():
    detector = OnnxDetector(build(nms6), class_names=("a", "b"))
    proposals = detector.detect(IMAGE[None])[0]
    torch.testing.assert_close(proposals.boxes, torch.tensor([[6.0, 4, 20, 14]]))
    assert proposals.scores.tolist() == [0.5]
    assert proposals.labels.tolist() == [1]
    assert proposals.class_probabilities is None
    assert not hasattr(detector, "without_nms")


def test_detr_is_stretched_and_its_no_object_left_out():
    detector = OnnxDetector(build(detr), class_names=("a", "b"), normalise="unit")
    image = picture((10, 8, 40, 20), height=32, width=48)
    proposals = detector.detect(image[None])[0]
    torch.testing.assert_close(proposals.boxes, torch.tensor([[10.0, 8, 40, 20]]))
    wanted = torch.tensor([0.8, 0.5, 0.0]).softmax(0)[:2]
    torch.testing.assert_close(proposals.class_probabilities[0], wanted)


def test_rtdetr_takes_each_class_by_itself():
    detector = OnnxDetector(build(detr), class_names=("a", "b", "c"), name="rtdetr")
    image = picture((10, 8, 40, 30), height=64, width=48)  # stretched in one direction only
    proposals = detector.detect(image[None])[0]
    torch.testing.assert_close(proposals.boxes, torch.tensor([[10.0, 8, 40, 30]]))
    wanted = torch.tensor([0.8, 0.5, 0.0]).sigmoid()
    torch.testing.assert_close(proposals.class_probabilities[0], wanted)


@pytest.mark.parametrize(("name", "classes"), [("RT_DETR_r18.onnx", 3), ("detr-r50.onnx", 2)])
def test_detr_family_is_told_by_the_name(name, classes):
    assert len(OnnxDetector(build(detr), name=name).info.class_names) == classes


def test_torchvision_export_without_batch_axis_runs_picture_by_picture():
    detector = OnnxDetector(build(torchvision, shape=("n", 3, "h", "w")))
    image = picture((7, 5, 31, 21), height=41, width=53)  # no size is imposed: nothing is resized
    first, second = detector.detect(torch.stack([image, image.flip(2)]))
    assert first.boxes.tolist() == [[7, 5, 31, 21]]
    assert second.boxes.tolist() == [[22, 5, 46, 21]]
    assert first.labels.tolist() == [1]
    assert first.scores.tolist() == [0.5]


def test_target_sizes_are_given_to_exports_that_ask_for_them():
    detector = OnnxDetector(build(dfine))
    image = picture((10, 8, 40, 30), height=64, width=48)
    assert_finds_box(detector, image, (10, 8, 40, 30))


@pytest.mark.parametrize("shape", [(1, 3, 64, 96), (2, 3, 64, 96), (4, 3, 64, 96)])
def test_fixed_batch_is_looped_over_and_filled_up(shape):
    detector = OnnxDetector(build(yolov8, shape))
    results = detector.detect(torch.stack([IMAGE, OTHER, IMAGE]))
    assert [r.boxes[0].tolist() for r in results] == [
        [6, 4, 20, 14],
        [2, 10, 16, 30],
        [6, 4, 20, 14],
    ]


def test_input_without_batch_axis():
    model = build(yolov8, ("c", 64, 96), before=lambda g, x: g("Unsqueeze", x, [0]))
    assert_finds_box(OnnxDetector(model))


def test_half_precision_input():
    model = build(yolov8, kind=HALF, before=lambda g, x: g("Cast", x, to=FLOAT))
    assert_finds_box(OnnxDetector(model))


def test_byte_input_is_scaled_to_255():
    model = build(yolov8, kind=BYTE, before=lambda g, x: g("Div", g("Cast", x, to=FLOAT), 255.0))
    proposals = OnnxDetector(model).detect(IMAGE[None])[0]
    torch.testing.assert_close(proposals.boxes, torch.tensor([[6.0, 4, 20, 14]]))
    torch.testing.assert_close(proposals.scores, torch.tensor([204 / 255]))


def reverse(g, x):
    return g("Concat", *reversed(g("Split", x, n=3, axis=1, num_outputs=3)), axis=1)


def imagenet(g, x):
    column = [1, 3, 1, 1]
    deviation = np.reshape([0.229, 0.224, 0.225], column)
    mean = np.reshape([0.485, 0.456, 0.406], column)
    return g("Add", g("Mul", x, deviation), mean)


@pytest.mark.parametrize(
    ("before", "options"),
    [
        (lambda g, x: g("Div", x, 255.0), {"normalise": "255"}),
        (imagenet, {"normalise": "imagenet"}),
        (reverse, {"channel_order": "bgr"}),
        (
            lambda g, x: imagenet(g, reverse(g, x)),
            {"normalise": "imagenet", "channel_order": "bgr"},
        ),
    ],
)
def test_pixels_reach_the_network_as_asked(before, options):
    detector = OnnxDetector(build(yolov8, before=before), **options)
    proposals = detector.detect(OTHER[None])[0]
    torch.testing.assert_close(proposals.boxes, torch.tensor([[2.0, 10, 16, 30]]))
    torch.testing.assert_close(proposals.class_probabilities, torch.tensor([[0.6, 0.9]]))


@pytest.mark.parametrize(
    ("options", "metadata", "seen"),
    [
        ({}, {}, (64, 64)),  # the picture's own size, sides to multiples of 32
        ({"input_size": (96, 160)}, {}, (96, 160)),
        ({"input_size": 128}, {"imgsz": "[64, 64]"}, (128, 128)),
        ({}, {"imgsz": "[64, 96]"}, (64, 96)),
    ],
)
def test_size_of_a_network_that_takes_any(options, metadata, seen):
    detector = OnnxDetector(build(yolov8, ("n", 3, "h", "w"), metadata=metadata), **options)
    image = picture((6, 4, 20, 14), height=40, width=48)
    sizes = []
    run = detector._network._session.run
    detector._network._session.run = lambda names, feed: (
        sizes.append(feed["images"].shape) or run(names, feed)
    )
    assert abs(detector.detect(image[None])[0].boxes[0] - torch.tensor(BOX)).max() < 1
    own_size = not options and not metadata
    assert (detector.info.any_size, detector.info.stride) == (None if own_size else False, 32)
    assert sizes == [(1, 3, *seen)]


def test_letterbox_and_stretch_can_be_chosen():
    image = picture((10, 8, 40, 30), height=64, width=48)
    stretched = OnnxDetector(build(yolov8), letterbox=False)
    assert_finds_box(stretched, image, (10, 8, 40, 30))
    image = picture((10, 8, 40, 20), height=32, width=40)
    assert_finds_box(
        OnnxDetector(build(detr), layout="rtdetr", letterbox=True), image, (10, 8, 40, 20)
    )


def test_a_size_that_the_file_does_not_take():
    with pytest.raises(InputError, match=r"made for \(64, 96\).*got \(64, 64\)"):
        OnnxDetector(build(yolov8), input_size=64)
    with pytest.raises(InputError, match="height and width"):
        OnnxDetector(build(yolov8, ("n", 3, "h", "w")), input_size=(64, 64, 3))


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("{0: 'face', 1: 'hand'}", ("face", "hand")),
        (json.dumps({"1": "hand", "0": "face"}), ("face", "hand")),
        ('["face", "hand"]', ("face", "hand")),
    ],
)
def test_class_names_come_from_the_file(names, wanted):
    detector = OnnxDetector(build(yolov8, metadata={"names": names}))
    assert detector.info.class_names == wanted


@pytest.mark.parametrize("names", ["__import__('os').abort()", "{3: 'face'}", "(" * 10_000])
def test_unreadable_class_names_are_numbered_and_never_run(names):
    with pytest.warns(RuntimeWarning, match="classes are numbered"):
        detector = OnnxDetector(build(yolov8, metadata={"names": names}))
    assert detector.info.class_names == ("class 0", "class 1")


def test_unusable_rows_are_dropped_with_a_count():
    table = [
        [10, 10, 20, 20, 0.9, 0],
        [np.nan, 10, 20, 20, 0.9, 0],
        [10, 10, 20, 20, np.nan, 0],
        [10, 10, 20, 20, 0.8, np.nan],
        [20, 10, 10, 20, 0.7, 0],
        [np.nan, 10, 20, 20, 0.001, 0],  # below the floor: nobody misses it
    ]
    with pytest.warns(RuntimeWarning, match="dropped 4 of 5"):
        proposals = OnnxDetector(constant_table(table)).detect(IMAGE[None])[0]
    assert proposals.scores.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize("floor", [None, 0.3])
def test_proposals_reach_down_to_the_floor(floor):
    scores = [0.9, 0.5, 0.3, 0.1, 0.011, 0.009, 0.0]
    table = [[10, 10, 20, 20, s, 0] for s in scores]
    detector = OnnxDetector(constant_table(table), min_score=floor)
    wanted = [s for s in scores if s >= detector.info.min_score - 1e-6]
    assert detector.detect(IMAGE[None])[0].scores.tolist() == pytest.approx(wanted)


def test_no_proposal_is_dropped_for_its_rank():
    table = np.tile([[10, 10, 20, 20, 0.5, 0]], (4000, 1))
    table[:, 2] += np.arange(4000) / 400
    detector = OnnxDetector(constant_table(table), layout="nms6")
    assert len(detector.detect(IMAGE[None])[0]) == 4000


@pytest.mark.parametrize(
    ("row", "options", "match"),
    [
        ([10, 10, 20, 20, 13.2, 0], {}, "no sigmoid"),
        ([10, 10, 20, 20, 0.5, 2], {"class_names": ("a", "b")}, "labels from 0 to 1, got 2 to 2"),
        ([10, 10, 20, 20, 0.5, -1], {}, "got -1 to -1"),
    ],
)
def test_impossible_outputs_are_refused(row, options, match):
    with pytest.raises(DetectorOutputError, match=match):
        OnnxDetector(constant_table([row]), **options).detect(IMAGE[None])


def test_outputs_for_another_number_of_pictures_are_refused():
    g = Graph()
    row = g("Slice", nms6(g, "images")["output0"][0], [0], [1], [0])
    model = g.model([("images", ["n", 3, 64, 96], FLOAT)], {"o": (row, ["m", 3, 6], FLOAT)})
    with pytest.raises(DetectorOutputError, match="export it with a batch size of 1"):
        OnnxDetector(model).detect(torch.stack([IMAGE, OTHER]))


@pytest.mark.parametrize("head", [yolov8, yolov5, nms6, detr])
def test_shapes_that_a_file_leaves_open_are_measured(head):
    """Exports with dynamic sizes often name every side, those that never change too."""

    def open_head(g, images):
        return {k: (v, ["a", "b", "c"], kind) for k, (v, _, kind) in head(g, images).items()}

    options = {"name": "rtdetr"} if head is detr else {}
    detector = OnnxDetector(build(open_head, ("n", 3, "h", "w")), **options)
    closed = OnnxDetector(build(head), **options)
    assert detector._layout is closed._layout
    assert detector.info.class_names == closed.info.class_names
    first, second = detector.detect(torch.stack([IMAGE, OTHER]))
    torch.testing.assert_close(first.boxes[:1], torch.tensor([BOX]).float(), atol=0.3, rtol=0)
    torch.testing.assert_close(
        second.boxes[:1], torch.tensor([[2.0, 10, 16, 30]]), atol=0.3, rtol=0
    )


def test_a_file_that_does_not_run_on_a_blank_picture():
    g = Graph()
    rows = g("MatMul", g("ReduceMean", "images", [1], keepdims=0), np.zeros((96, 7)))
    model = g.model([("images", ["n", 3, "h", "w"], FLOAT)], {"o": (rows, ["a", "b", "c"], FLOAT)})
    with pytest.raises(InputError, match=r"picture of \(256, 384\).*give the input_size"):
        OnnxDetector(model)
    with pytest.raises(InputError, match=r"o: \? x 64 x 7"):
        OnnxDetector(model, input_size=(64, 96), layout="detr")


def test_a_file_that_does_not_run_on_so_many_pictures():
    """Exports may leave the batch axis open and still hold its size in a constant."""
    g = Graph()
    rows = g("Add", nms6(g, "images")["output0"][0], np.zeros((2, 3, 6)))
    model = g.model([("images", ["n", 3, 64, 96], FLOAT)], {"o": (rows, ["m", 3, 6], FLOAT)})
    detector = OnnxDetector(model)
    detector._batch_size = 0
    with pytest.raises(DetectorOutputError, match=r"(?s)3 pictures of \(64, 96\).*batch size of 1"):
        detector.detect(torch.stack([IMAGE, OTHER, IMAGE]))


def table(*shape, dtype="tensor(float)", name="output0"):
    return Output(name, shape, dtype)


@pytest.mark.parametrize(
    ("outputs", "n_classes", "hint", "layout"),
    [
        ([table(1, 84, 8400)], None, "", "yolov8"),
        ([table(0, 5, 2100)], 1, "", "yolov8"),
        ([table(1, 116, 8400), table(1, 32, 160, 160)], 80, "", "yolov8"),
        ([table(1, 25200, 85)], 80, "", "yolov5"),
        ([table(1, 25200, 6)], 1, "", "yolov5"),
        ([table(1, 300, 6)], None, "", "nms6"),
        ([table(0, 1000, 6)], 80, "", "nms6"),
        ([table(0, 6)], None, "", "nms6"),
        ([table(1, 300, 80), table(1, 300, 4)], None, "rtdetr_r18vd", "rtdetr"),
        ([table(1, 100, 92, name="logits"), table(1, 100, 4)], 91, "", "detr"),
        (
            [table(1, 300, 4, name="logits"), table(1, 300, 4, name="pred_boxes")],
            4,
            "d_fine",
            "rtdetr",
        ),
        ([table(0, 4), table(0, dtype="tensor(int64)"), table(0)], None, "", "torchvision"),
    ],
)
def test_layouts_that_names_and_shapes_tell(outputs, n_classes, hint, layout):
    assert recognise(File(outputs=outputs, n_classes=n_classes, hint=hint)) == layout


@pytest.mark.parametrize(
    ("outputs", "match"),
    [
        ([table(1, 600, 6)], "may be nms6 or yolov5"),
        ([table(1, 300, 92, name="logits"), table(1, 300, 4)], "may be detr or rtdetr or deform"),
        ([table(1, 1000)], "fit no layout"),
        ([table(1, 84, 80, 80), table(1, 84, 40, 40)], "fit no layout"),
    ],
)
def test_doubtful_outputs_are_listed_with_the_layouts_to_choose_from(outputs, match):
    with pytest.raises(InputError, match=match) as caught:
        recognise(File(outputs=outputs))
    text = str(caught.value)
    assert all(o.name in text for o in outputs)
    assert "tensor(float)" in text
    assert all(
        f"  {name}: " in text for name in match.removeprefix("may be ").split(" or ")[:2]
    ) or ("rtdetr: logits" in text)


def test_a_layout_or_a_count_of_classes_that_does_not_fit():
    with pytest.raises(InputError, match="cannot be detr"):
        OnnxDetector(build(yolov8), layout="detr")
    with pytest.raises(InputError, match="these have 2 classes, and 3 are named"):
        OnnxDetector(build(yolov8), layout="yolov8", class_names=("a", "b", "c"))
    with pytest.raises(UnknownNameError, match=r"layout 'yolo'.*known: .*detr"):
        OnnxDetector(build(yolov8), layout="yolo")
    with pytest.raises(UnknownNameError, match="normalisation"):
        OnnxDetector(build(yolov8), normalise="minmax")


def test_inputs_that_are_no_pictures_are_listed():
    g = Graph()
    outputs = nms6(g, "images")
    inputs = [("images", ["n", 3, 64, 96], FLOAT), ("temperature", ["n", 2], FLOAT)]
    with pytest.raises(InputError, match="temperature"):
        OnnxDetector(g.model(inputs, outputs))


@pytest.mark.parametrize(
    "content", [b"", b"not a model", pickle.dumps({"weights": 1}), build(yolov8)[:500]]
)
def test_files_that_are_no_model_are_refused(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_detector(path)
    with pytest.raises(CheckpointError, match="the ONNX model cannot be loaded"):
        make_session(content)


def test_session_has_the_threads_of_torch_and_no_silent_cpu():
    session = make_session(build(yolov8))
    assert session.get_session_options().intra_op_num_threads == torch.get_num_threads()
    with pytest.raises(CheckpointError, match="does not exist"):
        make_session("absent.onnx")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(MissingDependencyError, match="onnxruntime-gpu"):
            make_session(build(yolov8), device="cuda")


def test_by_path_and_by_name(tmp_path):
    path = tmp_path / "Faces.ONNX"
    path.write_bytes(build(yolov8))
    for spec in (path, str(path), f"onnx/{path}"):
        detector = load_detector(spec, min_score=0.2, device="cpu")
        assert re.fullmatch(r"Faces\.ONNX@[0-9a-f]{8}", detector.info.name)
        assert detector.info.min_score == 0.2
        assert_finds_box(detector)
    with pytest.raises(InputError, match="wanted the path"):
        load_detector("onnx")


def test_the_format_of_onnx_runtime_itself(tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "faces.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(build(yolov8), options, providers=["CPUExecutionProvider"])
    assert_finds_box(load_detector(tmp_path / "faces.ort"))


sides = st.integers(1, 300)


@given(picture=st.tuples(sides, sides), size=st.tuples(sides | st.just(0), sides | st.just(0)))
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("make", [Placement.letterbox, Placement.stretch])
def test_boxes_come_back_from_any_frame(make, picture, size):
    frame = make(picture, size)
    height, width = picture
    (top, left), (inner_height, inner_width) = frame.corner, frame.inner
    assert top + inner_height <= frame.size[0]
    assert left + inner_width <= frame.size[1]
    assert all(s in (0, f) for s, f in zip(size, frame.size, strict=True))
    whole = torch.tensor([[left, top, left + inner_width, top + inner_height]]).float()
    wanted = torch.tensor([[0, 0, width, height]]).float()
    torch.testing.assert_close(frame.to_picture(whole), wanted)
    assert frame.fill(torch.zeros(1, 3, height, width)).shape == (1, 3, *frame.size)


CHECKED = {
    "yolov8": lambda: OnnxDetector(build(yolov8)),
    "yolov5 in a fixed batch": lambda: OnnxDetector(build(yolov5, (2, 3, 64, 96))),
    "nms6": lambda: OnnxDetector(build(nms6)),
    "detr": lambda: OnnxDetector(build(detr), layout="detr", normalise="unit"),
    "rtdetr": lambda: OnnxDetector(build(detr), layout="rtdetr"),
    "torchvision": lambda: OnnxDetector(build(torchvision, ("n", 3, "h", "w"))),
}


@pytest.mark.parametrize("name", CHECKED)
def test_detector_checks(name):
    for _, check in detector_checks(CHECKED[name](), (IMAGE * 255).to(torch.uint8)):
        check()
