"""Small networks with random weights: nothing is downloaded. Transformers' own post-processing is
the judge of ours."""

import pytest
import torch

from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    MissingDependencyError,
)
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.transformers import source
from chiaroscuro.testing import detector_checks

transformers = pytest.importorskip("transformers")

PICTURE = torch.randint(
    0, 256, (2, 3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
)


def make_detr(labels=3):
    """Softmax with a no-object class; makes use of the mask of padding."""
    backbone = transformers.ResNetConfig(
        embedding_size=4,
        hidden_sizes=[4, 8],
        depths=[1, 1],
        layer_type="basic",
        out_features=["stage2"],
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=7,
        num_labels=labels,
    )
    torch.manual_seed(0)
    model = transformers.DetrForObjectDetection(config)
    with torch.no_grad():  # as trained weights do: unlike classes, boxes of many sizes
        model.class_labels_classifier.weight.mul_(20)
        model.bbox_predictor.layers[-1].weight.mul_(20)
    size = {"shortest_edge": 64, "longest_edge": 90}
    return model, transformers.DetrImageProcessor(size=size)


def make_rtdetr(labels=3):
    """Sigmoid, every class by itself; pictures are stretched."""
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=4,
        hidden_sizes=[4, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 8, 8],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_queries=9,
        num_labels=labels,
    )
    torch.manual_seed(0)
    model = transformers.RTDetrForObjectDetection(config)
    return model, transformers.RTDetrImageProcessor(size={"height": 64, "width": 64})


def make_lwdetr(labels=3, size=64):
    """Sigmoid; its backbone cuts pictures into windows of 2 x 16 pixels a side."""
    backbone = transformers.LwDetrViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        pretrain_image_size=64,
        window_block_indices=[0],
        out_indices=[1, 2],
        num_windows=4,
        mlp_ratio=2,
    )
    config = transformers.LwDetrConfig(
        backbone_config=backbone,
        d_model=16,
        decoder_layers=1,
        decoder_ffn_dim=16,
        decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2,
        decoder_n_points=2,
        num_queries=9,
        group_detr=2,
        projector_in_channels=[16],
        projector_out_channels=16,
        projector_scale_factors=[1.0],
        num_feature_levels=1,
        num_labels=labels,
    )
    torch.manual_seed(0)
    model = transformers.LwDetrForObjectDetection(config)
    processor = transformers.DeformableDetrImageProcessor(size={"height": size, "width": size})
    return model, processor


HAS_LWDETR = pytest.mark.skipif(
    not hasattr(transformers, "LwDetrConfig"), reason="this Transformers has no LW-DETR"
)
MODELS = {"detr": make_detr, "rtdetr": make_rtdetr}
models = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def judge(model, processor, pictures):
    """What a user of Transformers gets, without a threshold."""
    model.eval()
    with torch.no_grad():
        output = model(**processor(images=list(pictures), return_tensors="pt"))
    sizes = [tuple(pictures.shape[2:])] * len(pictures)
    return processor.post_process_object_detection(output, threshold=0.0, target_sizes=sizes)


@pytest.mark.parametrize("padding", [None, {"height": 96, "width": 128}])
def test_detr_agrees_with_the_library(padding):
    model, processor = make_detr()
    processor.pad_size = padding
    wanted = judge(model, processor, PICTURE)
    got = load_detector(model, processor=processor, min_score=0.0).detect(PICTURE)
    for one, other in zip(got, wanted, strict=True):
        order = other["scores"].argsort(descending=True, stable=True)
        torch.testing.assert_close(one.boxes, other["boxes"][order], atol=1e-3, rtol=0)
        torch.testing.assert_close(one.scores, other["scores"][order])
        assert torch.equal(one.labels, other["labels"][order])
        assert one.class_probabilities.shape == (7, 3)
        assert bool((one.class_probabilities.sum(1) < 1).all())  # no-object took its share


def test_rtdetr_agrees_with_the_library():
    """There a query counts once a class; here once, with its best class."""
    model, processor = make_rtdetr()
    wanted = judge(model, processor, PICTURE)
    got = load_detector(model, processor=processor).detect(PICTURE)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one.scores[0], other["scores"].max())
        best = other["scores"].argmax()
        torch.testing.assert_close(one.boxes[0], other["boxes"][best], atol=1e-3, rtol=0)
        assert one.labels[0] == other["labels"][best]
        assert one.class_probabilities.shape == (9, 3)


def test_one_class_has_no_class_vector():
    model, processor = make_detr(labels=1)
    proposals = load_detector(model, processor=processor).detect(PICTURE)[0]
    assert len(proposals)
    assert proposals.class_probabilities is None


def test_names_and_floor():
    model, processor = make_detr()
    model.config.id2label = {0: "face", 1: "hand", 2: "angel"}
    detector = load_detector(model, processor=processor, min_score=0.4)
    assert detector.info.class_names == ("face", "hand", "angel")
    assert detector.info.name == "DetrForObjectDetection"
    assert not detector.info.before_nms
    assert not hasattr(detector, "without_nms")
    assert detector.info.any_size is False  # every query attends to the whole picture
    scores = torch.cat([p.scores for p in detector.detect(PICTURE)])
    assert bool((scores >= 0.4).all())


