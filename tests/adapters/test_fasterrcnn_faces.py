"""Our own Faster R-CNN: pictures as they are, parts like the whole, boxes to ignore."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import chiaroscuro as cs
from chiaroscuro.core.errors import CheckpointError
from chiaroscuro.core.records import Truth
from chiaroscuro.detectors.adapters.torchvision import TorchvisionDetector, load
from chiaroscuro.detectors.adapters.torchvision.ignoring import ignoring, passed_over
from chiaroscuro.detectors.protocol import parts_detector
from chiaroscuro.testing import detector_checks

BUILDER = "fasterrcnn_faces"


def random_faces() -> TorchvisionDetector:
    """The network with random weights whose scores vary."""
    torch.manual_seed(2)
    detector = load(BUILDER, weights=None, device="cpu")
    for name, module in detector.network.named_modules():
        if isinstance(module, nn.Conv2d) and "backbone" in name:
            nn.init.kaiming_normal_(module.weight)
    nn.init.normal_(detector.network.roi_heads.box_predictor.cls_score.weight, std=0.3)
    return detector


@pytest.fixture(scope="module")
def detector() -> TorchvisionDetector:
    return random_faces()


@pytest.fixture(scope="module")
def picture() -> Tensor:
    return torch.rand(1, 3, 224, 320, generator=torch.Generator().manual_seed(5))


def test_it_says_what_it_is(detector: TorchvisionDetector) -> None:
    assert detector.info.class_names == ("face",)
    assert (detector.info.stride, detector.info.any_size) == (32.0, True)
    assert detector.feature_layers == tuple(f"backbone.context.{i}" for i in range(3))
    names = dict(detector.network.named_modules())
    assert {*detector.feature_layers, detector.excitation_layer} <= set(names)
    assert 1_200_000 < sum(p.numel() for p in detector.network.parameters()) < 1_400_000


def test_it_passes_the_checks(detector: TorchvisionDetector, picture: Tensor) -> None:
    for name, check in detector_checks(detector, (picture[0] * 255).byte()):
        if name != "parts_are_seen_as_in_the_whole":  # random weights look at everything
            check()


def test_pictures_keep_their_size_unless_one_is_given(
    detector: TorchvisionDetector, picture: Tensor
) -> None:
    seen = []
    hook = detector.network.transform.register_forward_hook(
        lambda _module, _given, made: seen.append(made[0].image_sizes[0])
    )
    detector.detect(picture)
    resized = TorchvisionDetector(detector.network, min_size=448, max_size=640)
    resized.detect(picture)
    hook.remove()
    assert seen == [(224, 320), (448, 640)]
    assert parts_detector(detector, 224, 320) is detector
    assert parts_detector(resized, 224, 320).info.stride == 16.0


def test_a_checkpoint_is_loaded_without_options(
    tmp_path: Path, detector: TorchvisionDetector, picture: Tensor
) -> None:
    path = tmp_path / "faces.safetensors"
    detector.save(path)
    again = cs.load_detector(path, device="cpu")
    assert torch.equal(again.detect(picture)[0].boxes, detector.detect(picture)[0].boxes)
    assert again.info.name.startswith("faces.safetensors@")
    with pytest.raises(CheckpointError, match="fasterrcnn_faces") as refused:
        load("fasterrcnn_mobilenet_v3_large_fpn", weights=path, device="cpu")
    assert "fasterrcnn_mobilenet_v3_large_fpn" in str(refused.value)


@pytest.mark.parametrize("method", ["gradcam", "saliency", "excitation-backprop"])
def test_white_box_methods_have_their_layers(
    detector: TorchvisionDetector, picture: Tensor, method: str
) -> None:
    found = detector.detect(picture)[0]
    unsure = found[(found.scores - 0.5).abs().argsort()[:3]]  # where gradients do not vanish
    made = cs.explain(picture[0], detector, unsure, method=method)
    assert bool(made.saliency.isfinite().all())
    assert float(made.saliency.abs().max()) > 0


# Boxes to ignore


def families() -> dict[str, nn.Module]:
    from torchvision.models import detection

    torch.manual_seed(4)
    small = {"min_size": 96, "max_size": 160, "weights": None, "weights_backbone": None}
    return {
        "rcnn": load(BUILDER, weights=None, device="cpu").network,
        "retinanet": detection.retinanet_resnet50_fpn(num_classes=2, **small),
        "fcos": detection.fcos_resnet50_fpn(num_classes=2, **small),
        "ssd": detection.ssdlite320_mobilenet_v3_large(
            num_classes=2, weights=None, weights_backbone=None
        ),
    }


IGNORED = torch.tensor([[64.0, 32, 128, 96]])
TRUTH = {"boxes": torch.tensor([[8.0, 8, 40, 48]]), "labels": torch.tensor([1])}


@pytest.mark.parametrize("family", ["retinanet", "fcos", "ssd"])
def test_one_stage_losses_have_no_gradient_in_a_box_to_ignore(family: str) -> None:
    model = families()[family].train()
    seen: list[tuple[Tensor, Tensor]] = []
    anchors: list[Tensor] = []
    model.head.register_forward_hook(
        lambda _module, _given, made: (
            made["cls_logits"].retain_grad() or seen.append(made["cls_logits"])
        )
    )
    model.anchor_generator.register_forward_hook(
        lambda _module, _given, made: anchors.append(made[0])
    )
    images = list(torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(1)))
    nothing = torch.zeros(0, 4)
    for ignored in (nothing, IGNORED):
        with ignoring(model, [ignored, nothing]):
            losses = model(images, [dict(TRUTH), dict(TRUTH)])
        sum(losses.values()).backward()
    scale = torch.tensor(1.0)
    if family == "ssd":  # every picture becomes 320 x 320
        scale = torch.tensor([320 / 160, 320 / 96] * 2)
    over = passed_over(anchors[1], IGNORED * scale, TRUTH["boxes"] * scale)
    assert 0 < int(over.sum()) < len(over)
    without, with_ignored = (one.grad[0].abs().sum(dim=1) for one in seen)
    assert float(with_ignored[over].max()) == 0
    if family != "ssd":  # which learns from the hardest background alone
        assert float(without[over].min()) > 0
        assert torch.allclose(without[~over] > 0, with_ignored[~over] > 0)


def test_two_stage_losses_pass_over_a_box_to_ignore() -> None:
    model = families()["rcnn"].train()
    labels: dict[str, list[Tensor]] = {"rpn": [], "heads": []}
    for name, part in (("rpn", model.rpn), ("heads", model.roi_heads)):
        sampler = part.fg_bg_sampler

        def recording(given: list[Tensor], name: str = name, sampler: object = sampler) -> object:
            labels[name] += given
            return sampler(given)  # type: ignore[operator]

        part.fg_bg_sampler = recording
    images = [torch.rand(3, 96, 160)]
    detector = TorchvisionDetector(model, class_names=["face"])
    truth = Truth(boxes=[[8, 8, 40, 48], IGNORED[0].tolist()], ignore=[False, True])
    anchors = model.rpn.anchor_generator
    made: list[Tensor] = []
    anchors.register_forward_hook(lambda _module, _given, found: made.append(found[0]))
    detector.losses(torch.stack(images), [truth])
    over = passed_over(made[0], IGNORED, TRUTH["boxes"])
    assert int(over.sum()) > 0
    assert bool((labels["rpn"][0][over] == -1).all())
    assert bool((labels["rpn"][0][~over] >= 0).any())
    assert bool((labels["heads"][0] == -1).any())
    assert "assign_targets_to_anchors" not in vars(model.rpn)  # as before
    assert "assign_targets_to_proposals" not in vars(model.roi_heads)


def test_what_overlaps_an_object_is_not_passed_over() -> None:
    candidates = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12], [50, 50, 60, 60]])
    ignored = torch.tensor([[0.0, 0, 20, 20]])
    none = torch.zeros(0, 4)
    assert passed_over(candidates, ignored, none).tolist() == [True, True, False]
    assert passed_over(candidates, ignored, candidates[1:2]).tolist() == [False, False, False]
    assert passed_over(candidates, none, none).tolist() == [False] * 3
