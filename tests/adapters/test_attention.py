"""Small networks with random weights: nothing is downloaded.

Where a query must look is planted: keys are made as bright as the picture is.
"""

import pytest
import torch
from test_transformers_detector import PICTURE, make_detr, make_rtdetr
from torch.nn import functional as F

from chiaroscuro import Target
from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.protocol import Attentive, DetectorInfo
from chiaroscuro.methods import Question, explain, method_named
from chiaroscuro.methods.attention import attention

transformers = pytest.importorskip("transformers")

PADDINGS = pytest.mark.parametrize("padding", [None, {"height": 96, "width": 160}])


def attended(detector, picture):
    """Proposals and all of their maps."""
    proposals, look = detector.attend(picture)
    maps = [look(i) for i in range(len(proposals))]
    return proposals, torch.stack(maps) if maps else torch.zeros(0, *picture.shape[1:])


def make(kind, **more):
    """A network with two decoder layers."""
    settings = {
        "use_timm_backbone": False,
        "backbone": None,
        "backbone_config": make_detr()[0].config.backbone_config,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "num_queries": 7,
        "num_labels": 3,
    }
    size = {"hidden_size": 16} if kind == "DabDetr" else {"d_model": 16}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**settings | size | more)
    model = getattr(transformers, f"{kind}ForObjectDetection")(config)
    with torch.no_grad():  # queries that differ, as trained ones do
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and ("decoder" in name or "query" in name or "bbox" in name):
                weight.mul_(15)
    return model, make_detr()[1]


KINDS = ["Detr", "ConditionalDetr", "DabDetr", "TableTransformer"]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def detr():
    model, processor = make("Detr")
    return load_detector(model, processor=processor, min_score=0.0)


def make_yolos():
    config = transformers.YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[64, 64],
        num_detection_tokens=5,
        num_labels=3,
    )
    return transformers.YolosForObjectDetection(config), transformers.YolosImageProcessor()


def make_deformable():
    config = transformers.DeformableDetrConfig(
        use_timm_backbone=False,
        backbone=None,
        backbone_config=make_detr()[0].config.backbone_config,
        num_feature_levels=1,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=5,
    )
    model = transformers.DeformableDetrForObjectDetection(config)
    return model, transformers.DeformableDetrImageProcessor()


class BlackBox:
    info = DetectorInfo(name="box")

    def detect(self, images):
        return [Proposals.empty()] * len(images)


def ask(detector, targets, image=PICTURE[0]):
    return Question(image=image, detector=detector, targets=tuple(targets), n_passes=1)


@kinds
@PADDINGS
def test_proposals_of_detect_each_with_a_map(kind, padding):
    model, processor = make(kind)
    processor.pad_size = padding
    detector = load_detector(model, processor=processor, min_score=0.1)
    wanted = detector.detect(PICTURE[:1])[0]
    got, maps = attended(detector, PICTURE[0])
    assert isinstance(detector, Attentive)
    assert len(got) > 1
    torch.testing.assert_close(got.boxes, wanted.boxes, atol=1e-3, rtol=0)
    torch.testing.assert_close(got.scores, wanted.scores)
    assert torch.equal(got.labels, wanted.labels)
    assert maps.shape == (len(got), 40, 60)
    assert maps.dtype == torch.float32
    assert bool((torch.isfinite(maps) & (maps >= 0)).all())
    assert not torch.allclose(maps[0], maps[1], rtol=0.01)


@kinds
def test_weights_of_a_query_sum_to_one_before_they_are_enlarged(kind, monkeypatch):
    seen = []
    module = "chiaroscuro.detectors.adapters.transformers.detector.enlarged"
    monkeypatch.setattr(module, lambda maps, *_: seen.append(maps) or torch.zeros(1, 40, 60))
    model, processor = make(kind)
    attended(load_detector(model, processor=processor, min_score=0.0), PICTURE[0])
    cells = torch.cat(seen)
    assert cells.shape == (7, 8, 12)  # 60 x 90 pixels, 8 a cell
    torch.testing.assert_close(cells.sum(dim=(1, 2)), torch.ones(7))


