"""What functions return in practice: read right, or refused in a sentence that says why."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chiaroscuro as cs
from chiaroscuro.core.errors import DetectorOutputError, InputError, UnsupportedMethodError
from chiaroscuro.methods import METHODS

HEIGHT, WIDTH = 64, 96
UPPER_LEFT, LOWER_RIGHT = [10, 8, 34, 30], [60, 34, 84, 60]
SCORE = 0.75
Rows = Callable[[Tensor], Tensor]


def scene(*faces: list[int]) -> Tensor:
    image = torch.full((3, HEIGHT, WIDTH), 0.05)
    for x1, y1, x2, y2 in faces:
        image[:, y1:y2, x1:x2] = 0.9
    return image


def patch(image: Tensor) -> list[float] | None:
    """The box of all bright pixels."""
    y, x = torch.nonzero(image.mean(dim=0) > 0.4, as_tuple=True)
    if len(x) == 0:
        return None
    return [float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)]


def returning(form: Callable[[list[float]], Any], **options: Any) -> cs.Detector:
    """A detector of the bright patch that says it in a form of its own."""

    def find(images: Tensor) -> list[Any]:
        boxes = [patch(image) for image in images]
        return [[] if box is None else form(box) for box in boxes]

    return cs.load_detector(find, **options)


READ = {
    "bfloat16": lambda b: {
        "boxes": torch.tensor([b]).bfloat16(),
        "scores": torch.tensor([SCORE]).bfloat16(),
    },
    "float16": lambda b: {"boxes": torch.tensor([b]).half(), "scores": torch.tensor([SCORE])},
    "scores n x 1": lambda b: {"boxes": [b], "scores": np.array([[SCORE]]), "labels": [[0]]},
    "rows that require grad": lambda b: [torch.tensor([*b, SCORE], requires_grad=True)],
    "numbers that require grad": lambda b: [
        [torch.tensor(v, requires_grad=True) for v in (*b, SCORE)]
    ],
    "list of tensors": lambda b: {"boxes": [torch.tensor(b)], "scores": [torch.tensor(SCORE)]},
    "array of objects": lambda b: {
        "boxes": np.array([b], dtype=object),
        "scores": np.array([SCORE], dtype=object),
    },
    "labels as floats": lambda b: {"boxes": [b], "scores": [SCORE], "labels": [0.0]},
    "double": lambda b: torch.tensor([[*b, SCORE, 0]], dtype=torch.float64),
    "a tuple of rows": lambda b: ((*b, SCORE),),
}


@pytest.mark.parametrize("form", READ)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_read(form: str, dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    try:
        detector = returning(READ[form])
        (found,) = detector.detect(scene(LOWER_RIGHT).float()[None])
        assert found.boxes.tolist() == [LOWER_RIGHT]
        assert found.scores.tolist() == [SCORE]
        assert found.labels.tolist() == [0]
        assert len(cs.explain(scene(LOWER_RIGHT).float(), detector, n_passes=8)) == 1
    finally:
        torch.set_default_dtype(torch.float32)


def labelled(label: Any) -> Callable[[list[float]], Any]:
    return lambda b: {"boxes": [b], "scores": [SCORE], "labels": label}


REFUSED = {
    "label 1 of one class": (labelled([1]), "label 1 has no class name; the names are: 0 face"),
    "label -1": (labelled([-1]), "label -1 has no class name"),
    "label 7.5": (labelled([7.5]), "labels: wanted whole numbers.*got 7.5"),
    "label 2**40": (labelled([2**40]), f"label {2**40} has no class name"),
    "label 2**40 in a row": (lambda b: [[*b, SCORE, 2**40]], f"label {2**40} has no class name"),
    "labels as words": (labelled(["face"]), "labels are numbers, the index into class_names"),
    "labels as objects": (labelled(np.array(["face"], object)), "labels are numbers"),
    "labels None": (labelled([None]), "labels: wanted whole numbers"),
    "proposals with label 1": (
        lambda b: cs.Proposals(boxes=[b], scores=[SCORE], labels=[1]),
        "label 1 has no class name",
    ),
    "words in rows": (lambda b: [[*b, SCORE, "face"]], "labels: the index|so are labels"),
    "class vectors as scores": (
        lambda b: {"boxes": [b], "scores": [[0.5, 0.2, 0.1]]},
        r"scores: wanted shape \(1,\), one per box, got \(1, 3\)",
    ),
    "boxes transposed": (
        lambda b: {"boxes": np.array([b, b]).T, "scores": [SCORE, SCORE]},
        r"boxes: wanted shape \(n, 4\) as x1 y1 x2 y2, got \(4, 2\)",
    ),
    "boxes and scores side by side": (
        lambda b: (np.array([b, b]), np.array([SCORE, SCORE])),
        "a dict with boxes, scores and labels",
    ),
    "boxes as words": (lambda b: {"boxes": "none", "scores": []}, "boxes: wanted numbers"),
    "percent": (lambda b: [[*b, 75.0]], r"wanted values in \[0, 1\]"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_refused(form: str) -> None:
    made, says = REFUSED[form]
    detector = returning(made)
    with pytest.raises(DetectorOutputError, match=says) as caught:
        detector.detect(scene(LOWER_RIGHT)[None])
    assert detector.info.name in str(caught.value)
    with pytest.raises(DetectorOutputError, match=says):  # not wrapped into "failed after 0 masks"
        cs.explain(scene(LOWER_RIGHT), detector, [LOWER_RIGHT], n_passes=8)


def test_any_detector_is_held_to_its_class_names() -> None:
    class Plugin:
        info = cs.DetectorInfo(name="plug-in")

        def detect(self, images: Tensor) -> list[cs.Proposals]:
            return [cs.Proposals(boxes=[UPPER_LEFT], scores=[SCORE], labels=[1])] * len(images)

    with pytest.raises(DetectorOutputError, match="detector plug-in: label 1 has no class name"):
        cs.explain(scene(UPPER_LEFT), Plugin(), n_passes=8)


@pytest.mark.parametrize("names", ["face", []])
def test_class_names_are_a_list_of_names(names: Any) -> None:
    with pytest.raises(InputError, match="class_names: wanted"):
        cs.load_detector(lambda _: [], class_names=names)


# --- boxes of another format ----------------------------------------------------------------------

FORMATS: dict[str, tuple[Rows, str]] = {
    "xywh": (
        lambda b: torch.stack([b[0], b[1], b[2] - b[0], b[3] - b[1]]),
        "looks like x y width height",
    ),
    "centre": (
        lambda b: torch.stack([(b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]]),
        "centre x, centre y, width, height",
    ),
    "normalised": (
        lambda b: b / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT]),
        f"looks normalised.*multiply x by {WIDTH}.*y by {HEIGHT}",
    ),
    "another size": (lambda b: b * 640 / WIDTH, "far outside the picture, which is 96 pixels wide"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("face", [UPPER_LEFT, LOWER_RIGHT, [36, 20, 60, 44]])
@pytest.mark.parametrize("masked", [False, True])
def test_boxes_of_another_format_are_named(name: str, face: list[int], masked: bool) -> None:
    convert, says = FORMATS[name]
    detector = returning(lambda b: [[*convert(torch.tensor(b)).tolist(), SCORE]])
    image = scene(face)
    explain = partial(cs.explain, image, detector, [face], n_passes=40)
    with pytest.raises(DetectorOutputError, match=says):
        explain() if masked else detector.detect(image[None])


@pytest.mark.parametrize("face", [UPPER_LEFT, LOWER_RIGHT, [0, 0, 96, 64], [40, 20, 56, 44]])
def test_boxes_in_pixels_are_not_suspected(face: list[int]) -> None:
    detector = returning(lambda b: [[*b, SCORE]])
    assert detector.detect(scene(face)[None])[0].boxes.tolist() == [face]


def test_a_detector_is_asked_about_its_format_once_more_at_most() -> None:
    calls = []

    def find(images: Tensor) -> list[list[list[float]]]:
        calls.append(len(images))
        return [[[*box, SCORE]] if (box := patch(image)) else [] for image in images]

    detector = cs.load_detector(find)
    for _ in range(3):
        detector.detect(scene(UPPER_LEFT)[None])
    assert len(calls) == 4
    calls.clear()
    cs.load_detector(find).detect(scene(LOWER_RIGHT)[None])
    assert calls == [1]


def test_padding_rows_are_no_evidence() -> None:
    rows = [[*LOWER_RIGHT, SCORE], [0, 0, 0, 0, 0], [0.2, 0.2, 0.1, 0.1, 0]]
    with pytest.warns(RuntimeWarning, match="dropped 1 of 3"):
        (found,) = cs.load_detector(lambda _: [rows]).detect(scene(LOWER_RIGHT)[None])
    assert found.boxes[0].tolist() == LOWER_RIGHT


# --- bare modules ---------------------------------------------------------------------------------


class Bare(nn.Module):
    """Reports the bright patch; its score shows the mode it runs in and keeps gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(SCORE))
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> list[Any]:
        assert not torch.is_grad_enabled()
        score = self.dropout(self.weight.expand(1))
        return [
            {"boxes": torch.tensor([patch(image)]), "scores": score} if patch(image) else []
            for image in images
        ]