def test_modes_are_as_before():
    model, processor = make_detr()
    model.train()
    model.model.encoder.eval()  # frozen
    before = {name: module.training for name, module in model.named_modules()}
    detector = load_detector(model, processor=processor)
    first, second = detector.detect(PICTURE)[0], detector.detect(PICTURE)[0]
    assert torch.equal(first.scores, second.scores)  # no dropout
    assert {name: module.training for name, module in model.named_modules()} == before


def test_modes_are_as_before_after_a_failure():
    model, processor = make_detr()
    model.train()
    detector = load_detector(model, processor=processor)
    model.class_labels_classifier = torch.nn.Linear(3, 3)
    with pytest.raises(RuntimeError, match="shapes"):
        detector.detect(PICTURE)
    assert model.training


def test_folder_written_by_save_pretrained(tmp_path, capfd):
    model, processor = make_detr()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    detector = load_detector(f"transformers/{tmp_path}", device="cpu")
    assert detector.info.name.startswith(f"transformers/{tmp_path.name}@")
    wanted = load_detector(model, processor=processor).detect(PICTURE)
    for one, other in zip(detector.detect(PICTURE), wanted, strict=True):
        torch.testing.assert_close(one.boxes, other.boxes)

    model.config.auxiliary_loss = False
    known = load_detector(detector.network)  # it knows where it came from: no processor needed
    torch.testing.assert_close(known.detect(PICTURE)[0].boxes, wanted[0].boxes)


def test_weights_that_are_not_there_are_not_made_up(tmp_path):
    model, processor = make_detr()
    model.model.save_pretrained(tmp_path)  # without the heads
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="would be random"):
        load_detector(f"transformers/{tmp_path}")


@pytest.mark.parametrize(
    "config", ["{}", "no JSON", '{"model_type": "bert"}', '{"model_type": "detr"}']
)
def test_folders_without_a_detector_are_refused(config, tmp_path):
    make_detr()[1].save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match="wanted a model of the hub"):
        load_detector(f"transformers/{tmp_path}")


@HAS_LWDETR
@pytest.mark.parametrize("size", [64, 72])
def test_lwdetr_folder_with_pictures_that_fit_its_windows_or_not(size, tmp_path, capfd):
    model, processor = make_lwdetr(size=size)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    detector = load_detector(f"transformers/{tmp_path}", device="cpu", min_score=0.0)
    (first, _) = detector.detect(PICTURE)
    assert len(first) == 9
    centres = (first.boxes[:, :2] + first.boxes[:, 2:]) / 2
    assert bool(((centres >= 0) & (centres <= torch.tensor([60.0, 40.0]))).all())
    if size == 64:
        wanted = judge(model, processor, PICTURE)[0]
        best = wanted["scores"].argmax()
        torch.testing.assert_close(first.scores[0], wanted["scores"][best])
        torch.testing.assert_close(first.boxes[0], wanted["boxes"][best], atol=1e-3, rtol=0)


def test_a_hub_out_of_reach_is_asked_once_and_said_in_one_sentence(monkeypatch, caplog, capfd):
    calls = []

    class Session:
        def head(self, url, timeout):
            calls.append(url)
            raise OSError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    with pytest.raises(CheckpointError) as caught:
        load_detector("transformers/nobody/no-such-model")
    assert len(calls) == 1
    assert "transformers/nobody/no-such-model is no folder here" in str(caught.value)
    assert "Name or service not known" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "etry" not in caplog.text + "".join(capfd.readouterr())


def test_hub_without_a_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="needs a network the first time"):
        load_detector("transformers/facebook/detr-resnet-50")


def test_what_is_missing_is_named(monkeypatch):
    model, _ = make_detr()
    with pytest.raises(InputError, match="wanted processor="):
        load_detector(model)
    with pytest.raises(InputError, match="wanted the name"):
        load_detector("transformers")
    with pytest.raises(InputError, match="network is on cpu"):
        load_detector(model, device="cuda:1")
    assert source.missing() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[transformers\]"):
        load_detector("transformers/facebook/detr-resnet-50")


def test_models_asked_in_words_are_refused():
    class GroundedForObjectDetection(transformers.DetrForObjectDetection):
        def forward(self, pixel_values, input_ids):
            raise AssertionError

    model = GroundedForObjectDetection(make_detr()[0].config)
    with pytest.raises(InputError, match="also needs a text"):
        load_detector(model, processor=make_detr()[1])


def test_other_outputs_are_refused():
    model, processor = make_detr()
    detector = load_detector(model, processor=processor)
    model.class_labels_classifier = torch.nn.Linear(16, 9)
    with pytest.raises(DetectorOutputError, match=r"3 classes \(and no-object\), got 9"):
        detector.detect(PICTURE)


def test_other_modules_are_left_to_other_sources():
    assert source.wraps(make_detr()[0])
    assert not source.wraps(torch.nn.Linear(1, 1))
    assert not source.wraps(make_detr()[0].model)


@models
def test_detector_checks(make):
    model, processor = make()
    for _, check in detector_checks(load_detector(model, processor=processor), PICTURE[0]):
        check()
