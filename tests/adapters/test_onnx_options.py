"""What users may say of an ONNX file, and the wrong boxes that make them say it."""

import json

import numpy as np
import pytest
import torch
from onnx_graphs import BOX, FLOAT, IMAGE, INT, Graph, centre, constant_table, find_red, picture
from PIL import Image
from typer.testing import CliRunner

from chiaroscuro.cli import app
from chiaroscuro.core.errors import DetectorOutputError, InputError, UnknownNameError
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.onnx import OnnxDetector
from chiaroscuro.detectors.adapters.onnx.layouts.choosing import read_roles

SIZE = HEIGHT, WIDTH = 64, 96
FORMATS = ("xyxy", "yxyx", "xywh", "cxcywh")
NAMES = {"boxes": "where", "scores": "how sure"}
TALL = picture((5, 30, 25, 62), height=90, width=45)
WIDE = picture((20, 10, 36, 22), height=32, width=48)  # a third of 64 x 96: nothing is lost


def found_box(g, x, box_format="xyxy", normalised=False):
    """The box in a format, ``n 1 4``, and the three scores."""
    box, width, height, scores = find_red(g, x)
    x1, y1, x2, y2 = box
    columns = {
        "xyxy": (x1, y1, x2, y2),
        "yxyx": (y1, x1, y2, x2),
        "xywh": (x1, y1, g("Sub", x2, x1), g("Sub", y2, y1)),
        "cxcywh": tuple(centre(g, box)),
    }[box_format]
    sides = (height, width) * 2 if box_format == "yxyx" else (width, height) * 2
    if normalised:
        columns = [g("Div", c, s) for c, s in zip(columns, sides, strict=True)]
    return g("Unsqueeze", g("Concat", *columns, axis=1), [1]), scores


def model(make, inputs=(("images", ["n", 3, HEIGHT, WIDTH], FLOAT),), before=lambda g, x: x):
    """``make(g, x)`` gives values by name; shapes are left open."""
    g = Graph()
    outputs = {}
    for name, found in make(g, before(g, inputs[0][0])).items():
        value, n_sides, kind = found if isinstance(found, tuple) else (found, 3, FLOAT)
        outputs[name] = (value, [f"{name}{i}" for i in range(n_sides)], kind)
    return g.model(list(inputs), outputs)


def plain(box_format="xyxy", normalised=False):
    def make(g, x):
        boxes, (_, *classes) = found_box(g, x, box_format, normalised)
        return {"how sure": g("Unsqueeze", g("Concat", *classes, axis=1), [1]), "where": boxes}

    return make


def assert_finds(detector, image, box, within=1.6):
    proposals = detector.detect(image[None])[0]
    assert abs(proposals.boxes[0] - torch.tensor(box)).max() < within
    return proposals


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("box_format", FORMATS)
def test_roles_and_formats_that_are_said(box_format, normalised):
    said = {"outputs": NAMES, "box_format": box_format, "normalised": normalised}
    detector = OnnxDetector(model(plain(box_format, normalised)), class_names=("a", "b"), **said)
    assert_finds(detector, TALL, (5, 30, 25, 62))
    proposals = assert_finds(detector, IMAGE, BOX, within=0.5)
    torch.testing.assert_close(proposals.class_probabilities[0], torch.tensor([0.8, 0.5]))


CORNERS, SIZES = FORMATS[:2], FORMATS[2:]
# A corner taken for a centre is off by half a box: no box can show that.
TOLD_APART = [
    (true, said)
    for true in FORMATS
    for said in FORMATS
    if true != said and not {true, said} <= set(SIZES)
]


@pytest.mark.parametrize(("true", "said"), TOLD_APART)
def test_a_wrong_format_is_refused_with_the_option_that_puts_it_right(true, said):
    """A box in the right lower corner, where misreadings show."""
    image = picture((40, 28, 46, 31), height=32, width=48)
    assert_finds(
        OnnxDetector(model(plain(true)), outputs=NAMES, box_format=true), image, (40, 28, 46, 31)
    )
    with pytest.raises(DetectorOutputError, match=r"wanted boxes x1 y1 x2 y2 in.*box_format"):
        OnnxDetector(model(plain(true)), outputs=NAMES, box_format=said).detect(image[None])