def test_a_bare_module_runs_in_evaluation_mode_and_is_left_as_it_was() -> None:
    module = Bare().train()
    module.dropout.eval()
    detector = cs.load_detector(module)
    for _ in range(5):
        assert detector.detect(scene(LOWER_RIGHT)[None])[0].scores.tolist() == [SCORE]
    assert module.training
    assert not module.dropout.training
    assert detector.info.name == "Bare"
    assert detector.network is module  # type: ignore[attr-defined]


def test_a_bare_module_without_members_is_refused_by_gradient_methods() -> None:
    with pytest.raises(
        UnsupportedMethodError, match="Bare runs a torch network but has no propose"
    ):
        cs.explain(scene(LOWER_RIGHT), Bare(), [LOWER_RIGHT], method="guided-backprop")


def test_a_bare_module_with_the_members_is_looked_into() -> None:
    from chiaroscuro.detectors.protocol import RawProposals

    class Open(Bare):
        feature_layers = ()

        def propose(self, images: Tensor) -> list[RawProposals]:
            x1, y1, x2, y2 = LOWER_RIGHT
            return [
                RawProposals(
                    torch.tensor([LOWER_RIGHT], dtype=torch.float32),
                    self.weight * image[:, y1:y2, x1:x2].mean()[None],
                    torch.zeros(1, dtype=torch.int64),
                    (HEIGHT, WIDTH),
                )
                for image in images
            ]

    pytest.importorskip("captum")
    result = cs.explain(scene(LOWER_RIGHT), Open(), [LOWER_RIGHT], method="saliency")
    assert cs.metrics.energy_pointing_game(result.saliency[0], LOWER_RIGHT) == pytest.approx(1)


