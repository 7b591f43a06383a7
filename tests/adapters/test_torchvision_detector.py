import copy
import gc
import http.client
import re
import threading
import urllib.error
import weakref
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign

from chiaroscuro.core.boxes import iou
from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    UnknownNameError,
)
from chiaroscuro.core.records import Truth
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.torchvision import (
    TorchvisionDetector,
    fitting,
    load,
    save_checkpoint,
    source,
)
from chiaroscuro.detectors.adapters.torchvision import builders as networks
from chiaroscuro.detectors.checkpoint import write_checkpoint
from chiaroscuro.detectors.protocol import parts_detector
from chiaroscuro.testing import detector_checks
from chiaroscuro.training import TrainingPicture, TrainingSettings, train
from chiaroscuro.training.augment import Augmentation

# --- small random networks ------------------------------------------------------------------------

RCNN, SSDLITE = "fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"


class Backbone(nn.Sequential):
    """32 channels at a sixteenth of the size."""

    out_channels = 32

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 16, 4, stride=4),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=4),
            nn.Dropout(0.5),
        )


def make_rcnn(n_outputs: int) -> nn.Module:
    return detection.FasterRCNN(
        Backbone(),
        num_classes=n_outputs,
        min_size=96,
        max_size=200,
        rpn_anchor_generator=AnchorGenerator(((24, 48),), ((0.5, 1.0),)),
        rpn_score_thresh=0.3,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=3, sampling_ratio=2),
        box_detections_per_img=40,
    )


def make_retinanet(n_outputs: int) -> nn.Module:
    anchors = AnchorGenerator(((16, 32, 64),), ((0.5, 1.0),))
    sizes = {"min_size": 96, "max_size": 200, "detections_per_img": 40}
    return detection.RetinaNet(Backbone(), n_outputs, anchor_generator=anchors, **sizes)


def make_fcos(n_outputs: int) -> nn.Module:
    anchors = AnchorGenerator(((16,),), ((1.0,),))
    sizes = {"min_size": 96, "max_size": 200, "detections_per_img": 40}
    return detection.FCOS(Backbone(), n_outputs, anchor_generator=anchors, **sizes)


def make_ssd(n_outputs: int) -> nn.Module:
    anchors, backbone = DefaultBoxGenerator([[2]], scales=[0.3, 0.6]), Backbone()
    backbone.out_channels = [32]
    return SSD(backbone, anchors, (96, 128), n_outputs, detections_per_img=40)


FAMILIES = {"rcnn": make_rcnn, "retinanet": make_retinanet, "fcos": make_fcos, "ssd": make_ssd}


def make(family: str, n_outputs: int = 2) -> nn.Module:
    """A network with random weights that detects boxes of some size and of varied score."""
    torch.manual_seed(3)
    model = FAMILIES[family](n_outputs)
    for name, parameter in model.named_parameters():
        if ".conv." in name and name.endswith("weight") and parameter.ndim == 4:
            nn.init.kaiming_normal_(parameter)
        if name.endswith(("cls_score.weight", "cls_logits.weight", "module_list.0.weight")):
            nn.init.normal_(parameter, std=0.3 if family in ("rcnn", "ssd") else 0.1)
        if name.startswith("head") and name.endswith("cls_logits.bias"):
            nn.init.zeros_(parameter)
        if family == "fcos" and name.endswith("bbox_reg.bias"):
            nn.init.constant_(parameter, 3.0)
    return model.train()


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return make(request.param)


@pytest.fixture(scope="module")
def picture():
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 6, 9, generator=generator)
    return nn.functional.interpolate(coarse, size=(80, 130), mode="bilinear")


def head_of(model):
    return model.roi_heads if hasattr(model, "roi_heads") else model


def fingerprint(model) -> dict[str, object]:
    """Everything about a model that a detect must leave as it was."""
    head = head_of(model)
    return {
        "modules": [(n, id(m), m.training) for n, m in model.named_modules()],
        "gradients": [p.requires_grad for p in model.parameters()],
        "settings": (head.score_thresh, head.nms_thresh, head.detections_per_img),
        "rpn": (model.rpn.score_thresh, model.rpn.nms_thresh) if hasattr(model, "rpn") else None,
        "sizes": (model.transform.min_size, model.transform.max_size),
        "hooks": [len(m._forward_hooks) for m in model.modules()],
        "weights": {n: v.clone() for n, v in model.state_dict().items()},
    }