@pytest.mark.parametrize(("true", "said"), [(t, s) for t in CORNERS for s in SIZES])
@pytest.mark.parametrize("swapped", [False, True])
def test_many_boxes_show_their_format_wherever_the_best_lies(true, said, swapped):
    """Boxes over the whole picture, the best at the top left, where one alone could be anything."""
    true, said = (said, true) if swapped else (true, said)
    generator = np.random.default_rng(0)
    corner = generator.uniform((2, 2), (70, 44), size=(40, 2))
    size = generator.uniform(6, 18, size=(40, 2))
    corner[0], size[0] = (8, 6), (20, 20)
    second = {"xyxy": corner + size, "yxyx": corner + size}.get(true, size)
    first = corner + size / 2 if true == "cxcywh" else corner
    columns = [0, 1, 2, 3] if true != "yxyx" else [1, 0, 3, 2]
    boxes = np.concatenate([first, second], axis=1)[:, columns]
    scores = np.where(np.arange(40) == 0, 0.9, 0.05)
    table = np.column_stack([boxes, scores, np.zeros(40)])
    content = constant_table(table)
    detector = OnnxDetector(content, layout="nms6", box_format=true)
    assert_finds(detector, WIDE, (4, 3, 14, 13), within=0.1)
    with pytest.raises(DetectorOutputError, match="box_format"):
        OnnxDetector(content, layout="nms6", box_format=said).detect(WIDE[None])


@pytest.mark.parametrize("layout", ["nms6", "yolov8"])
def test_boxes_in_zero_to_one_are_refused_where_pixels_are_meant(layout):
    rows = np.zeros((8, 6), dtype=np.float32)
    rows[0] = (0.3, 0.25, 0.5, 0.5, 0.9, 0)
    table = rows if layout == "nms6" else rows.T
    with pytest.raises(DetectorOutputError, match=r"in \[0, 1\].*Give normalised=True"):
        OnnxDetector(constant_table(table), layout=layout).detect(WIDE[None])
    detector = OnnxDetector(constant_table(table), layout=layout, normalised=True)
    wanted = {"nms6": (14.4, 8, 24, 16), "yolov8": (2.4, 0, 26.4, 16)}
    assert_finds(detector, WIDE, wanted[layout], within=0.1)


@pytest.mark.parametrize(
    ("boxes", "match"),
    [
        ([[40, 30, 41, 31], [50, 20, 51.5, 21]], "one pixel.*grid_offsets=True or normalised=True"),
        ([[4000, 3000, 9000, 6000]], "far off the picture.*normalised=False"),
        ([[300, 20, 340, 60]], "off the picture, or mostly so"),
        ([[60, 20, 20, 10]], "inverted.*xywh"),
        ([[10, 10, 30, 30]] * 6, "all the same, 6 times.*outputs="),
    ],
)
def test_implausible_boxes_are_refused(boxes, match):
    table = [[*box, 0.9, 0] for box in boxes]
    with pytest.raises(DetectorOutputError, match=match):
        OnnxDetector(constant_table(table), layout="nms6").detect(WIDE[None])


def test_weak_boxes_may_lie_anywhere():
    table = [[30, 20, 50, 40, 0.9, 0], [400, 20, 440, 60, 0.1, 0], [0.1, 0.1, 0.5, 0.5, 0.02, 0]]
    assert len(OnnxDetector(constant_table(table), layout="nms6").detect(WIDE[None])[0]) == 3


def test_many_boxes_of_one_large_face_are_sound():
    """A portrait: every box begins near the top left and is larger than what is left of it."""
    generator = np.random.default_rng(1)
    jitter = generator.normal(0, 4, size=(60, 4))
    boxes = np.array([20, 8, 84, 60]) + jitter
    table = np.column_stack([boxes, np.linspace(0.9, 0.02, 60), np.zeros(60)])
    assert len(OnnxDetector(constant_table(table), layout="nms6").detect(WIDE[None])[0]) == 60


