"""Gradient and activation methods on small planted networks, with answers known by hand."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from chiaroscuro.core.errors import DetectorOutputError, InputError, UnsupportedMethodError
from chiaroscuro.core.plan import MaskDesign, Plan
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.core.similarity import similarity
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.adapters.retinaface import load as load_retinaface
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork
from chiaroscuro.detectors.protocol import DetectorInfo, Differentiable, RawProposals
from chiaroscuro.methods import METHODS, Answer, Question
from chiaroscuro.methods.differentiable import TargetScores
from chiaroscuro.methods.features import Features

HEIGHT, WIDTH, CELL = 40, 56, 8
BOX = [8.0, 16.0, 24.0, 32.0]
INPUT = ["saliency", "gradient-x-input", "smoothgrad", "integrated-gradients", "guided-backprop"]
CAMS = ["cam", "gradcam", "gradcam++", "smooth-gradcam++"]
ALL = [*INPUT, "excitation-backprop", *CAMS]


# --- planted detectors ----------------------------------------------------------------------------


class Planted:
    """A detector from a network that gives a score in [0, 1] for each of some boxes."""

    feature_layers: tuple[str, ...] = ()
    excitation_layer = ""

    def __init__(
        self, network: nn.Module, boxes: Sequence[Sequence[float]], labels: Sequence[int] = (0,)
    ) -> None:
        self.network = network
        self.boxes, self.labels = torch.tensor(boxes), torch.tensor(labels)
        self.info = DetectorInfo(name="planted", class_names=("red", "green"))

    def propose(self, images: Tensor) -> list[RawProposals]:
        extent = float(images.shape[2]), float(images.shape[3])
        return [
            RawProposals(self.boxes, scores, self.labels, extent) for scores in self.network(images)
        ]

    def detect(self, images: Tensor) -> list[Proposals]:
        return [
            Proposals(boxes=raw.boxes, scores=raw.scores.detach(), labels=raw.labels)
            for raw in self.propose(images)
        ]


class OfPicture(nn.Module):
    """One score, any function of a picture."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.score = score

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.score(image) for image in images])[:, None]


class Dense(nn.Module):
    """A feature map of cells of 8 pixels, and a class head that reads each; scores by class."""

    def __init__(
        self, features: nn.Module, head: nn.Module, before: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.before = before or nn.Identity()
        self.features, self.head = features, head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(self.before(images))).sigmoid().flatten(1)


def dense(network: nn.Module, n_classes: int) -> Planted:
    y, x = torch.meshgrid(torch.arange(5) * CELL, torch.arange(7) * CELL, indexing="ij")
    boxes = torch.stack([x, y, x + CELL, y + CELL], dim=-1).reshape(-1, 4).float()
    labels = torch.arange(n_classes).repeat_interleave(len(boxes))
    planted = Planted(network, boxes.repeat(n_classes, 1).tolist(), labels.tolist())
    planted.feature_layers = ("features",)
    return planted


def colours(kernel: int = 1) -> Planted:
    """Cells red on average are of class 0, green ones of class 1."""
    features = nn.Sequential(nn.Conv2d(3, 2, CELL, stride=CELL), nn.ReLU(inplace=True))
    head = nn.Conv2d(2, 2, kernel, padding=kernel // 2)
    with torch.no_grad():
        weight = torch.tensor([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5]])[:, :, None, None]
        features[0].weight.copy_(weight.expand(2, 3, CELL, CELL) / CELL**2)
        features[0].bias.fill_(0.05)
        head.weight.copy_(torch.tensor([[6.0, -2.0], [-2.0, 6.0]])[:, :, None, None] / kernel**2)
        head.bias.fill_(-2.0)
    return dense(Dense(features, head), n_classes=2)


def red_and_green() -> tuple[Tensor, list[Target]]:
    image = torch.full((3, HEIGHT, WIDTH), 0.2)
    image[0, 8:16, 8:16] = 1
    image[1, 24:32, 40:48] = 1
    targets = [
        Target(box=[8, 8, 16, 16], label=0),
        Target(box=[40, 24, 48, 32], label=1),
    ]
    return image, targets