def assert_as_found(model, before) -> None:
    after = fingerprint(model)
    weights, wanted = after.pop("weights"), dict(before)
    for name, value in wanted.pop("weights").items():
        assert torch.equal(weights[name], value), name
    assert after == wanted


# --- the suite ------------------------------------------------------------------------------------

DETECTORS = {
    "builder-rcnn": lambda: load(RCNN, weights=None, min_size=160),
    "builder-ssdlite": lambda: load(SSDLITE, weights=None),
    "given-retinanet": lambda: load(make("retinanet")),
    "given-fcos": lambda: load(make("fcos"), class_names=["face", "hand"]),
}
CHECKS = [name for name, _ in detector_checks(load(make("ssd")))]


@pytest.fixture(scope="module", params=DETECTORS)
def checks(request):
    torch.manual_seed(0)
    return dict(detector_checks(DETECTORS[request.param]()))


@pytest.mark.parametrize("check", CHECKS)
def test_suite(checks, check):
    checks[check]()


def test_the_suite_has_something_to_look_at(model, picture):
    proposals = load(model).detect(picture)[0]
    assert len(proposals) > 5
    assert float(proposals.scores.max() - proposals.scores.min()) > 0.1


# --- what detect does to a model, and does not ----------------------------------------------------


def test_same_detections_as_the_model_itself(model, picture):
    """Down to the model's own threshold and cap; below them there is more."""
    alone = copy.deepcopy(model).eval()
    head = head_of(alone)
    head.score_thresh = 0.3
    with torch.no_grad():
        wanted = alone(list(picture))[0]
    got = load(model).detect(picture)[0]
    assert 0 < len(wanted["scores"]) <= 40
    face = wanted["labels"] == 1  # RetinaNet and FCOS also score the background, as label 0
    n = int(face.sum())
    assert n > 0
    torch.testing.assert_close(got.boxes[:n], wanted["boxes"][face])
    torch.testing.assert_close(got.scores[:n], wanted["scores"][face])
    assert set(got.labels.tolist()) == {0}


@pytest.mark.parametrize("options", [{}, {"autocast": "bf16", "min_size": 64, "max_size": 150}])
def test_the_model_is_left_as_found(model, picture, options):
    if options and model.transform.fixed_size is not None:
        options = {"autocast": "bf16"}
    model.train()
    next(model.children()).eval()  # partly frozen, as in training
    next(model.parameters()).requires_grad_(False)
    before = fingerprint(model)
    detector = load(model, **options)
    detector.detect(picture)
    detector.without_nms().detect(picture)
    assert_as_found(model, before)
    assert torch.is_grad_enabled()


def test_the_model_is_left_as_found_when_it_raises(model, picture):
    model.train()
    detector = load(model, autocast="bf16").without_nms()
    before = fingerprint(model)

    def fail(*_):
        assert head_of(model).score_thresh == 0.01
        raise RuntimeError("out of memory")

    hook = model.backbone.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        detector.detect(picture)
    hook.remove()
    assert_as_found(model, before)
    detector.detect(picture)  # the lock is free again


def test_a_model_can_go_on_training_after_a_detect(picture):
    model = make("retinanet")
    load(model).detect(picture)
    target = {"boxes": torch.tensor([[10.0, 10, 50, 60]]), "labels": torch.tensor([1])}
    sum(model(list(picture), [target]).values()).backward()
    assert model.backbone[0].weight.grad is not None


def test_without_nms_reports_more_and_shares_the_weights(model, picture):
    detector = load(model)
    raw = detector.without_nms()
    assert raw.network is detector.network
    assert raw.info.before_nms
    assert not detector.info.before_nms
    kept, every = detector.detect(picture)[0], raw.detect(picture)[0]
    assert len(every) > len(kept)
    overlap = torch.ops.torchvision.nms(every.boxes, every.scores, 0.9)
    assert len(overlap) == len(every)