def test_a_file_that_has_passed_is_not_judged_again():
    """Under masks a sound detector may report odd boxes; a run must not end there."""

    def make(g, x):
        boxes, (_, green, _) = found_box(g, x)
        brightest = g("Sub", 1.0, g("ReduceMax", x, [1, 2, 3], keepdims=0))
        away = g("Mul", g("Unsqueeze", g("Unsqueeze", brightest, [1]), [1]), 900.0)
        score = g("Unsqueeze", g("Max", green, 0.3), [1])
        return {"where": g("Add", boxes, away), "how sure": score}

    detector = OnnxDetector(model(make), outputs=NAMES)
    dark = torch.zeros(1, 3, 32, 48)
    with pytest.raises(DetectorOutputError):
        detector.detect(dark)
    assert_finds(detector, WIDE, (20, 10, 36, 22))
    with pytest.warns(RuntimeWarning, match="dropped 1 of 1"):
        assert len(detector.detect(dark)[0]) == 0


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_scores_that_are_still_logits(activation):
    def make(g, x):
        boxes, (_, *classes) = found_box(g, x)
        odds = [g("Log", g("Max", c, 1e-6)) for c in classes]
        if activation == "sigmoid":
            odds = [
                g("Sub", o, g("Log", g("Sub", 1.0, c))) for o, c in zip(odds, classes, strict=True)
            ]
        return {"how sure": g("Unsqueeze", g("Concat", *odds, axis=1), [1]), "where": boxes}

    said = {"outputs": NAMES, "class_names": ("a", "b")}
    proposals = assert_finds(
        OnnxDetector(model(make), scores=activation, **said), WIDE, (20, 10, 36, 22)
    )
    wanted = torch.tensor([0.8, 0.5])
    wanted = wanted if activation == "sigmoid" else wanted / wanted.sum()
    torch.testing.assert_close(proposals.class_probabilities[0], wanted, atol=1e-4, rtol=0)
    if activation == "sigmoid":
        with pytest.raises(DetectorOutputError, match="no sigmoid"):
            OnnxDetector(model(make), **said).detect(WIDE[None])


def labelled(first):
    """Lists whose label of class b is ``first + 1``."""

    def make(g, x):
        boxes, (_, green, _) = found_box(g, x)
        label = g("Cast", g("Add", g("Mul", green, 0.0), float(first + 1)), to=INT)
        return {"where": boxes, "how sure": (green, 2, FLOAT), "what": (label, 2, INT)}

    return make


@pytest.mark.parametrize("first", [0, 1])
def test_labels_that_may_count_from_one_are_asked_for(first):
    said = {"outputs": {**NAMES, "labels": "what"}, "class_names": ("a", "b", "c")}
    with pytest.raises(InputError, match=r"'a', may be label 0 or label 1.*first_label"):
        OnnxDetector(model(labelled(first)), **said)
    proposals = assert_finds(
        OnnxDetector(model(labelled(first)), first_label=first, **said), WIDE, (20, 10, 36, 22)
    )
    assert proposals.labels.tolist() == [1]


def test_a_background_among_the_names_tells_the_first_label():
    said = {"outputs": {**NAMES, "labels": "what"}}
    names = ("__background__", "a", "b")
    detector = OnnxDetector(model(labelled(1)), class_names=names, **said)
    assert detector.detect(WIDE[None])[0].labels.tolist() == [2]


def test_labels_without_a_name_are_refused_in_the_files_own_count():
    said = {"outputs": {**NAMES, "labels": "what"}, "class_names": "face"}
    with pytest.raises(DetectorOutputError, match=r"labels from 0 to 0, got 1 to 1.*first_label"):
        OnnxDetector(model(labelled(0)), **said).detect(WIDE[None])
    with pytest.raises(DetectorOutputError, match="labels from 1 to 1, got 2 to 2"):
        OnnxDetector(model(labelled(1)), first_label=1, **said).detect(WIDE[None])


@pytest.mark.parametrize("first", [0, 1])
def test_a_column_for_the_background_is_asked_for(first):
    """Before the classes or behind them."""

    def make(g, x):
        boxes, (red, green, _) = found_box(g, x)
        columns = [green, g("Sub", red, green)]
        scores = g("Concat", *(reversed(columns) if first else columns), axis=1)
        return {"how sure": g("Unsqueeze", scores, [1]), "where": boxes}

    said = {"outputs": NAMES, "class_names": "face"}
    with pytest.raises(
        InputError, match=r"2 classes, and 1 are named.*first_label=1 if it comes first"
    ):
        OnnxDetector(model(make), **said)
    detector = OnnxDetector(model(make), first_label=first, **said)
    assert detector.detect(WIDE[None])[0].scores.tolist() == pytest.approx([0.8])


def test_rows_of_dets_hold_their_score():
    def make(g, x):
        boxes, (_, green, _) = found_box(g, x)
        return {"dets": g("Concat", boxes, g("Unsqueeze", green, [1]), axis=2)}

    detector = OnnxDetector(model(make), outputs="boxes:dets", class_names="face")
    assert detector.info.class_names == ("face",)
    assert assert_finds(detector, WIDE, (20, 10, 36, 22)).scores.tolist() == pytest.approx([0.8])