def ask(
    name: str, detector: object, image: Tensor, targets: Sequence[Target], n_passes: int = 0
) -> Answer:
    method = METHODS[name]
    question = Question(
        image=image,
        detector=detector,
        targets=tuple(targets),
        n_passes=n_passes or method.n_passes * len(targets),
        plan=Plan(seed=3),
    )
    answer = method.answer(question)
    assert answer.saliency.shape == (len(targets), *image.shape[1:])
    assert answer.saliency.dtype == torch.float32
    assert bool(answer.saliency.isfinite().all())
    assert answer.n_passes <= question.n_passes
    return answer


TARGET = [Target(box=BOX, label=0)]


# --- gradients by the picture ---------------------------------------------------------------------


@pytest.fixture
def evidence() -> Tensor:
    """Positive and negative evidence a pixel, weak enough that no score leaves [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(HEIGHT, WIDTH, generator=generator) - 0.4) / (HEIGHT * WIDTH)


@pytest.fixture
def linear(evidence: Tensor) -> Planted:
    return Planted(OfPicture(lambda image: 0.3 + (evidence * image.mean(dim=0)).sum()), [BOX])


def test_linear_detector(linear: Planted, evidence: Tensor, image: Tensor) -> None:
    brightness = image.mean(dim=0)
    torch.testing.assert_close(
        ask("saliency", linear, image, TARGET).saliency[0], evidence.abs() / 3
    )
    for name in ("gradient-x-input", "integrated-gradients"):
        answer = ask(name, linear, image, TARGET)
        torch.testing.assert_close(answer.saliency[0], evidence * brightness)
        assert answer.notes == ()
    smooth = ask("smoothgrad", linear, image, TARGET)
    torch.testing.assert_close(smooth.saliency[0], evidence.abs() / 3)
    assert smooth.n_passes == smooth.choices["samples"] == 50


def test_box_that_fits_by_half_halves_the_map(linear: Planted, image: Tensor) -> None:
    half = [Target(box=[8, 16, 24, 24])]
    whole, part = (ask("saliency", linear, image, t).saliency for t in (TARGET, half))
    torch.testing.assert_close(part, whole / 2)


def test_integrated_gradients_sum_to_the_rise_from_the_fill(image: Tensor) -> None:
    network = OfPicture(lambda image: (4 * (image[:, 20:30, 10:20].mean() - 0.3)).sigmoid())
    for fill in ("black", "mean"):
        question = Question(
            image=image,
            detector=Planted(network, [BOX]),
            targets=tuple(TARGET),
            n_passes=50,
            plan=Plan(design=MaskDesign(fill=fill)),
        )
        answer = METHODS["integrated-gradients"].answer(question)
        start = torch.zeros_like(image)
        if fill == "mean":
            start = image.mean(dim=(1, 2), keepdim=True).expand_as(image)
        rise = network(image[None]) - network(start[None])
        assert float(answer.saliency.sum()) == pytest.approx(float(rise), abs=1e-4)
        assert answer.notes == ()
        assert answer.n_passes == 50


def test_few_steps_over_a_jump_are_told_of(image: Tensor) -> None:
    steep = OfPicture(lambda image: (300 * (image.mean() - 0.4 * 0.6)).sigmoid())
    (note,) = ask("integrated-gradients", Planted(steep, [BOX]), image, TARGET, n_passes=5).notes
    assert "the map sums to" in note


def test_known_failure_of_the_gradient_in_an_interaction() -> None:
    """score = a x b, b dark: a matters, but has no gradient. From black, both get half."""
    image = torch.zeros(3, HEIGHT, WIDTH)
    image[:, 4:8, 4:8] = 0.8
    product = OfPicture(lambda image: image[:, 4:8, 4:8].mean() * image[:, 20:24, 30:34].mean())
    plain = ask("saliency", Planted(product, [BOX]), image, TARGET).saliency[0]
    assert not plain[4:8, 4:8].any()
    assert bool((plain[20:24, 30:34] > 0).all())
    image[:, 20:24, 30:34] = 0.5
    found = ask("integrated-gradients", Planted(product, [BOX]), image, TARGET).saliency[0]
    assert float(found[4:8, 4:8].sum()) == pytest.approx(0.2, abs=1e-4)
    assert float(found[20:24, 30:34].sum()) == pytest.approx(0.2, abs=1e-4)


def test_known_failure_of_the_gradient_when_saturated(image: Tensor) -> None:
    full = Planted(OfPicture(lambda image: (3 * image.mean()).clamp(max=1)), [BOX])
    plain = ask("saliency", full, image, TARGET)
    assert not plain.saliency.any()
    assert "saturated" in plain.notes[0]
    far = ask("integrated-gradients", full, image, TARGET)
    assert float(far.saliency.sum()) == pytest.approx(1, abs=0.05)


# --- guided backprop ------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(inplace=True), torch.relu_, F.relu])
def test_guided_backprop_by_hand(image: Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    first = torch.tensor([[0.5, -0.3, 0.2], [-0.4, 0.6, -0.1]])
    second = torch.tensor([0.01, -0.02])

    def score(picture: Tensor) -> Tensor:
        before = torch.einsum("kc,chw->khw", first, picture) - 0.1
        after = activation(before)
        return 0.5 + (second[:, None, None] * after)[:, :4, :4].sum()

    (found,) = ask("guided-backprop", Planted(OfPicture(score), [BOX]), image, TARGET).saliency
    passed = torch.einsum("kc,chw->khw", first, image) - 0.1 > 0
    expected = torch.zeros(HEIGHT, WIDTH)
    handed = (second.clamp(min=0)[:, None, None] * passed)[:, :4, :4]
    expected[:4, :4] = torch.einsum("kc,khw->chw", first, handed).clamp(min=0).amax(dim=0)
    assert bool(expected.any())
    torch.testing.assert_close(found, expected)


def test_guided_backprop_of_other_rectifiers(image: Tensor) -> None:
    """Both ends of relu6 and the slope of leaky_relu."""
    values = image.flatten()
    scale = 12 * torch.where(torch.arange(len(values)) % 2 == 0, 1.0, -1.0)
    for activation, slope in ((F.relu6, 0.0), (lambda x: F.leaky_relu(x, 0.1), 0.1)):
        network = OfPicture(
            lambda picture, f=activation: 0.5 + 1e-6 * f(picture.flatten() * scale).sum()
        )
        (found,) = ask("guided-backprop", Planted(network, [BOX]), image, TARGET).saliency
        before = values * scale
        derivative = torch.where(before > 0, 1.0, slope)
        if not slope:
            derivative[before >= 6] = 0
        gradient = (1e-6 * derivative * scale).clamp(min=0).reshape(image.shape)
        torch.testing.assert_close(found, gradient.amax(dim=0))


def test_guided_backprop_refuses_what_is_no_rectifier(image: Tensor) -> None:
    for activation in (nn.Hardswish(), nn.SiLU(inplace=True), nn.GELU(), nn.Hardtanh()):
        network = OfPicture(lambda picture, f=activation: f(picture * 1).mean().clamp(0, 1))
        with pytest.raises(UnsupportedMethodError, match="rectifiers"):
            ask("guided-backprop", Planted(network, [BOX]), image, TARGET)


# --- excitation backprop --------------------------------------------------------------------------


def excited(middle: nn.Module, seed: int = 0) -> Planted:
    """3 channels to 4 at full size, then ``middle`` to cells, then a class head."""
    torch.manual_seed(seed)
    before = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    head = nn.Conv2d(4, 1, 1)
    head.weight.data.abs_()
    detector = dense(Dense(middle, head, before).eval(), n_classes=1)
    detector.excitation_layer = "before"
    return detector


def test_excitation_by_hand(image: Tensor) -> None:
    detector = excited(nn.Identity())
    network = detector.network
    network.features = nn.Identity()
    network.head = nn.Conv2d(4, 1, CELL, stride=CELL)
    nn.init.uniform_(network.before[0].weight, 0.1, 1)
    (found,) = ask("excitation-backprop", detector, image, [Target(box=[8, 16, 16, 24])]).saliency
    activation = network.before(image[None])[0, :, 16:24, 8:16]
    shares = (activation * network.head.weight[0].clamp(min=0)).sum(dim=0)
    expected = torch.zeros(HEIGHT, WIDTH)
    expected[16:24, 8:16] = (shares / shares.sum()).detach()
    torch.testing.assert_close(found, expected)
    assert float(found.sum()) == pytest.approx(1)


class Residual(nn.Module):
    """Two branches added in place, a pyramid's sum, pooling: what real networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(4, 4, 4, stride=4)
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.cells(x)
        out = self.branch(x)
        out += x
        pooled = F.max_pool2d(F.relu(out, inplace=True), 2)
        coarse = F.avg_pool2d(pooled, 3, stride=1, padding=1)
        return pooled + F.interpolate(coarse, size=pooled.shape[2:], mode="bilinear")


