"""Networks with random weights: nothing is downloaded. ``YOLO.predict`` is the judge of ours."""

import os
import re
import subprocess
import sys

import pytest
import torch

from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    MissingDependencyError,
)
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.ultralytics import UltralyticsDetector, source
from chiaroscuro.detectors.protocol import parts_detector
from chiaroscuro.testing import detector_checks

# Noise of several grains, one colour stronger than another: no two channels are alike.
_generator = torch.Generator().manual_seed(3)
PICTURE = (
    torch.nn.functional.interpolate(
        torch.rand(1, 3, 8, 12, generator=_generator) ** torch.tensor([0.5, 1, 3]).view(3, 1, 1),
        (64, 96),
    )[0]
    .mul(255)
    .round()
    .to(torch.uint8)
)


@pytest.fixture(scope="module")
def ultralytics(tmp_path_factory):
    """The package, with its settings in a folder of the test and without a network."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("settings")))
        environment.setenv("YOLO_OFFLINE", "true")
        environment.setenv("YOLO_AUTOINSTALL", "false")
        yield pytest.importorskip("ultralytics")


@pytest.fixture
def make(ultralytics):
    """Small networks whose scores spread over [0, 1], as trained ones' do."""
    from ultralytics.nn import tasks

    def make(description="yolo11n.yaml", kind="DetectionModel", classes=3):
        torch.manual_seed(0)
        network = getattr(tasks, kind)(description, nc=classes, verbose=False)
        if kind != "RTDETRDetectionModel":
            head = network.model[-1]
            for box, classes in zip(head.cv2, head.cv3, strict=True):
                torch.nn.init.normal_(box[-1].weight, std=0.01)
                torch.nn.init.normal_(classes[-1].weight, std=0.2)
                torch.nn.init.constant_(classes[-1].bias, -1.0)
        for module in network.modules():  # else the signal would die away in random layers
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        network.train()
        with torch.no_grad():
            picture = PICTURE.float() / 255
            network(torch.stack([picture, picture.flip(0), picture.flip(2), 1 - picture]))
        return network.eval()

    return make


def predict(ultralytics, network, picture, size, **options):
    """What a user of Ultralytics gets: BGR in, results out."""
    yolo = ultralytics.YOLO("yolo11n.yaml")
    yolo.model = network
    array = picture.flip(0).permute(1, 2, 0).contiguous().numpy()
    settings = {"conf": 0.01, "iou": 0.7, "max_det": 300, "verbose": False, "save": False}
    return yolo.predict(array, imgsz=size, device="cpu", **settings | options)[0].boxes


@pytest.mark.parametrize("description", ["yolo11n.yaml", "yolov8n.yaml"])
def test_agrees_with_predict(ultralytics, make, description):
    network = make(description)
    got = load_detector(network, input_size=96).detect(PICTURE[None])[0]
    wanted = predict(ultralytics, network, PICTURE, 96)
    assert len(got) == len(wanted) > 5
    torch.testing.assert_close(got.scores, wanted.conf, atol=1e-4, rtol=0)
    torch.testing.assert_close(got.labels.float(), wanted.cls)
    inside = got.boxes.clamp(min=0).minimum(torch.tensor([96.0, 64, 96, 64]))  # as predict cuts
    torch.testing.assert_close(inside, wanted.xyxy, atol=0.02, rtol=0)
    assert got.class_probabilities.shape == (len(got), 3)


@pytest.mark.parametrize(("size", "shape"), [(64, (50, 70)), (160, (64, 37))])
def test_pictures_are_prepared_as_predict_does(ultralytics, make, size, shape):
    """To the rounding of OpenCV, which resizes in bytes."""
    network, seen = make(), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    picture = PICTURE[:, : shape[0], : shape[1]]
    got = load_detector(network, input_size=size).detect(picture[None])[0]
    wanted = predict(ultralytics, network, picture, size)
    assert len(seen) > 1
    torch.testing.assert_close(seen[0], seen[-1], atol=1.6 / 255, rtol=0)
    torch.testing.assert_close(got.scores[0], wanted.conf[0], atol=0.02, rtol=0)
    inside = got.boxes[0].clamp(min=0).minimum(torch.tensor(shape[::-1] * 2))
    torch.testing.assert_close(inside, wanted.xyxy[0], atol=1.0, rtol=0)