def test_min_score_is_the_floor(model, picture):
    low, high = load(model, min_score=0.0), load(model, min_score=0.5)
    assert high.info.min_score == 0.5
    few, many = high.detect(picture)[0], low.detect(picture)[0]
    assert 0 < len(few) < len(many)
    assert float(few.scores.min()) >= 0.5


def test_weak_region_proposals_are_kept_without_nms(picture):
    """An R-CNN's first stage has a threshold of its own."""
    model = make("rcnn")
    nn.init.constant_(model.rpn.head.cls_logits.bias, -3.0)  # objectness about 0.05, under 0.3
    nn.init.zeros_(model.rpn.head.cls_logits.weight)
    detector = load(model)
    assert len(detector.detect(picture)[0]) == 0
    assert len(detector.without_nms().detect(picture)[0]) > 0


def test_min_size_changes_the_size_that_the_network_sees(picture):
    model, seen = make("retinanet"), []
    model.backbone.register_forward_pre_hook(lambda _, images: seen.append(images[0].shape[-2:]))
    load(model).detect(picture)
    load(model, min_size=160, max_size=400).detect(picture)
    assert seen == [(96, 160), (160, 288)]  # 80 x 130, resized, padded to multiples of 32


# --- parts of pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"min_size": 70, "max_size": 90}])
@pytest.mark.parametrize("size", [(80, 130), (61, 47), (33, 200)])
def test_parts_are_resized_as_the_whole_is(options, size):
    """The whole is resized to the pixel as without it, a part to the nearest pixel of its share."""
    model, seen = make("retinanet"), []
    model.transform.register_forward_hook(lambda _, __, output: seen.extend(output[0].image_sizes))
    height, width = size
    detector = load(model, **options)
    parts = parts_detector(detector, height, width)
    images = torch.rand(1, 3, height, width)
    before, after = (d.detect(images)[0] for d in (detector, parts))
    assert seen[0] == seen[1]
    assert torch.equal(before.boxes, after.boxes)
    for sides in ((height // 2, width // 3), (height - 5, 20), (1, 1)):
        parts.detect(torch.rand(1, 3, *sides))
        wanted = [part * to / side for part, to, side in zip(sides, seen[0], size, strict=True)]
        assert all(abs(s - w) <= 0.5 or s == 1 for s, w in zip(seen[-1], wanted, strict=True))
    for to, side in zip(seen[0], size, strict=True):  # torchvision cuts 14.9 pixels to 14
        assert parts.info.stride * to / side == pytest.approx(32, rel=0.04)
    assert detector.info.stride == 32


@pytest.mark.parametrize("family", ["rcnn", "retinanet"])
@pytest.mark.parametrize(("size", "apart", "overlap"), [(320, 1e-4, 0.999), (240, 0.03, 0.95)])
def test_a_part_is_seen_as_in_the_whole(family, size, apart, overlap):
    """At its own scale to rounding; at 3/4, corners at whole multiples of 42 2/3 px, nearly so."""
    generator = torch.Generator().manual_seed(2)
    images = nn.functional.interpolate(torch.rand(1, 3, 32, 44, generator=generator), (320, 440))
    detector = load(make(family), min_size=size, max_size=1000).without_nms()
    parts = parts_detector(detector, 320, 440)
    assert parts.info.any_size is True
    assert parts.info.before_nms
    x1, y1 = round(3 * parts.info.stride), round(2 * parts.info.stride)
    assert (parts.info.stride == 32) == (size == 320)
    (whole,), (part,) = detector.detect(images), parts.detect(images[:, :, y1:, x1:])
    inside = (whole.boxes[:, :2] > torch.tensor([x1 + 64, y1 + 64])).all(dim=1)
    whole, shifted = whole[inside], part.boxes + torch.tensor([x1, y1, x1, y1])
    assert len(whole) > 5
    found = (iou(whole.boxes, shifted) > overlap) & (
        (whole.scores[:, None] - part.scores).abs() < apart
    )
    assert float(found.any(dim=1).float().mean()) > 0.9  # the others lost to another in NMS


def test_parts_and_suppression_compose_in_either_order(picture):
    detector = load(make("rcnn"), min_size=96)
    one = detector.for_parts_of(160, 260).without_nms()
    other = detector.without_nms().for_parts_of(160, 260)
    assert one.info == other.info
    assert one.info.before_nms
    assert one.info.stride == pytest.approx(32 / (96 / 160), rel=0.01)
    first, second = one.detect(picture)[0], other.detect(picture)[0]
    assert torch.equal(first.boxes, second.boxes)
    assert len(first) > 0
    assert (
        one.propose(picture)[0].extent
        == other.propose(picture)[0].extent
        == pytest.approx((320 / 3, 160))
    )
    again = one.for_parts_of(80, 130)  # of another picture: nothing is left of the first
    assert again.info.stride == detector.for_parts_of(80, 130).info.stride


@pytest.mark.parametrize(
    ("network", "any_size"),
    [
        (lambda: make("rcnn"), True),
        (lambda: make("retinanet"), True),
        (lambda: make("fcos"), None),  # group norm
        (lambda: make("ssd"), False),
        (lambda: networks.build(RCNN, 2), None),  # squeeze and excitation
    ],
)
def test_which_models_see_parts(network, any_size):
    detector = load(network())
    assert detector.info.any_size is any_size
    assert (parts_detector(detector, 50, 70) is detector) == (any_size is False)


def test_masks_are_not_computed(picture):
    """A mask R-CNN pastes one full picture a detection; only its boxes are wanted."""
    torch.manual_seed(0)
    small = {"min_size": 96, "max_size": 160, "rpn_pre_nms_top_n_test": 20}
    model = detection.maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=2, **small
    )
    pool = model.roi_heads.mask_roi_pool
    model.roi_heads.mask_head.register_forward_hook(lambda *_: pytest.fail("masks were computed"))
    assert len(load(model).detect(picture)[0]) > 0
    assert model.roi_heads.mask_roi_pool is pool


def test_threads_that_share_a_model_do_not_see_each_others_settings(picture):
    model = make("ssd")
    views = [load(model), load(model).without_nms(), load(model, min_score=0.4)]
    wanted = [view.detect(picture)[0] for view in views]
    assert len({len(proposals) for proposals in wanted}) == 3
    before, wrong = fingerprint(model), []

    def work(view, expected):
        for _ in range(12):
            got = view.detect(picture)[0]
            if not torch.equal(got.boxes, expected.boxes):
                wrong.append(len(got))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(views, wanted, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert_as_found(model, before)


@pytest.mark.parametrize("autocast", ["bf16", "fp16"])
def test_autocast_gives_float32_boxes_of_full_precision(model, picture, autocast):
    large = nn.functional.interpolate(picture, size=(900, 1400))
    exact = load(model).detect(large)[0]
    close = load(model, autocast=autocast).detect(large)[0]
    assert close.boxes.dtype == close.scores.dtype == torch.float32
    inner = close.boxes[(close.boxes > 300) & (close.boxes < 1300)]
    assert len(inner) > 0
    assert not torch.equal(inner, inner.to(torch.bfloat16).float())  # no grid of 2 or 4 px
    rounded = {"bf16": 0.1, "fp16": 0.05}[autocast]  # of random layers; bf16 differs among CPUs
    torch.testing.assert_close(close.scores[:1], exact.scores[:1], atol=rounded, rtol=0)


def test_unusable_rows_are_dropped_with_a_warning(picture):
    model = make("ssd")
    with torch.no_grad():
        model.head.regression_head.module_list[0].bias[0] = float("nan")
    detector = load(model)
    with pytest.warns(RuntimeWarning, match=r"dropped \d+ of \d+ detections with NaN"):
        proposals = detector.detect(picture)[0]
    assert len(proposals) > 0


# --- classes --------------------------------------------------------------------------------------


def test_labels_count_from_zero_without_the_background(picture):
    for family in FAMILIES:
        model = make(family, n_outputs=4)
        proposals = load(model, class_names=["face", "hand", "dog"]).detect(picture)[0]
        with torch.no_grad():
            own = copy.deepcopy(model).eval()
            head_of(own).score_thresh, head_of(own).detections_per_img = 0.01, 10_000
            wanted = own(list(picture))[0]["labels"]
        wanted = wanted[wanted > 0] - 1  # RetinaNet and FCOS also score the background
        assert torch.equal(proposals.labels, wanted), family
        assert len(set(proposals.labels.tolist())) > 1


def test_one_foreground_class_is_a_face(model):
    assert load(model).info.class_names == ("face",)
    assert load(model, class_names=["__background__", "portrait"]).info.class_names == ("portrait",)


@pytest.mark.parametrize("family", ["retinanet", "fcos"])
def test_networks_without_a_background_class(family, picture):
    one = load(make(family, n_outputs=1))
    assert one.info.class_names == ("face",)
    assert set(one.detect(picture)[0].labels.tolist()) == {0}
    two = load(make(family, n_outputs=2), class_names=["face", "hand"])
    assert set(two.detect(picture)[0].labels.tolist()) == {0, 1}


def test_names_of_unnamed_classes():
    assert load(make("ssd", n_outputs=3)).info.class_names == ("class 1", "class 2")


def test_a_head_of_ones_own_needs_class_names(picture):
    class Head(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, features):
            return self.inner(features)

    model = make("rcnn", n_outputs=3)
    model.roi_heads.box_predictor = Head(model.roi_heads.box_predictor)
    with pytest.raises(InputError, match="class_names"):
        load(model)
    assert load(model, class_names=["face", "hand"]).detect(picture)
    with pytest.raises(DetectorOutputError, match="label 1 has no class name"):
        load(model, class_names=["face"]).detect(picture)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ["face", "hand"]}, "class_names: wanted 1,"),
        ({"class_names": []}, "at least one"),
        ({"class_names": "face"}, "wanted a list of names"),
        ({"min_score": 1.5}, "min_score"),
        ({"autocast": "int8"}, "autocast: wanted bf16, fp16"),
        ({"min_size": 300}, "resizes every picture to"),
        ({"builder": RCNN}, "a given model takes no"),
        ({"weights": None}, "a given model takes no"),
        ({"channels_last": True}, "a given model takes no"),
        ({"device": "meta"}, r"network is on cpu.*\.to\('meta'\)"),
        ({"device": "gpu7"}, "device: wanted auto, cpu"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(InputError, match=message):
        load(make("ssd"), **options)


def test_sizes_are_checked():
    with pytest.raises(InputError, match="at least 1"):
        load(make("rcnn"), max_size=0)


# --- builders and files ---------------------------------------------------------------------------


def meta_state(builder: str, n_outputs: int = 2):
    return fitting._skeleton(builder, n_outputs).state_dict()  # cached


@pytest.fixture(scope="module")
def ssdlite():
    torch.manual_seed(5)
    return networks.build(SSDLITE, 2).eval()


def test_the_registry_finds_this_source():
    assert load_detector(make("fcos")).info.name == "FCOS"
    assert all(name.removeprefix("torchvision/") in networks.builders() for name in source.examples)
    assert source.missing() is None
    assert not source.wraps(nn.Linear(2, 3))
    with pytest.raises(UnknownNameError, match="fasterrcnn_resnet50_fpn_v2"):
        load_detector("torchvision/yolo")


@pytest.mark.parametrize("builder", networks.builders())
def test_builders_are_recognised_by_their_state_dict(builder):
    state = meta_state(builder, 2)
    assert fitting.count_outputs(state) == 2
    assert fitting.count_outputs(meta_state(builder, 5)) == 5
    assert fitting.differences(state, builder) == []
    if "mobilenet_v3_large" in builder and "fasterrcnn" in builder:
        with pytest.raises(CheckpointError, match=r"_320_fpn and .*_large_fpn.*builder="):
            fitting.recognise(state)
    else:
        assert fitting.recognise(state) == builder
    frozen = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert fitting.differences(frozen, builder) == []


def test_names_of_older_torchvision_are_recognised():
    state = meta_state("retinanet_resnet50_fpn")
    for part in ("classification_head", "regression_head"):
        for i in range(4):
            for kind in ("weight", "bias"):
                value = state.pop(f"head.{part}.conv.{i}.0.{kind}")
                state[f"head.{part}.conv.{2 * i}.{kind}"] = value
    assert fitting.recognise(state) == "retinanet_resnet50_fpn"


def test_weights_of_something_else():
    with pytest.raises(CheckpointError, match=r"torchvision detector, got names like a\.weight"):
        fitting.recognise({"a.weight": torch.zeros(2, 2), "b": torch.tensor(0.0)})
    state = meta_state("fcos_resnet50_fpn")
    state["head.extra"] = torch.zeros(2)
    del state["backbone.body.conv1.weight"]
    state["backbone.body.bn1.weight"] = torch.zeros(7)
    nearest = (
        r"nearest is fcos_resnet50_fpn: backbone\.body\.bn1\.weight has shape \(7,\), wanted "
        r"\(64,\), backbone\.body\.conv1\.weight is missing, head\.extra is unknown"
    )
    with pytest.raises(CheckpointError, match=nearest):
        fitting.recognise(state)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_bare_face_state_dict_by_path(tmp_path, ssdlite, picture, suffix):
    path = tmp_path / f"faces{suffix}"
    if suffix == ".safetensors":
        save_file(ssdlite.state_dict(), path)
    else:
        torch.save({"model": ssdlite.state_dict()}, path)
    detector = load_detector(str(path), device="cpu")
    assert detector.info.class_names == ("face",)
    assert re.fullmatch(rf"{re.escape(path.name)}@[0-9a-f]{{8}}", detector.info.name)
    got, wanted = detector.detect(picture)[0], load(ssdlite).detect(picture)[0]
    assert len(got) > 0
    assert torch.equal(got.boxes, wanted.boxes)
    assert torch.equal(got.scores, wanted.scores)


def test_the_seeds_detector_without_batch_counters(tmp_path):
    """Faster R-CNN ResNet-50 with a face head, trained with frozen batch norms."""
    state = {
        name: torch.rand(value.shape, generator=torch.Generator().manual_seed(0)).half()
        for name, value in meta_state("fasterrcnn_resnet50_fpn").items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(OrderedDict((f"module.{k}", v) for k, v in state.items()), tmp_path / "model1.pth")
    detector = load_detector(tmp_path / "model1.pth", device="cpu", min_size=64)
    assert detector.info.class_names == ("face",)
    assert type(detector.network).__name__ == "FasterRCNN"
    assert not any(module.training for module in detector.network.modules())
    for name, value in state.items():
        assert torch.equal(detector.network.state_dict()[name], value.float())


def test_weights_by_path_for_a_named_builder(tmp_path, ssdlite, picture):
    path = tmp_path / "weights.bin"  # the suffix is free where the builder is named
    torch.save(ssdlite.state_dict(), path)
    detector = load(SSDLITE, weights=path, class_names=["portrait"], channels_last=True)
    assert detector.info.class_names == ("portrait",)
    assert "weights.bin" in detector.info.name
    convolution = next(p for p in detector.network.parameters() if p.ndim == 4)
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    wanted = load(ssdlite).detect(picture)[0]
    torch.testing.assert_close(detector.detect(picture)[0].boxes, wanted.boxes, atol=0.1, rtol=0)


def test_weights_of_another_builder_are_refused(tmp_path, ssdlite):
    path = tmp_path / "faces.pth"
    torch.save(ssdlite.state_dict(), path)
    wanted = (
        r"faces\.pth: wanted weights of torchvision's ssd300_vgg16, got those of "
        r"ssdlite320_mobilenet_v3_large: .*missing.* and "
    )
    with pytest.raises(CheckpointError, match=wanted):
        load("ssd300_vgg16", weights=str(path))
    with pytest.raises(CheckpointError, match="ssd300_vgg16"):
        load(str(path), builder="ssd300_vgg16")
    with pytest.raises(CheckpointError, match="does not exist"):
        load(SSDLITE, weights=tmp_path / "none.pth")
    with pytest.raises(InputError, match="beside the file"):
        load(str(path), weights="COCO_V1")
    with pytest.raises(InputError, match="builder: wanted"):
        load(SSDLITE, builder=RCNN)


def test_ambiguous_weights_ask_for_the_builder(tmp_path):
    path = tmp_path / "faces.safetensors"
    save_file({name: torch.ones(v.shape) for name, v in meta_state(RCNN).items()}, path)
    with pytest.raises(CheckpointError, match=r"faces\.safetensors: .*give builder="):
        load(str(path))
    assert load(str(path), builder=RCNN).network.transform.min_size == (320,)


def test_a_checkpoint_of_ours_needs_nothing_more(tmp_path, picture):
    torch.manual_seed(2)
    model = networks.build(RCNN, 3)
    model.transform.min_size, model.transform.max_size = (128, 160), 300
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0  # as in models that started from torchvision's first COCO weights
    path = tmp_path / "ours" / "painting.safetensors"
    save_checkpoint(path, model, RCNN, ["face", "hand"])
    detector = load_detector(path, device="cpu")
    assert detector.info.class_names == ("face", "hand")
    got, wanted = detector.detect(picture)[0], load(model).detect(picture)[0]
    assert len(got) > 0
    assert torch.equal(got.boxes, wanted.boxes)
    assert load(str(path), class_names=["a", "b"], builder=RCNN).info.class_names == ("a", "b")


def test_save_checkpoint_refuses_what_it_could_not_load_again(tmp_path, ssdlite):
    path = tmp_path / "faces.safetensors"
    with pytest.raises(CheckpointError, match="ssd300_vgg16"):
        save_checkpoint(path, ssdlite, "ssd300_vgg16", ["face"])
    with pytest.raises(InputError, match="class_names"):
        save_checkpoint(path, ssdlite, SSDLITE, ["face", "hand"])
    with pytest.raises(UnknownNameError):
        save_checkpoint(path, ssdlite, "ssd", ["face"])
    assert not path.exists()


@pytest.mark.parametrize(
    "about",
    [{"builder": 3}, {"class_names": "face"}, {"epsilon": {"a": "b"}}, {"min_size": [2]}],
)
def test_unusable_metadata(tmp_path, ssdlite, about):
    path = tmp_path / "faces.safetensors"
    write_checkpoint(path, ssdlite.state_dict(), about)
    with pytest.raises(CheckpointError, match=rf"unusable: {next(iter(about))}.*: wanted"):
        load(str(path))


def test_a_checkpoint_of_another_source(tmp_path, ssdlite):
    path = tmp_path / "faces.safetensors"
    write_checkpoint(path, ssdlite.state_dict(), {"builder": "retinaface"})
    with pytest.raises(CheckpointError, match="of retinaface, which is no torchvision builder"):
        load(str(path))


# --- torchvision's own weights --------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route to host"),
        TimeoutError("timed out"),
        http.client.IncompleteRead(b""),
        RuntimeError("invalid hash value"),
    ],
)
def test_a_failed_download_names_the_mend(monkeypatch, tmp_path, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(CheckpointError) as caught:
        load_detector(f"torchvision/{SSDLITE}")
    message = str(caught.value)
    assert re.search(r"https://download\.pytorch\.org/.*\.pth", message)
    assert str(tmp_path / "hub" / "checkpoints") in message
    assert "weights=PATH" in message
    assert "weights=None" in message


def test_published_weights_bring_their_class_names(monkeypatch, tmp_path):
    torch.manual_seed(0)
    state = networks.build(SSDLITE, 91).state_dict()
    asked = []
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        lambda url, **_: asked.append(url) or state,
    )
    detector = load(SSDLITE, device="cpu")
    assert asked
    assert all(Path(url).name.startswith("ssdlite320") for url in asked)
    names = detector.info.class_names
    assert len(names) == 90
    assert names[0] == "person"
    assert names[11] == "N/A"  # gaps of COCO's numbering stay, so that labels fit
    assert names[-1] == "toothbrush"

    torch.save(state, tmp_path / "copy.pth")
    assert load(str(tmp_path / "copy.pth")).info.class_names == names