def test_excitation_is_conserved(image: Tensor) -> None:
    detector = excited(Residual())
    for parameter in detector.network.parameters():
        parameter.data.abs_()
    detector.network.head.bias.data.fill_(-4)
    answer = ask("excitation-backprop", detector, image, [Target(box=[8, 16, 16, 24])])
    assert float(answer.saliency.sum()) == pytest.approx(1, abs=1e-4)
    assert answer.notes == ()
    assert answer.n_passes == 1


def test_excitation_takes_batch_norm_and_convolution_as_one(image: Tensor) -> None:
    """Also where its scale is negative, and written out as a product and a sum."""

    class Frozen(nn.Module):
        def __init__(self, norm: nn.BatchNorm2d) -> None:
            super().__init__()
            self.norm = norm

        def forward(self, x: Tensor) -> Tensor:
            scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
            shift = self.norm.bias - self.norm.running_mean * scale
            return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)

    torch.manual_seed(0)
    convolution, norm = nn.Conv2d(4, 4, CELL, stride=CELL), nn.BatchNorm2d(4).eval()
    norm.weight.data = torch.tensor([1.0, -2.0, 0.5, -1.0])
    norm.running_mean, norm.running_var = torch.randn(4) / 10, torch.rand(4) + 0.5
    target = [Target(box=[8, 16, 16, 24])]
    maps = [
        ask(
            "excitation-backprop", excited(nn.Sequential(*layers, nn.ReLU())), image, target
        ).saliency
        for layers in (
            (convolution, norm),
            (convolution, Frozen(norm)),
            (fuse_conv_bn_eval(convolution.eval(), norm),),
        )
    ]
    assert bool(maps[2].any())
    assert len(maps[2].unique()) > 10
    torch.testing.assert_close(maps[0], maps[2])
    torch.testing.assert_close(maps[1], maps[2])


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, CELL)
        return x * x.sigmoid()


