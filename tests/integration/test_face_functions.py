"""Real face detectors of other packages, as functions: MTCNN and dlib, on a painting of The Met."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.errors import DetectorOutputError, MissingDependencyError
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.images.resize import shrink
from chiaroscuro.testing import detector_checks

FACE = [61.0, 41.0, 110.0, 97.0]
Find = Callable[[Tensor], list[object]]
pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """The lute player's face and shoulders, 160 high and 200 wide."""
    try:
        whole, _ = shrink(cs.read_image(sample_painting(439933).path), 480)
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return whole[:, 40:200, 130:330].contiguous()


def mtcnn() -> Find:
    package = pytest.importorskip("facenet_pytorch", reason="`make test` installs it")
    network = package.MTCNN(keep_all=True, thresholds=[0.5, 0.5, 0.02], post_process=False)

    def find(images: Tensor) -> list[object]:
        found: list[object] = []
        for image in images:
            rgb = (image.permute(1, 2, 0) * 255).round()
            boxes, scores = network.detect(rgb) if min(rgb.shape[:2]) >= 20 else (None, None)
            found.append([] if boxes is None else {"boxes": boxes, "scores": scores})
        return found

    return find


def dlib() -> Find:
    package = pytest.importorskip("dlib", reason="`make test` installs it")
    detector = package.get_frontal_face_detector()

    def find(images: Tensor) -> list[object]:
        found: list[object] = []
        for image in images:
            rgb = (image.permute(1, 2, 0) * 255).round().byte().numpy()
            rectangles, margins, _ = detector.run(rgb, 1, -1)
            found.append(
                [
                    [r.left(), r.top(), r.right() + 1, r.bottom() + 1, 1 / (1 + math.exp(-4 * m))]
                    for r, m in zip(rectangles, margins, strict=True)
                ]
            )
        return found

    return find


@pytest.fixture(scope="module", params=[mtcnn, dlib], ids=["mtcnn", "dlib"])
def find(request: pytest.FixtureRequest) -> Find:
    made: Find = request.param()
    return made


def test_it_passes_the_suite(find: Find, picture: Tensor) -> None:
    for _, check in detector_checks(cs.load_detector(find), picture):
        check()


def test_it_is_explained(find: Find, picture: Tensor) -> None:
    result = cs.explain(picture, find, n_passes=24, batch_size=8)
    (face, *_) = result.targets
    assert face.box.tolist() == pytest.approx(FACE, abs=6)
    assert bool(result.saliency[0].any())
    assert not any("threshold" in note for note in result.notes)


def test_its_boxes_in_another_format_are_refused(find: Find, picture: Tensor) -> None:
    def with_sizes(images: Tensor) -> list[Tensor]:
        found = [p.above(0.5) for p in cs.load_detector(find).detect(images)]
        return [
            torch.cat([p.boxes[:, :2], p.boxes[:, 2:] - p.boxes[:, :2], p.scores[:, None]], dim=1)
            for p in found
        ]

    with pytest.raises(DetectorOutputError, match="looks like x y width height"):
        cs.load_detector(with_sizes).detect(picture[None])