def test_scores_with_a_column_a_box_and_objectness_beside_them():
    def make(g, x):
        boxes, (_, *classes) = found_box(g, x)
        table = g("Concat", boxes, g("Mul", boxes, 0.0), g("Mul", boxes, 0.0), axis=1)
        vectors = g("Unsqueeze", g("Concat", *classes, axis=1), [2])
        vectors = g("Concat", vectors, g("Mul", vectors, 0.0), g("Mul", vectors, 0.0), axis=2)
        half = g("Add", g("Mul", g("ReduceMean", vectors, [1], keepdims=1), 0.0), 0.5)
        return {"where": table, "how sure": vectors, "any": half}

    detector = OnnxDetector(
        model(make), outputs={**NAMES, "objectness": "any"}, class_names=("a", "b")
    )
    proposals = assert_finds(detector, WIDE, (20, 10, 36, 22))
    assert proposals.scores.tolist() == pytest.approx([0.4])
    assert proposals.objectness.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("boxes:a,scores:b", {"boxes": "a", "scores": "b"}),
        ("boxes: detection_boxes:0 , scores:s:0", {"boxes": "detection_boxes:0", "scores": "s:0"}),
        ({"boxes": "a"}, {"boxes": "a"}),
    ],
)
def test_roles_are_read_from_words_too(text, roles):
    assert read_roles(text) == roles


@pytest.mark.parametrize("wrong", ["boxes", ["a"], {"boxes": 3}, 7])
def test_roles_that_cannot_be_read(wrong):
    with pytest.raises(InputError, match="outputs: wanted names"):
        OnnxDetector(model(plain()), outputs=wrong)


def test_roles_and_words_that_do_not_exist_are_named():
    content = model(plain())
    with pytest.raises(
        UnknownNameError, match=r"output of the file 'there'.*known: how sure, where"
    ):
        OnnxDetector(content, outputs={"boxes": "there"})
    with pytest.raises(UnknownNameError, match=r"role of an output 'box'.*boxes"):
        OnnxDetector(content, outputs={"box": "where", "boxes": "where"})
    with pytest.raises(InputError, match="wanted at least boxes"):
        OnnxDetector(content, outputs={"scores": "how sure"})
    for option in ({"box_format": "xyhw"}, {"scores": "tanh"}, {"padding": "left"}):
        with pytest.raises(UnknownNameError):
            OnnxDetector(content, outputs=NAMES, **option)
    with pytest.raises(InputError, match="normalised: wanted true or false, got 'yes'"):
        OnnxDetector(content, outputs=NAMES, normalised="yes")
    with pytest.raises(InputError, match="0 or 1"):
        OnnxDetector(content, outputs=NAMES, first_label=2)


# How pictures are prepared.


def scaled_by(mean, std, bgr=False):
    """Undoes ``(pixel - mean) / std`` of pixels in [0, 255], in the network's channel order."""

    def undo(g, x):
        column = (1, 3, 1, 1)
        mean_column, std_column = (
            np.reshape(np.array(v, dtype=np.float32) / 255, column) for v in (mean, std)
        )
        x = g("Add", g("Mul", x, std_column), mean_column)
        return (
            g("Concat", *reversed(g("Split", x, n=3, axis=1, num_outputs=3)), axis=1) if bgr else x
        )

    return undo


UNLIKE = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.mark.parametrize(
    ("true", "said"),
    [
        (((0,) * 3, (1,) * 3), {"normalise": 255}),
        (((0,) * 3, (1,) * 3), {"normalise": "255"}),
        (((0,) * 3, (255,) * 3), {"mean": 0, "std": 255}),
        (((127.5,) * 3, (128,) * 3), {"mean": 127.5, "std": 128}),
        (((127.5,) * 3, (127.5,) * 3), {"mean": 0.5, "std": 0.5}),
        (((104, 117, 123), (1,) * 3), {"mean": [104, 117, 123]}),
        (UNLIKE, {"mean": "123.675,116.28,103.53", "std": "58.395,57.12,57.375"}),
        (UNLIKE, {"normalise": "imagenet"}),
    ],
)
@pytest.mark.parametrize("bgr", [False, True])
def test_pixels_are_scaled_as_said(true, said, bgr):
    mean, std = true
    order = {"channel_order": "bgr"} if bgr else {}
    if bgr and said.get("normalise") == "imagenet":  # goes with the colours
        mean, std = mean[::-1], std[::-1]
    content = model(plain(), before=scaled_by(mean, std, bgr))
    detector = OnnxDetector(content, outputs=NAMES, class_names=("a", "b"), **said, **order)
    proposals = assert_finds(detector, WIDE, (20, 10, 36, 22))
    torch.testing.assert_close(
        proposals.class_probabilities[0], torch.tensor([0.8, 0.5]), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    "said",
    [{"mean": [1, 2]}, {"std": 0}, {"mean": "dark"}, {"mean": 0, "std": 1}, {"mean": float("nan")}],
)
def test_numbers_that_cannot_scale_pixels(said):
    with pytest.raises(InputError, match=r"mean|std"):
        OnnxDetector(model(plain()), outputs=NAMES, **said)