def test_excitation_refuses_what_has_no_rule(image: Tensor) -> None:
    pool = nn.AvgPool2d(CELL)
    for middle, word in (
        (Gated(), "mul of two activations"),
        (nn.Sequential(pool, nn.Hardswish()), "hardswish"),
        (nn.Sequential(pool, nn.GroupNorm(2, 4)), "group_norm"),
        (nn.Sequential(pool, nn.BatchNorm2d(4)), "batch_norm"),
    ):
        detector = excited(middle)
        with pytest.raises(UnsupportedMethodError, match=word):
            ask("excitation-backprop", detector, image, [Target(box=[8, 16, 16, 24])])
    detector.excitation_layer = ""
    with pytest.raises(UnsupportedMethodError, match="excitation_layer"):
        ask("excitation-backprop", detector, image, [Target(box=[8, 16, 16, 24])])


# --- activation maps ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAMS)
def test_each_map_peaks_on_its_own_patch(name: str) -> None:
    image, targets = red_and_green()
    maps = ask(name, colours(), image, targets).saliency
    assert not torch.allclose(maps[0], maps[1])
    for target, found in zip(targets, maps, strict=True):
        y, x = divmod(int(found.argmax()), WIDTH)
        x1, y1, x2, y2 = target.box.tolist()
        assert x1 <= x < x2
        assert y1 <= y < y2