def test_the_network_sees_rgb_in_unit_range_between_grey_bars(make):
    network, seen = make(), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    picture = torch.zeros(3, 40, 96, dtype=torch.uint8)
    picture[0] = 255  # red
    load_detector(network, input_size=96).detect(picture[None])
    (batch,) = seen
    assert batch.shape == (1, 3, 64, 96)
    assert batch[0, :, 12:52].mean((1, 2)).tolist() == [1, 0, 0]
    assert batch[0, :, :12].unique().tolist() == pytest.approx([114 / 255])


def test_swapped_colours_would_be_noticed(make):
    detector = load_detector(make(), input_size=96)
    right, wrong = detector.detect(torch.stack([PICTURE, PICTURE.flip(0)]))
    assert float((right.scores[:5] - wrong.scores[:5]).abs().max()) > 0.01


def test_without_nms_gives_back_what_was_covered(ultralytics, make):
    network = make()
    detector = load_detector(network, input_size=96)
    raw = detector.without_nms().detect(PICTURE[None])[0]
    wanted = predict(ultralytics, network, PICTURE, 96, iou=0.9)
    assert len(raw) == len(wanted) > len(detector.detect(PICTURE[None])[0])
    assert detector.without_nms().info.before_nms
    assert not detector.info.before_nms


@pytest.mark.parametrize("size", [256, 128])
def test_the_network_sees_a_part_on_the_grid_of_the_whole(make, size):
    """Its input is that for the whole, less whole cells, below and beside the bars."""
    network, seen = make("yolov8n.yaml"), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    picture = torch.rand(3, 140, 256, generator=torch.Generator().manual_seed(0))
    detector = load_detector(network, input_size=size)
    parts = parts_detector(detector, 140, 256)
    assert parts.info.stride == 32 * 256 / size
    assert detector.info.stride == 32
    (before,), (after,) = detector.detect(picture[None]), parts.detect(picture[None])
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(before.boxes, after.boxes)
    cell = round(parts.info.stride)
    parts.detect(picture[None, :, cell:, 2 * cell :])
    whole, part = seen[0], seen[-1]
    bar = 10 if size == 256 else 13  # (160 - 140) / 2; (96 - 70) / 2
    rows = 140 * size // 256 - 32
    assert part.shape[1] % 32 == part.shape[2] % 32 == 0
    assert torch.equal(part[:, bar : bar + rows], whole[:, bar + 32 : bar + 32 + rows, 64:])
    assert part[:, :bar].unique().tolist() == pytest.approx([114 / 255])


def test_boxes_of_a_part_are_those_of_the_whole(make):
    """At 192 px of margin scores agree to 0.05 and boxes to 0.5 px; measured: 0.02 and 0.13 px.

    A random network reads more of its far surroundings than a trained one.
    """
    network, generator = make("yolov8n.yaml"), torch.Generator().manual_seed(5)
    noise = (
        torch.rand(1, 3, 60, 88, generator=generator) ** torch.tensor([0.5, 1, 3])[:, None, None]
    )
    picture = torch.nn.functional.interpolate(noise, scale_factor=8)
    network.train()
    with torch.no_grad():
        network(picture)  # batch norms of this picture
    for classes in network.eval().model[-1].cv3:
        torch.nn.init.normal_(classes[-1].weight, std=0.1)
        torch.nn.init.constant_(classes[-1].bias, -2.0)
    detector = load_detector(network, input_size=704).without_nms()
    parts = parts_detector(detector, 480, 704)
    assert (parts.info.stride, parts.info.any_size) == (32, True)
    (whole,), (part,) = detector.detect(picture), parts.detect(picture[:, :, 64:, 64:])
    inside = (whole.boxes[:, :2] > 64 + 192).all(dim=1) & (whole.scores > 0.3)
    assert int(inside.sum()) >= 10
    for box, score in zip(whole.boxes[inside], whole.scores[inside], strict=True):
        boxes_alike = (part.boxes + 64 - box).abs().amax(dim=1) < 0.5
        assert bool((boxes_alike & ((part.scores - score).abs() < 0.05)).any())