def test_random_networks_have_as_many_classes_as_names():
    detector = load(SSDLITE, weights=None, class_names=["face", "hand", "dog"])
    assert fitting.count_outputs(detector.network.state_dict()) == 4
    assert detector.info.name == f"torchvision/{SSDLITE} (random weights)"


@pytest.mark.parametrize(
    ("builder", "body"),
    [(SSDLITE, "backbone"), (RCNN, "roi_heads.box_head"), ("fcos_resnet50_fpn", "head.class")],
)
def test_a_new_head_keeps_the_other_weights(tmp_path, builder, body):
    """What it takes to train weights of COCO's classes on faces."""
    torch.manual_seed(1)
    state = networks.build(builder, 5).state_dict()
    torch.save(state, tmp_path / "coco.pth")
    options = {"weights": str(tmp_path / "coco.pth"), "device": "cpu"}
    with pytest.raises(InputError, match="class_names: wanted 4"):
        load(builder, class_names=["face"], **options)
    detector = load(builder, new_head=True, **options)
    assert detector.info.class_names == ("face",)
    assert re.search(r"\(coco\.pth@[0-9a-f]{8}\) \(new head\)$", detector.info.name)
    now = detector.network.state_dict()
    assert now.keys() == state.keys()
    kept = {name for name in now if torch.equal(now[name], state[name])}
    changed = {name for name in now if now[name].shape != state[name].shape}
    assert 0 < len(changed) < 20
    assert any(name.startswith(body) for name in kept)
    assert all(
        "cls" in name or "class" in name or "bbox_pred" in name for name in now.keys() - kept
    )
    detector.save(tmp_path / "faces.safetensors")
    assert load(str(tmp_path / "faces.safetensors")).info.class_names == ("face",)
    with pytest.raises(InputError, match="or new_head"):
        load(detector.network, new_head=True)