def test_a_class_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"got the class Bare; make an object of it, Bare\(\.\.\.\)"
    ):
        cs.load_detector(Bare)


# --- notes and random numbers ---------------------------------------------------------------------


def test_a_function_with_a_threshold_is_told_what_it_loses() -> None:
    def above(threshold: float) -> Callable[[Tensor], list[Any]]:
        def find(images: Tensor) -> list[Any]:
            x1, y1, x2, y2 = LOWER_RIGHT
            scores = [float(image[:, y1:y2, x1:x2].mean()) for image in images]
            return [[[*LOWER_RIGHT, s]] if s >= threshold else [] for s in scores]

        return find

    cut = cs.explain(scene(LOWER_RIGHT), above(0.4), [LOWER_RIGHT], n_passes=60)
    assert any("it seems to have a threshold" in note for note in cut.notes)
    whole = cs.explain(scene(LOWER_RIGHT), above(0.01), [LOWER_RIGHT], n_passes=60)
    assert not any("threshold" in note for note in whole.notes)


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.needs == "black box"])
def test_methods_leave_global_generators_alone(name: str) -> None:
    for package in METHODS[name].packages:
        pytest.importorskip(package)
    detector = returning(lambda b: [[*b, SCORE]])
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    wanted = np.random.rand(), float(torch.rand(1))  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    cs.explain(scene(LOWER_RIGHT), detector, [LOWER_RIGHT], n_passes=150, method=name)
    assert (np.random.rand(), float(torch.rand(1))) == wanted  # noqa: NPY002