def test_parts_and_suppression_compose_in_either_order(make):
    detector = load_detector(make(), input_size=96)
    assert detector.info.any_size is None  # YOLO11 attends to the whole picture
    one = detector.for_parts_of(128, 192).without_nms()
    other = detector.without_nms().for_parts_of(128, 192)
    assert one.info == other.info
    assert one.info.before_nms
    assert one.info.stride == 64
    first, second = (d.detect(PICTURE[None])[0] for d in (one, other))
    assert torch.equal(first.boxes, second.boxes)
    plain = detector.for_parts_of(128, 192).detect(PICTURE[None])[0]
    assert len(first) > len(plain) > 0
    assert one.for_parts_of(64, 96).info.stride == 32  # of another picture


def test_end_to_end_network_keeps_its_own_choice(ultralytics, make):
    network = make("yolo26n.yaml")
    head = network.model[-1]
    head.one2one_cv2.load_state_dict(head.cv2.state_dict())
    head.one2one_cv3.load_state_dict(head.cv3.state_dict())
    network.end2end = True
    detector = load_detector(network, input_size=96)
    got = detector.detect(PICTURE[None])[0]
    wanted = predict(ultralytics, network, PICTURE, 96)
    torch.testing.assert_close(got.scores[:8], wanted.conf[:8], atol=1e-3, rtol=0)
    torch.testing.assert_close(got.labels[:8].float(), wanted.cls[:8])
    inside = got.boxes[:8].clamp(min=0).minimum(torch.tensor([96.0, 64, 96, 64]))
    torch.testing.assert_close(inside, wanted.xyxy[:8], atol=0.02, rtol=0)
    assert got.class_probabilities is None
    assert not hasattr(detector, "without_nms")


def test_rtdetr_is_stretched_and_has_class_vectors(ultralytics, make):
    network, seen = make("rtdetr-l.yaml", kind="RTDETRDetectionModel"), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    detector = load_detector(network, input_size=64)
    got = detector.detect(PICTURE[None])[0]
    yolo = ultralytics.RTDETR("rtdetr-l.yaml")
    yolo.model = network
    array = PICTURE.flip(0).permute(1, 2, 0).contiguous().numpy()
    wanted = yolo.predict(array, imgsz=64, conf=0.0, verbose=False, save=False)[0].boxes
    assert len(seen) > 1
    torch.testing.assert_close(seen[0], seen[-1], atol=1.6 / 255, rtol=0)
    torch.testing.assert_close(got.scores[0], wanted.conf[0], atol=0.02, rtol=0)
    torch.testing.assert_close(got.boxes[0], wanted.xyxy[0], atol=1.0, rtol=0)
    assert got.class_probabilities.shape == (len(got), 3)
    assert not hasattr(detector, "without_nms")
    assert detector.info.any_size is False
    assert parts_detector(detector, 640, 960) is detector


@pytest.mark.parametrize(
    ("description", "kind"),
    [("yolo11n-seg.yaml", "SegmentationModel"), ("yolo11n-pose.yaml", "PoseModel")],
)
def test_segmentation_and_pose_networks_give_their_boxes(make, description, kind):
    proposals = load_detector(make(description, kind, classes=2), input_size=96).detect(
        PICTURE[None]
    )[0]
    assert len(proposals)
    assert proposals.class_probabilities.shape[1] == 2


def test_one_class_has_no_class_vector(make):
    proposals = load_detector(make(classes=1), input_size=96).detect(PICTURE[None])[0]
    assert len(proposals)
    assert proposals.class_probabilities is None