def test_floats_are_as_bytes(detr):
    _, maps = attended(detr, PICTURE[0])
    _, same = attended(detr, PICTURE[0] / 255)
    torch.testing.assert_close(maps, same)


def plant_brightness(model):
    """Keys of the cross-attention are the brightness of the network's input, and queries are 1."""
    given = []
    model.register_forward_pre_hook(
        lambda _, __, kwargs: given.append(kwargs["pixel_values"]), with_kwargs=True
    )

    def brightness(module, inputs, output):
        gray = given[-1].mean(dim=1, keepdim=True)
        return F.adaptive_avg_pool2d(gray, output.shape[2:]).expand_as(output)

    model.model.input_projection.register_forward_hook(brightness)
    cross = model.model.decoder.layers[-1].encoder_attn
    with torch.no_grad():
        cross.q_proj.weight.zero_()
        cross.q_proj.bias.fill_(1)
        cross.k_proj.weight.copy_(torch.eye(16) * 10)


@PADDINGS
@pytest.mark.parametrize("corner", [(2, 44), (30, 4), (32, 50)])
def test_map_peaks_where_the_query_looks(padding, corner):
    model, processor = make("Detr", encoder_layers=0)
    plant_brightness(model)
    processor.pad_size = padding
    top, left = corner
    picture = torch.zeros(3, 40, 60, dtype=torch.uint8)
    picture[:, top : top + 8, left : left + 8] = 255
    _, maps = attended(load_detector(model, processor=processor, min_score=0.0), picture)
    assert len(maps) == 7
    for found in maps:
        y, x = divmod(int(found.argmax()), 60)
        assert top <= y < top + 8
        assert left <= x < left + 8
        total = found.sum(dtype=torch.float64)
        middle_y = float((found.sum(dim=1) * (torch.arange(40) + 0.5)).sum() / total)
        middle_x = float((found.sum(dim=0) * (torch.arange(60) + 0.5)).sum() / total)
        assert abs(middle_y - top - 4) < 3
        assert abs(middle_x - left - 4) < 3


