"""Gradient and activation methods on torchvision's detectors, with random weights."""

import warnings

import pytest
import torch
from torch import Tensor
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.core.records import Target
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.torchvision import TorchvisionDetector
from chiaroscuro.detectors.protocol import Differentiable
from chiaroscuro.methods import METHODS, Answer, Question

RCNN, SSDLITE = "fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"


def loaded(builder: str) -> TorchvisionDetector:
    torch.manual_seed(0)
    detector = load_detector(f"torchvision/{builder}", weights=None, min_score=0.0, device="cpu")
    assert isinstance(detector, TorchvisionDetector)
    return detector


@pytest.fixture(scope="module")
def rcnn() -> TorchvisionDetector:
    return loaded(RCNN)


@pytest.fixture(scope="module")
def resnet() -> TorchvisionDetector:
    """A residual network with batch norm and a feature pyramid, as in torchvision, but small."""
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.models.resnet import BasicBlock, ResNet

    torch.manual_seed(0)
    body = ResNet(BasicBlock, [1, 1, 1, 1])
    for name, values in body.named_buffers():
        if name.endswith("running_var"):
            values.uniform_(0.5, 2)
    backbone = _resnet_fpn_extractor(body, 5)
    anchors = AnchorGenerator(tuple((s,) for s in (16, 32, 64, 128, 256)), ((1.0,),) * 5)
    model = detection.FasterRCNN(
        backbone,
        num_classes=2,
        min_size=96,
        max_size=200,
        rpn_anchor_generator=anchors,
        rpn_post_nms_top_n_test=20,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=3, sampling_ratio=2),
    )
    return TorchvisionDetector(model.train(), min_score=0.0)


def ask(name: str, detector: TorchvisionDetector, image: Tensor) -> Answer:
    found = detector.detect(image[None])[0]
    target = Target(box=found.boxes[0], label=int(found.labels[0])).inside(*image.shape[1:])
    n_passes = min(METHODS[name].n_passes, 4)
    question = Question(image=image, detector=detector, targets=(target,), n_passes=n_passes)
    answer = METHODS[name].answer(question)
    assert bool(answer.saliency.isfinite().all())
    return answer


@pytest.mark.parametrize("builder", [RCNN, SSDLITE])
def test_proposes_what_it_detects_without_suppression(builder: str, image: Tensor) -> None:
    detector = loaded(builder)
    assert isinstance(detector, Differentiable)
    (raw,) = detector.propose(image[None].clone().requires_grad_())
    assert raw.scores.requires_grad
    (found,) = detector.without_nms().detect(image[None])
    n = len(found)
    assert n > 10
    torch.testing.assert_close(raw.boxes[:n].detach(), found.boxes)
    torch.testing.assert_close(raw.scores[:n].detach(), found.scores)
    assert torch.equal(raw.labels[:n], found.labels)


def test_extent_is_that_of_the_padded_picture(resnet: TorchvisionDetector, image: Tensor) -> None:
    """40 x 56 is resized to 96 x 134 and padded to 96 x 160; SSD squeezes it into a square."""
    (raw,) = resnet.propose(image[None])
    assert raw.extent == pytest.approx((40, 56 * 160 / 134))
    (raw,) = loaded(SSDLITE).propose(image[None])
    assert raw.extent == pytest.approx((40, 56))


def test_feature_layers_are_modules(rcnn: TorchvisionDetector, resnet: TorchvisionDetector) -> None:
    retina = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None)
    vgg = detection.ssd300_vgg16(weights=None, weights_backbone=None)
    for detector, n_layers in (
        (rcnn, 2),
        (resnet, 4),
        (TorchvisionDetector(retina), 5),
        (TorchvisionDetector(vgg), 6),
        (loaded(SSDLITE), 6),
    ):
        assert len(detector.feature_layers) == n_layers
        for name in (*detector.feature_layers, detector.excitation_layer):
            detector.network.get_submodule(name)


@pytest.mark.parametrize("name", ["saliency", "gradcam", "gradcam++", "smooth-gradcam++"])
def test_explained(name: str, rcnn: TorchvisionDetector, image: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = ask(name, rcnn, image)
    assert answer.saliency.shape == (1, *image.shape[1:])
    assert answer.n_passes == METHODS[name].n_passes if name != "smooth-gradcam++" else 4
    kinds = {note.kind for note in answer.notes}
    assert bool((answer.saliency > 0).any()) != ("saturated" in kinds)  # a zero map says why
    if name == "saliency":
        assert not kinds
    else:
        assert set(answer.choices["layers"]) <= set(rcnn.feature_layers)
    assert float(answer.saliency.min()) >= 0


def test_network_in_training_is_left_so(resnet: TorchvisionDetector, image: Tensor) -> None:
    before = {name: value.clone() for name, value in resnet.network.state_dict().items()}
    for name in ("saliency", "guided-backprop", "excitation-backprop"):
        assert bool(ask(name, resnet, image).saliency.any())
    assert all(module.training for module in resnet.network.modules())
    after = resnet.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in resnet.network.parameters())


def test_refused_with_the_reason(rcnn: TorchvisionDetector, image: Tensor) -> None:
    for name, reason in (
        ("guided-backprop", "hardswish"),
        ("excitation-backprop", "hardswish"),
        ("cam", "cells"),
    ):
        with pytest.raises(UnsupportedMethodError, match=reason):
            ask(name, rcnn, image)