def test_other_heads_are_refused(make):
    with pytest.raises(InputError, match="head OBB"):
        load_detector(make("yolo11n-obb.yaml", "OBBModel"))
    network = make()
    network.names = dict(enumerate("abcdefgh"))
    with pytest.raises(DetectorOutputError, match="a box and 8 classes"):
        load_detector(network, input_size=96).detect(PICTURE[None])


def test_training_goes_on_after_detect(make):
    network = make().train()
    network.model[0].eval()  # frozen
    before = {name: module.training for name, module in network.named_modules()}
    load_detector(network, input_size=96).detect(PICTURE[None])
    assert {name: module.training for name, module in network.named_modules()} == before
    network(PICTURE[None].float() / 255)["scores"].sum().backward()
    network.eval()  # what the head kept from detect can be part of a gradient
    network(PICTURE[None].float() / 255)[0].sum().backward()


def test_input_size_is_that_of_training(make):
    network, seen = make(), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    network.args = {"imgsz": [100, 60]}  # to the next multiple of the stride
    load_detector(network).detect(PICTURE[None])
    load_detector(network, input_size=64).detect(PICTURE[None])
    assert seen == [(96, 128), (64, 64)]
    with pytest.raises(InputError, match="number of pixels"):
        load_detector(network, input_size=0)


def save(network, path, **others):
    """As Ultralytics' trainer does: the module itself, in half precision."""
    content = {"model": network.half(), "ema": None, "train_args": {"imgsz": 96}, **others}
    torch.save(content, path)
    network.float()


def test_weights_are_loaded_without_trust(make, tmp_path):
    network, path = make(), tmp_path / "best.pt"
    save(network, path)
    before = set(torch.serialization.get_safe_globals())
    detector = load_detector(f"ultralytics/{path}", device="cpu")
    assert set(torch.serialization.get_safe_globals()) == before
    assert re.fullmatch(r"ultralytics/best\.pt@[0-9a-f]{8}", detector.info.name)
    wanted = load_detector(network, input_size=96).detect(PICTURE[None])[0]
    torch.testing.assert_close(detector.detect(PICTURE[None])[0].boxes, wanted.boxes)


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_hostile_weights_are_not_run_unless_trusted(make, tmp_path):
    path, mark = tmp_path / "best.pt", tmp_path / "mark"
    save(make(), path, extra=Hostile(mark))
    with pytest.raises(CheckpointError, match="trust=True runs the code in it"):
        load_detector(f"ultralytics/{path}")
    assert not mark.exists()
    load_detector(f"ultralytics/{path}", trust=True)
    assert mark.exists()


class Builder:
    """Builds a network of a hostile description when it is unpickled."""

    def __init__(self, kind, description):
        self.kind, self.description = kind, description

    def __reduce__(self):
        return self.kind, (self.description,)


DESCRIPTION = """
nc: 1
activation: {activation}
scales: {{n: [1.0, 0.25, 64]}}
backbone: [[-1, 1, Conv, [16, 3, 2]], [-1, 1, Conv, [16, 3, 2]], [-1, 1, Conv, [16, 3, 2]]]
head: [[-1, 1, {layer}, [{arguments}]], [[2, 3], 1, Detect, [nc]]]
"""