def test_training_sees_the_sizes_that_were_asked_for(tmp_path):
    model, seen = networks.build(RCNN, 2).train(), []
    detector = TorchvisionDetector(model, min_size=96, max_size=160, builder=RCNN)
    model.backbone.register_forward_pre_hook(lambda _, images: seen.append(images[0].shape[-2:]))
    truth = Truth(boxes=[[10, 10, 40, 50], [60, 10, 80, 30]], ignore=[False, True])
    parts = detector.losses(torch.rand(1, 3, 60, 90), [truth])
    assert set(parts) == {
        "loss_classifier",
        "loss_box_reg",
        "loss_objectness",
        "loss_rpn_box_reg",
    }
    assert seen == [(96, 160)]
    assert model.transform.min_size == (320,)
    detector.save(tmp_path / "faces.safetensors")
    again = load(str(tmp_path / "faces.safetensors"), device="cpu")
    again.network.backbone.register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[-2:]))
    again.detect(torch.rand(1, 3, 60, 90))
    assert seen == [(96, 160)] * 2


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loop_trains_it_and_the_same_seed_gives_the_same_weights(family):
    """R-CNNs draw the boxes that they learn from; that too follows from the seed."""
    pixels = torch.randint(0, 60, (3, 96, 128), generator=torch.Generator().manual_seed(0))
    pixels[:, 30:60, 40:70] = 230
    truth = Truth(boxes=[[40, 30, 70, 60], [80, 10, 99, 30]], ignore=[False, True])
    picture = TrainingPicture(name="one", image=pixels.to(torch.uint8), truth=truth)
    crops = Augmentation(size=96, long_side=(128, 128))
    settings = TrainingSettings(steps=3, batch_size=2, keep=0.0, augmentation=crops)
    ends, losses = [], []
    for _ in range(2):
        detector = load(make(family))
        train(detector, [picture], settings, progress=lambda step: losses.append(step.values))
        ends.append(detector.network.state_dict())
        torch.rand(3)
    start = make(family).state_dict()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in start)
    assert any(not torch.equal(ends[0][name], start[name]) for name in start)
    assert losses[:3] == losses[3:]
    assert all(sum(step.values()) > 0 for step in losses)


def test_a_checkpoint_of_another_detector_names_both(tmp_path, ssdlite):
    path = tmp_path / "faces.safetensors"
    write_checkpoint(path, ssdlite.state_dict(), {"detector": "retinaface"})
    wanted = f"weights of retinaface, wanted those of torchvision's {SSDLITE}"
    with pytest.raises(CheckpointError, match=wanted):
        load(SSDLITE, weights=str(path))


def test_locks_do_not_keep_models_alive():
    detector = load(make("fcos"))
    detector.detect(torch.rand(1, 3, 40, 60))
    model = weakref.ref(detector.network)
    del detector
    gc.collect()
    assert model() is None


def test_foreign_json_fields_are_ignored(tmp_path, ssdlite):
    path = tmp_path / "faces.safetensors"
    about = {"builder": SSDLITE, "class_names": ["face"], "trained_on": [1, 2]}
    write_checkpoint(path, ssdlite.state_dict(), about)
    assert load(str(path)).info.class_names == ("face",)