def test_cam_is_the_class_head(image: Tensor) -> None:
    detector = colours()
    network = detector.network
    with torch.no_grad():
        logits = network.head(network.features(image[None]))
    expected = F.interpolate(logits, scale_factor=CELL, mode="bilinear")[0]
    targets = [Target(box=[8, 8, 16, 16], label=0), Target(box=[40, 24, 48, 32], label=1)]
    answer = ask("cam", detector, image, targets)
    torch.testing.assert_close(answer.saliency, expected, atol=1e-4, rtol=1e-4)
    assert any("one scale" in note for note in answer.notes)


def test_cam_refuses_a_head_that_reads_several_cells(image: Tensor) -> None:
    target = [Target(box=[8, 16, 16, 24])]
    with pytest.raises(UnsupportedMethodError, match="9 cells"):
        ask("cam", colours(kernel=3), image, target)
    assert bool(ask("gradcam", colours(kernel=3), image, target).saliency.any())


def test_gradcam_plus_plus_by_hand() -> None:
    image, targets = red_and_green()
    detector = colours(kernel=3)
    network = detector.network
    features = network.features(image[None]).detach().requires_grad_()
    score = network.head(features).sigmoid()[0, 0, 1, 1]
    (gradient,) = torch.autograd.grad(score, features)
    positive = gradient[0].clamp(min=0)
    excitation = (features[0] * positive**3).sum(dim=(1, 2), keepdim=True)
    alpha = positive**2 / (2 * positive**2 + excitation)
    weights = (alpha.nan_to_num() * positive).sum(dim=(1, 2), keepdim=True)
    cells = (weights * features[0]).sum(dim=0, keepdim=True).clamp(min=0)
    cells = cells * (gradient[0] != 0).any(dim=0)  # the window that the score reads
    expected = F.interpolate(cells[None].detach(), scale_factor=CELL, mode="bilinear")[0, 0]
    (found,) = ask("gradcam++", detector, image, targets[:1]).saliency
    torch.testing.assert_close(found, expected)


def test_cells_lie_over_the_pixels_they_are_of() -> None:
    """Also where the network's input is enlarged and padded, or ends within a cell."""
    cells = torch.zeros(8, 8)
    cells[2, 5] = 1
    seen = Features(input_size=(256, 256))  # a picture enlarged by 1.25, padded: 25.6 pixels a cell
    found = seen.enlarge(cells, (204.8, 204.8), 200, 204)
    y, x = divmod(int(found.argmax()), 204)
    assert (y + 0.5, x + 0.5) == pytest.approx((2.5 * 25.6, 5.5 * 25.6), abs=0.5)
    odd = Features(input_size=(41, 57)).enlarge(torch.eye(6, 8), (41.0, 57.0), 41, 57)
    assert int(odd[40].argmax()) == 5 * CELL + 3  # cells of 8 pixels, the last one cut off


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_black_box_is_refused(name: str, image: Tensor) -> None:
    def nothing(_images: object) -> list[dict[str, list[float]]]:
        return [{"boxes": [], "scores": []}]

    with pytest.raises(UnsupportedMethodError, match="black box") as caught:
        ask(name, load_detector(nothing), image, TARGET)
    assert caught.value.method == name


@pytest.mark.parametrize("name", ALL)
def test_target_that_nobody_touches(name: str) -> None:
    image, targets = red_and_green()
    detector = colours()
    detector.excitation_layer = "features"
    answer = ask(name, detector, image, [targets[0], Target(box=[8, 8, 16, 16], label=7)])
    assert bool(answer.saliency[0].any())
    assert not answer.saliency[1].any()
    assert any(note.startswith("target 2: no proposal overlaps") for note in answer.notes)