@pytest.mark.parametrize(
    ("said", "corner", "colour"),
    [
        ({}, (0, 8), (114, 114, 114)),
        ({"padding": "top-left"}, (0, 0), (114, 114, 114)),
        ({"padding": "top-left", "padding_colour": 0}, (0, 0), (0, 0, 0)),
        ({"padding_colour": [10, 20, 30]}, (0, 8), (10, 20, 30)),
    ],
)
def test_bars_are_put_where_and_as_said(said, corner, colour):
    content = model(plain(), before=scaled_by((0,) * 3, (1,) * 3))
    detector = OnnxDetector(content, outputs=NAMES, normalise=255, **said)
    seen = []
    run = detector._network._session.run
    detector._network._session.run = lambda names, feed: (
        seen.append(feed["images"]) or run(names, feed)
    )
    white = torch.ones(1, 3, 32, 40)  # doubled to 64 x 80
    detector.detect(white)
    (pixels,) = seen[0]
    top, left = corner
    assert pixels[:, top : top + 64, left : left + 80].min() == pytest.approx(255)
    assert pixels[:, 5, 90].tolist() == pytest.approx(colour, abs=1e-3)
    assert_finds(OnnxDetector(model(plain()), outputs=NAMES, **said), IMAGE, BOX, within=0.5)


@pytest.mark.parametrize("shape", [["n", HEIGHT, WIDTH, 3], ["n", "h", "w", "c"]])
def test_colours_may_come_last(shape):
    content = model(
        plain(),
        inputs=(("images", shape, FLOAT),),
        before=lambda g, x: g("Transpose", x, perm=[0, 3, 1, 2]),
    )
    said = {"input_size": SIZE, "channels_last": True} if "c" in shape else {}
    assert_finds(OnnxDetector(content, outputs=NAMES, **said), TALL, (5, 30, 25, 62))


def test_colours_that_cannot_come_last():
    with pytest.raises(InputError, match="channels_last"):
        OnnxDetector(model(plain()), outputs=NAMES, channels_last=True)


def test_a_raw_grid_can_be_said_of_any_table():
    """One row a cell of 8, 16 and 32 pixels, with boxes beside their scores."""
    table = np.zeros((126, 6), dtype=np.float32)
    table[17] = (0.5, 0.25, np.log(3), np.log(2), 0.9, 0.1)  # cell at x = 40, y = 8
    with pytest.raises(DetectorOutputError, match="grid_offsets=True"):
        OnnxDetector(constant_table(table), layout="transposed", class_names=("a", "b")).detect(
            WIDE[None]
        )
    detector = OnnxDetector(
        constant_table(table), layout="transposed", class_names=("a", "b"), grid_offsets=True
    )
    assert_finds(detector, WIDE, (16, 1, 28, 9), within=0.1)


def test_options_on_the_command_line(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(model(plain("cxcywh", normalised=True), before=scaled_by((0,) * 3, (1,) * 3)))
    Image.fromarray((WIDE * 255).byte().permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    words = ["outputs=boxes:where,scores:how sure", "box_format=cxcywh", "normalised=true"]
    words += ["normalise=255", 'class_names=["a","b"]']
    options = [part for word in words for part in ("-O", word)]
    command = ["detect", str(tmp_path / "a.png"), "-d", str(path), "--json", *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    text = done.stdout
    assert json.loads(text), text
    detector = load_detector(
        path,
        outputs="boxes:where,scores:how sure",
        box_format="cxcywh",
        normalised=True,
        normalise=255,
    )
    assert_finds(detector, WIDE, (20, 10, 36, 22))
