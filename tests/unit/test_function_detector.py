from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import chiaroscuro as cs
from chiaroscuro.core.errors import DetectorOutputError, InputError
from chiaroscuro.detectors.protocol import parts_detector
from chiaroscuro.testing import PlantedDetector, detector_checks

BOX, SCORE = [2.0, 3.0, 12.0, 9.0], 0.75
WAYS = {
    "array n 5": np.array([[*BOX, SCORE]]),
    "array n 6": np.array([[*BOX, SCORE, 1]]),
    "list": [[*BOX, SCORE]],
    "tensor": torch.tensor([[*BOX, SCORE]], requires_grad=True),
    "torchvision": {
        "boxes": torch.tensor([BOX]),
        "scores": torch.tensor([SCORE]),
        "labels": torch.tensor([1]),
    },
    "supervision": SimpleNamespace(
        xyxy=np.array([BOX]), confidence=np.array([SCORE]), class_id=np.array([1])
    ),
    "supervision without scores": SimpleNamespace(
        xyxy=np.array([BOX]), confidence=None, class_id=None
    ),
    "proposals": cs.Proposals(boxes=[BOX], scores=[SCORE]),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_say_one_detection(way: str) -> None:
    detector = cs.load_detector(
        lambda images: [WAYS[way]] * len(images), class_names=["background", "face"]
    )
    for proposals in detector.detect(torch.rand(2, 3, 20, 30)):
        assert proposals.boxes.tolist() == [BOX]
        assert float(proposals.scores) == (1.0 if way == "supervision without scores" else SCORE)
        assert not proposals.boxes.requires_grad


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 5)), torch.zeros(0, 6), np.array([])])
def test_every_way_to_say_nothing(nothing: object) -> None:
    assert len(cs.load_detector(lambda _: [nothing]).detect(torch.rand(1, 3, 4, 5))[0]) == 0


def test_the_function_gets_float_cpu_pictures_in_the_unit_interval() -> None:
    seen = []

    def look(images: Tensor) -> list[list[float]]:
        seen.append(images)
        return [[] for _ in images]

    picture = torch.randint(0, 256, (2, 3, 7, 5), dtype=torch.uint8)
    cs.load_detector(look).detect(picture)
    assert seen[0].dtype == torch.float32
    torch.testing.assert_close(seen[0], picture.float() / 255)


def test_min_score_and_names() -> None:
    rows = np.array([[*BOX, 0.9, 0], [*BOX, 0.1, 1]])
    detector = cs.load_detector(
        lambda _: [rows], min_score=0.5, class_names=["a", "b"], name="mine"
    )
    assert detector.info.name == "mine"
    assert detector.info.class_names == ("a", "b")
    assert len(detector.detect(torch.rand(1, 3, 4, 5))[0]) == 1


def test_infinite_and_inverted_rows_are_dropped_with_a_count() -> None:
    rows = np.array([[*BOX, 0.9], [5, 5, 1, 9, 0.8], [1, 1, 2, np.inf, 0.7], [1, 1, 2, 2, np.nan]])
    with pytest.warns(RuntimeWarning, match="dropped 3 of 4 detections"):
        (proposals,) = cs.load_detector(lambda _: [rows]).detect(torch.rand(1, 3, 4, 5))
    assert len(proposals) == 1