@pytest.mark.parametrize("name", ALL)
def test_network_and_random_numbers_are_left_as_they_were(name: str) -> None:
    image, targets = red_and_green()
    detector = colours()
    detector.excitation_layer = "features"
    network = detector.network.train()
    network.before = nn.Dropout(0.5)
    network.head.bias.requires_grad_(False)
    before = image.clone()
    state = torch.get_rng_state()
    first = ask(name, detector, image, targets)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(ask(name, detector, image, targets).saliency, first.saliency)
    assert torch.equal(image, before)
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [n for n, p in network.named_parameters() if not p.requires_grad] == ["head.bias"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize("name", ["smoothgrad", "smooth-gradcam++"])
def test_another_seed_gives_another_map(name: str) -> None:
    image, targets = red_and_green()
    maps = [
        METHODS[name]
        .answer(
            Question(
                image=image,
                detector=colours(),
                targets=(targets[0],),
                n_passes=6,
                plan=Plan(seed=seed),
            )
        )
        .saliency
        for seed in (0, 1)
    ]
    assert not torch.allclose(maps[0], maps[1], rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_progress_and_too_few_passes(name: str) -> None:
    image, targets = red_and_green()
    detector = colours()
    detector.excitation_layer = "features"
    told = []
    question = Question(
        image=image,
        detector=detector,
        targets=tuple(targets),
        n_passes=METHODS[name].n_passes * 2,
        progress=lambda done, total: told.append((done, total)),
    )
    passes = METHODS[name].answer(question).n_passes
    assert len(told) == 2
    assert told[-1] == (passes, passes)
    if name in ("smoothgrad", "integrated-gradients", "smooth-gradcam++", "saliency"):
        with pytest.raises(InputError, match=r"at least \d+ passes for 2"):
            ask(name, detector, image, targets, n_passes=1)


@pytest.mark.parametrize("name", ALL)
def test_nan_is_an_error(name: str) -> None:
    image, targets = red_and_green()
    detector = colours()
    detector.excitation_layer = "features"
    detector.network.head.bias.data.fill_(math.nan)
    with pytest.raises(DetectorOutputError, match="finite"):
        ask(name, detector, image, targets)


def test_weights_are_those_of_similarity(image: Tensor) -> None:
    detector = colours()
    targets = [Target(box=[9, 17, 20, 30]), Target(box=[30, 3, 44, 12], label=1)]
    (weights,) = TargetScores(detector, targets)(image[None])
    expected = similarity(targets, detector.detect(image[None])[0]).amax(dim=1)
    torch.testing.assert_close(weights.detach(), expected)


# --- RetinaFace -----------------------------------------------------------------------------------


def test_retinaface_proposes_what_it_detects(image: Tensor) -> None:
    torch.manual_seed(0)
    detector = load_retinaface(RetinaFaceNetwork(), min_score=0.0)
    assert isinstance(detector, Differentiable)
    (raw,) = detector.propose(image[None].requires_grad_())
    assert raw.scores.requires_grad
    assert raw.extent == (HEIGHT, WIDTH)
    (found,) = detector.detect(image[None])
    best = int(raw.scores.argmax())
    torch.testing.assert_close(found.scores[0], raw.scores[best].detach())
    torch.testing.assert_close(found.boxes[0], raw.boxes[best].detach())


@pytest.mark.parametrize("name", ALL)
def test_retinaface_is_explained_by_all(name: str, image: Tensor) -> None:
    torch.manual_seed(0)
    detector = load_retinaface(RetinaFaceNetwork(), min_score=0.0)
    (found,) = detector.detect(image[None])
    inside = Target(box=found.boxes[0]).inside(HEIGHT, WIDTH)
    answer = ask(name, detector, image, [inside], n_passes=min(METHODS[name].n_passes, 6))
    assert name in ("guided-backprop", *CAMS) or bool(answer.saliency.any())