def test_rows_are_those_of_the_queries_behind_the_proposals(detr):
    """Query q is made to look at cell q of the first row only."""
    numbers, cells = torch.arange(7), 8 * 12

    def planted(module, inputs, output):
        weights = F.one_hot(numbers, cells).float().expand(1, 2, 7, cells)
        return {**output, "cross_attentions": (*output.cross_attentions[:-1], weights)}

    def as_output(module, inputs, output):
        return transformers.modeling_outputs.ModelOutput(planted(module, inputs, output))

    output = []
    keep = detr.network.register_forward_hook(lambda _, __, given: output.append(given))
    detr.detect(PICTURE[:1])
    keep.remove()
    best = output[0].logits[0].softmax(dim=1)[:, :-1].amax(dim=1).argsort(descending=True)
    assert not torch.equal(best, numbers)

    detr.network.register_forward_hook(as_output)
    _, maps = attended(detr, PICTURE[0])
    columns = maps.amax(dim=1).argmax(dim=1)  # 5 pixels a cell
    assert torch.equal(columns // 5, best)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("before", ["sdpa", "eager"])
def test_model_is_left_as_it_was(detr, before, fails):
    model = detr.network
    model.set_attn_implementation({"": before})
    backbone = model.config.backbone_config._attn_implementation
    model.train()
    model.model.encoder.eval()  # frozen
    modes = {name: module.training for name, module in model.named_modules()}
    hooks = len(model.model.input_projection._forward_hooks)
    if fails:
        model.class_labels_classifier = torch.nn.Linear(3, 3)
        with pytest.raises(RuntimeError, match="shapes"):
            detr.attend(PICTURE[0])
    else:
        _, maps = attended(detr, PICTURE[0])
        _, same = attended(detr, PICTURE[0])
        assert torch.equal(maps, same)  # no dropout
    assert model.config._attn_implementation == before
    assert model.config.backbone_config._attn_implementation == backbone
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert len(model.model.input_projection._forward_hooks) == hooks


@pytest.mark.parametrize(
    ("make_other", "reason"),
    [
        (make_rtdetr, "a RTDetrForObjectDetection, has deformable attention"),
        (make_deformable, "a DeformableDetrForObjectDetection, has deformable attention"),
        (make_yolos, "a YolosForObjectDetection, has no decoder whose queries look"),
    ],
)
def test_other_architectures_are_refused_before_a_pass(make_other, reason):
    model, processor = make_other()
    detector = load_detector(model, processor=processor)
    model.register_forward_pre_hook(lambda *_: pytest.fail("the network was run"))
    with pytest.raises(UnsupportedMethodError, match=reason) as caught:
        attention(ask(detector, [Target(box=[0, 0, 9, 9])]))
    assert caught.value.method == "attention"


def test_model_that_keeps_no_weights_is_refused(detr):
    def without(module, inputs, output):
        output["cross_attentions"] = ()
        return output

    detr.network.register_forward_hook(without)
    with pytest.raises(UnsupportedMethodError, match="keeps no weights"):
        detr.attend(PICTURE[0])


def test_black_box_is_refused():
    with pytest.raises(UnsupportedMethodError, match="box has no decoder whose queries look"):
        attention(ask(BlackBox(), [Target(box=[0, 0, 9, 9])]))


class Planted(BlackBox):
    """Two faces; the query of the first looks left, that of the second right."""

    def __init__(self, *boxes):
        self.proposals = Proposals(
            boxes=torch.tensor(boxes).reshape(-1, 4), scores=[0.9, 0.8][: len(boxes)]
        )

    def attend(self, image):
        maps = torch.zeros(2, 40, 60)
        maps[0, :, :30], maps[1, :, 30:] = 1, 2
        return self.proposals, maps.__getitem__


def test_target_gets_the_map_of_the_proposal_most_like_it():
    done = []
    detector = Planted([0.0, 0, 20, 20], [30.0, 10, 50, 30])
    targets = (Target(box=[31, 10, 50, 30]), Target(box=[1, 0, 20, 20]))
    answer = attention(
        Question(
            image=PICTURE[0],
            detector=detector,
            targets=targets,
            n_passes=1,
            progress=lambda *numbers: done.append(numbers),
        )
    )
    _, maps = attended(detector, PICTURE[0])
    assert torch.equal(answer.saliency, maps[[1, 0]])
    assert answer.n_passes == 1
    assert answer.notes == ()
    assert done == [(1, 1)]


@pytest.mark.parametrize("boxes", [[], [[0.0, 0, 20, 20]]])
def test_target_that_nothing_touches_has_a_map_of_zeros(boxes):
    answer = attention(ask(Planted(*boxes), [Target(box=[40, 25, 60, 40])]))
    assert answer.saliency.shape == (1, 40, 60)
    assert not bool(answer.saliency.any())
    (note,) = answer.notes
    assert "target 1" in note
    assert "no evidence, not because nothing matters" in note


def test_nothing_above_the_floor(detr):
    model, processor = detr.network, make_detr()[1]
    proposals, maps = attended(
        load_detector(model, processor=processor, min_score=0.999), PICTURE[0]
    )
    assert len(proposals) == 0
    assert maps.shape == (0, 40, 60)


def test_by_name_through_the_front_door(detr):
    targets = detr.detect(PICTURE[:1])[0][:2]
    explained = explain(PICTURE[0], detr, targets, method="attention")
    _, maps = attended(detr, PICTURE[0])
    torch.testing.assert_close(explained.saliency, maps[:2])
    assert explained.meaning == method_named("attention").meaning
    assert explained.settings.method == "attention"