@pytest.mark.parametrize(
    ("result", "error", "says"),
    [
        (np.zeros((2, 7)), DetectorOutputError, r"got shape \(2, 7\)"),
        ({"boxes": [BOX]}, DetectorOutputError, "boxes, scores and labels"),
        ({"boxes": [BOX], "scores": []}, DetectorOutputError, "one score per box"),
        ("nothing", DetectorOutputError, "got str"),
        (None, DetectorOutputError, "got NoneType"),
        ([[*BOX, 3.0]], DetectorOutputError, "sigmoid"),
    ],
)
def test_what_is_no_detection_is_refused(result: object, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        cs.load_detector(lambda _: [result]).detect(torch.rand(1, 3, 4, 5))


def bright_box(images: Tensor) -> list[list[list[float]]]:
    return [[[2, 3, 12, 9, float(picture.mean())]] for picture in images]


@pytest.mark.parametrize(("name", "check"), detector_checks(cs.load_detector(bright_box)))
def test_function_detector_passes_the_suite(name: str, check: object) -> None:
    check()  # type: ignore[operator]


PLANTED = PlantedDetector((20, 10, 60, 50), torch.full((96, 160), 1 / (96 * 160)))


@pytest.mark.parametrize(("name", "check"), detector_checks(PLANTED))
def test_planted_detector_passes_the_suite(name: str, check: object) -> None:
    check()  # type: ignore[operator]


class Broken:
    """Breaks one promise at a time, so that the suite is seen to notice."""

    def __init__(self, how: str) -> None:
        self.how = how
        local = True if how == "parts" else None
        self.info = cs.DetectorInfo(name="broken", min_score=0.1, stride=8.0, any_size=local)
        self.calls = 0

    def detect(self, images: Tensor) -> list[cs.Proposals]:
        self.calls += 1
        height, width = images.shape[2:]
        box, score = [1.0, 1.0, 9.0, 9.0], 0.5
        if self.how == "count":
            images = images[:1]
        elif self.how == "floor":
            score = 0.05
        elif self.how == "axes":
            box = [0.0, width - 2.0, 3.0, width + 0.0] if width > 1.3 * height else box
        elif self.how == "writes" and images.is_floating_point():
            images.mul_(0.5)
        elif self.how == "random":
            score = 0.2 + 0.001 * self.calls
        elif self.how == "range" and images.is_floating_point():
            score = 0.4
        elif self.how == "parts" and width < 160:  # the pictures of the suite are 160 wide
            score = 0.3
        elif self.how == "batch" and len(images) > 1:
            score = 0.6
        label = 4 if self.how == "label" else 0
        if self.how == "blind":
            return [cs.Proposals.empty() for _ in images]
        return [cs.Proposals(boxes=[box], scores=[score], labels=[label]) for _ in images]


@pytest.mark.parametrize(
    ("how", "check"),
    [
        ("count", "one_result_per_image"),
        ("floor", "scores_reach_no_lower_than_stated"),
        ("axes", "boxes_are_pixels_of_the_input"),
        ("writes", "input_is_unchanged"),
        ("random", "same_picture_same_result"),
        ("range", "uint8_equals_float"),
        ("batch", "batch_equals_singles"),
        ("label", "labels_have_names"),
        ("blind", "something_is_found"),
        ("parts", "parts_are_seen_as_in_the_whole"),
    ],
)
def test_the_suite_notices_a_broken_promise(how: str, check: str) -> None:
    checks = dict(detector_checks(Broken(how)))
    with pytest.raises((AssertionError, DetectorOutputError)):
        checks[check]()


# Parts of pictures


def brightest_cell(images: Tensor) -> list[list[list[float]]]:
    """A box of 16 pixels around the brightest cell of 8; its score is the cell's brightness."""
    found = []
    height, width = images.shape[2:]
    whole_cells = F.pad(images.mean(dim=1), (0, -width % 8, 0, -height % 8))
    for cells in F.avg_pool2d(whole_cells, 8):
        y, x = divmod(int(cells.argmax()), cells.shape[1])
        box = [8 * x - 4.0, 8 * y - 4.0, 8 * x + 12.0, 8 * y + 12.0]
        found.append([[*box, float(cells[y, x])]])
    return found


def test_a_function_may_state_that_it_sees_parts() -> None:
    unknown = cs.load_detector(brightest_cell).info
    assert (unknown.any_size, unknown.stride) == (None, 32.0)
    detector = cs.load_detector(brightest_cell, any_size=True, stride=8)
    assert (detector.info.any_size, detector.info.stride) == (True, 8.0)
    assert cs.load_detector(brightest_cell, any_size="false").info.any_size is False
    assert parts_detector(detector, 96, 160) is detector
    picture = torch.full((3, 96, 160), 20, dtype=torch.uint8)
    picture[:, 72:80, 136:144] = 250
    for _, check in detector_checks(detector, picture):
        check()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stride": 0}, "stride: wanted a number of pixels above 0, got 0"),
        ({"stride": -8.0}, "above 0, got -8"),
        ({"stride": float("nan")}, "above 0, got nan"),
        ({"stride": True}, "above 0, got True"),
        ({"any_size": "some"}, "any_size: wanted true or false, got 'some'"),
    ],
)
def test_unusable_options_about_parts(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        cs.load_detector(brightest_cell, **options)