def test_hostile_descriptions_are_not_run_unless_trusted(make, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "yolo99n.yaml"
    code = f"__import__('os').mkdir('{mark}') or nn.ReLU()"
    path.write_text(DESCRIPTION.format(activation=f'"{code}"', layer="Conv", arguments="16, 3, 2"))
    with pytest.raises(CheckpointError, match="nothing but layers"):
        load_detector(f"ultralytics/{path}")
    assert not mark.exists()

    weights = tmp_path / "best.pt"
    tasks = sys.modules["ultralytics.nn.tasks"]
    torch.save({"model": Builder(tasks.DetectionModel, tasks.yaml_model_load(path))}, weights)
    with pytest.raises(CheckpointError):
        load_detector(f"ultralytics/{weights}")
    assert not mark.exists()

    load_detector(f"ultralytics/{path}", trust=True)
    assert mark.exists()


def test_descriptions_cannot_name_functions_as_layers(make, tmp_path):
    pickle, path = tmp_path / "evil.pt", tmp_path / "yolo99n.yaml"
    torch.save(Hostile(tmp_path / "mark"), pickle)
    path.write_text(
        DESCRIPTION.format(activation="nn.ReLU()", layer="torch_load", arguments=f'"{pickle}"')
    )
    with pytest.raises(CheckpointError, match="nothing but layers"):
        load_detector(f"ultralytics/{path}")
    assert not (tmp_path / "mark").exists()


def test_by_description(ultralytics):
    detector = load_detector("ultralytics/yolo11n.yaml", min_score=0.0, input_size=96)
    assert detector.info.name == "ultralytics/yolo11n.yaml"
    assert len(detector.info.class_names) == 80
    assert len(detector.detect(PICTURE[None])[0])


def test_files_that_are_no_detector_are_refused(ultralytics, make, tmp_path):
    path = tmp_path / "best.pt"
    for content in (b"", b"not weights"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            load_detector(f"ultralytics/{path}")
    torch.save({"model": torch.nn.Linear(2, 2)}, path)
    with pytest.raises(CheckpointError, match="wanted a detection network"):
        load_detector(f"ultralytics/{path}")
    for name in ("absent.pt", "absent.yaml"):
        with pytest.raises(CheckpointError, match="absent"):
            load_detector(f"ultralytics/{name}")
    for name in ("", "yolo11n", "https://example.org/yolo11n.pt"):
        with pytest.raises(InputError, match=r"ultralytics/yolo11n\.pt"):
            source.load(name)


def test_published_weights_without_a_network(ultralytics, monkeypatch, tmp_path):
    def fail(*_, file, **__):
        assert file == tmp_path / "checkpoints" / "yolo11n.pt"
        raise ConnectionError("no network")

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", fail)
    with pytest.raises(CheckpointError, match=r"could not be downloaded.*copy\s+it here"):
        load_detector("ultralytics/yolo11n.pt")


def test_yolo_objects_are_wrapped(ultralytics, make, tmp_path):
    yolo = ultralytics.YOLO("yolo11n.yaml")
    yolo.model = make()
    assert isinstance(load_detector(yolo, input_size=96), UltralyticsDetector)
    with pytest.raises(InputError, match="network is on cpu"):
        load_detector(yolo, device="cuda:1")
    (tmp_path / "yolo.onnx").touch()
    with pytest.raises(InputError, match="exported model"):
        load_detector(ultralytics.YOLO(tmp_path / "yolo.onnx", task="detect"))


def test_importing_leaves_the_process_as_it_was(ultralytics, tmp_path):
    """Its notes go to stderr; children may use as many threads as before."""
    code = (
        "import os; from chiaroscuro.detectors import load_detector\n"
        "load_detector('ultralytics/yolo11n.yaml')\n"
        "assert 'OMP_NUM_THREADS' not in os.environ\n"
        "import torch; assert torch.get_default_dtype() is torch.float32"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment["YOLO_CONFIG_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "AGPL" in source.missing()
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[ultralytics\]"):
        source.load("yolo11n.pt")


def test_without_the_library_that_its_opencv_needs(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: "found")
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    monkeypatch.setitem(sys.modules, "ultralytics.nn", None)
    with pytest.raises(MissingDependencyError, match="opencv-python-headless"):
        source.load("yolo11n.pt")


def test_other_modules_are_left_to_other_sources():
    assert not source.wraps(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("description", ["yolo11n.yaml", "yolov10n.yaml"])
def test_detector_checks(make, description):
    for _, check in detector_checks(load_detector(make(description), input_size=96), PICTURE):
        check()
