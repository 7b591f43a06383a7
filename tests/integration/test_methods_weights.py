"""Gradient and activation methods on RetinaFace with its own weights, on paintings of The Met."""

import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.errors import MissingDependencyError
from chiaroscuro.core.records import Target, as_targets
from chiaroscuro.data.samples import met_faces
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.retinaface import source
from chiaroscuro.detectors.protocol import Differentiable
from chiaroscuro.methods import METHODS, Answer, Question

try:
    PAINTINGS = {painting.id: painting for painting in met_faces()}
except MissingDependencyError:
    PAINTINGS = {}
pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(
        bool(not PAINTINGS or source.missing()), reason="needs pip install 'chiaroscuro[faces]'"
    ),
]

MUSICIANS = 435844  # two faces side by side
CROWD = 436622  # faces of many sizes
LARGE, LARGE_TOO, SMALL = [224, 176, 291, 252], [155, 140, 229, 225], [202, 23, 227, 57]


@pytest.fixture(scope="module")
def detector() -> Differentiable:
    pytest.importorskip("onnx")
    loaded = load_detector("retinaface", form="torch", device="cpu")
    assert isinstance(loaded, Differentiable)
    return loaded


def ask(name: str, detector: object, image: Tensor, targets: tuple[Target, ...]) -> Answer:
    n_passes = min(METHODS[name].n_passes, 6) * len(targets)
    return METHODS[name].answer(
        Question(image=image, detector=detector, targets=targets, n_passes=n_passes)
    )


def peaks_inside(found: Tensor, target: Target) -> bool:
    row, column = divmod(int(found.argmax()), found.shape[1])
    x1, y1, x2, y2 = target.box.tolist()
    return x1 <= column < x2 and y1 <= row < y2


def faces(detector: Differentiable, image: Tensor, *boxes: list[int]) -> tuple[Target, ...]:
    """The detections nearest to some boxes."""
    found = as_targets(detector.detect(image[None])[0].above(0.3))
    centres = torch.stack([(t.box[:2] + t.box[2:]) / 2 for t in found])
    wanted = torch.tensor([[(x1 + x2) / 2, (y1 + y2) / 2] for x1, y1, x2, y2 in boxes])
    return tuple(found[int(i)] for i in torch.cdist(wanted, centres).argmin(dim=1))


@pytest.mark.parametrize(
    "name", ["gradcam", "gradcam++", "smooth-gradcam++", "excitation-backprop"]
)
def test_two_faces_have_two_maps_and_each_peaks_on_its_own(
    name: str, detector: Differentiable
) -> None:
    """Of one size, where the class head is the same linear function of both."""
    image = PAINTINGS[MUSICIANS].read()
    targets = as_targets(detector.detect(image[None])[0].above(0.5))[:2]
    answer = ask(name, detector, image, targets)
    for found, target in zip(answer.saliency, targets, strict=True):
        assert peaks_inside(found, target)
    assert not torch.allclose(answer.saliency[0], answer.saliency[1])


def test_gradcam_of_a_face_that_touches_another_may_peak_there_and_says_so(
    detector: Differentiable,
) -> None:
    """Its known weakness, which excitation backprop has not: it weighs whole channels."""
    image = PAINTINGS[CROWD].read()
    targets = faces(detector, image, LARGE, LARGE_TOO)
    answer = ask("gradcam", detector, image, targets)
    assert not peaks_inside(answer.saliency[1], targets[1])
    assert answer.notes[0].startswith("target 2: the map is highest outside the box")
    excited = ask("excitation-backprop", detector, image, targets).saliency
    assert all(peaks_inside(one, t) for one, t in zip(excited, targets, strict=True))


def test_cam_is_shared_by_faces_of_one_size_and_says_so(detector: Differentiable) -> None:
    """Its known weakness: it is a map of the class."""
    image = PAINTINGS[CROWD].read()
    answer = ask("cam", detector, image, faces(detector, image, LARGE, LARGE_TOO))
    torch.testing.assert_close(answer.saliency[0], answer.saliency[1], atol=1e-2, rtol=1e-2)
    assert "targets of one size have one map" in answer.notes[-1]


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.needs == "gradients"])
def test_every_method_has_a_map(name: str, detector: Differentiable) -> None:
    image = PAINTINGS[439933].read()[:, 64:224, 200:361]
    (target, *_) = as_targets(detector.detect(image[None])[0].above(0.5))
    answer = ask(name, detector, image, (target.inside(*image.shape[1:]),))
    (found,) = answer.saliency
    assert bool(found.isfinite().all())
    assert float(found.max()) > float(found.min())
    x1, y1, x2, y2 = (round(v) for v in target.box.tolist())
    for_it = found.clamp(min=0)
    assert float(for_it[y1:y2, x1:x2].mean()) > float(for_it.mean())


def test_the_onnx_form_takes_the_torch_form_by_itself() -> None:
    image = PAINTINGS[439933].read()
    faces = (Target(box=[247, 104, 312, 184]),)
    plain = ask("gradcam", load_detector("retinaface", device="cpu"), image, faces)
    in_torch = load_detector("retinaface", form="torch", device="cpu")
    assert torch.equal(plain.saliency, ask("gradcam", in_torch, image, faces).saliency)
    ask_by_name = cs.explain(image, "retinaface", faces, method="saliency")
    assert bool(ask_by_name.saliency.any())
