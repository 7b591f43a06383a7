"""Baselines, agreement of maps, stability, and weights destroyed."""

import pytest
import torch
from torch import Tensor, nn

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.core.errors import InputError, UndefinedMetricError, UnknownNameError
from chiaroscuro.metrics.agreement import variants
from chiaroscuro.metrics.randomisation import randomised
from chiaroscuro.testing import PlantedDetector

HEIGHT, WIDTH = 40, 56
BOX = [20.0, 8.0, 36.0, 28.0]


@pytest.mark.parametrize("name", sorted(metrics.BASELINES))
def test_every_baseline_is_a_map_with_an_order(name: str, image: Tensor) -> None:
    saliency = metrics.baseline(name, image, BOX)
    assert saliency.shape == (HEIGHT, WIDTH)
    assert saliency.dtype == torch.float32
    assert torch.equal(saliency, metrics.baseline(name, image.clone(), BOX))
    flat = torch.full((3, HEIGHT, WIDTH), 0.5)
    for one in (saliency, metrics.baseline(name, flat, BOX)):
        _, shared = one.unique(return_counts=True)
        assert int(shared.max()) < HEIGHT * WIDTH / 10


def test_the_box_itself_has_full_marks_in_localisation(image: Tensor) -> None:
    saliency = metrics.baseline("box", image, BOX)
    assert metrics.pointing_game(saliency, BOX)
    assert metrics.energy_pointing_game(saliency, BOX) == pytest.approx(1)
    assert metrics.map_iou(saliency, BOX) == pytest.approx(1)
    assert metrics.box_coverage(saliency, BOX) == pytest.approx(1)
    assert metrics.irrelevant_attention(saliency, BOX) == 0


def test_baselines_differ_by_seed_only_where_they_are_random(image: Tensor) -> None:
    for name in metrics.BASELINES:
        first, second = (metrics.baseline(name, image, BOX, seed) for seed in (0, 1))
        assert torch.equal(first, second) == (name in ("box", "centre"))
    with pytest.raises(UnknownNameError, match="box"):
        metrics.baseline("circle", image, BOX)


def test_agreement_by_hand() -> None:
    first = torch.zeros(HEIGHT, WIDTH)
    first[8:28, 20:36] = torch.arange(320, dtype=torch.float32).view(20, 16) + 1
    same = metrics.agreement(first, 3 * first - 5, BOX)
    assert (same.linear, same.rank) == pytest.approx((1, 1))
    bent = metrics.agreement(first, first**5, BOX)
    assert bent.rank == pytest.approx(1)
    assert bent.linear < 0.9
    assert metrics.agreement(first, -first, BOX).rank == pytest.approx(-1)


def test_ties_share_the_mean_of_their_ranks() -> None:
    """Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: a correlation of 4.5 / sqrt(4.5 x 5)."""
    first, second = torch.tensor([[1.0, 2.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    whole = [0.0, 0.0, 4.0, 1.0]
    assert metrics.agreement(first, second, whole).rank == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


def test_far_from_the_box_nothing_counts() -> None:
    first = torch.zeros(HEIGHT, WIDTH)
    first[8:28, 20:36] = torch.arange(320, dtype=torch.float32).view(20, 16)
    second = first.clone()
    second[:, :2] = 1000  # 18 columns left of the box, whose ring is 17.9 wide
    assert metrics.agreement(first, second, BOX).linear == pytest.approx(1)
    with pytest.raises(UndefinedMetricError, match="constant"):
        metrics.agreement(first, torch.zeros(HEIGHT, WIDTH), BOX)
    with pytest.raises(InputError, match="picture's size"):
        metrics.agreement(first, second.T, BOX)


def planted(image: Tensor) -> PlantedDetector:
    evidence = torch.zeros(HEIGHT, WIDTH)
    evidence[10:20, 22:32] = 0.6 / 100
    return PlantedDetector(BOX, evidence, bias=0.1)


def test_stability_names_what_was_changed(image: Tensor) -> None:
    detector = planted(image)

    def explain(design: cs.MaskDesign, seed: int) -> cs.Explanation:
        return cs.explain(image, detector, [BOX], n_passes=100, design=design, seed=seed)

    design = cs.MaskDesign(grid_size=8)
    found = metrics.stability(explain(design, 0), design, 0, explain)
    assert list(found) == ["another seed", "fill mean", "fill blur", "grid 4x4", "grid 16x16"]
    for (agreement,) in found.values():
        assert agreement is not None
        assert -1 <= agreement.linear <= 1
    (other_seed,), (same_brightness,) = found["another seed"], found["fill mean"]
    assert other_seed is not None
    assert other_seed.linear > 0.9
    assert same_brightness is not None  # a detector of brightness sees nothing hidden by its mean
    assert same_brightness.linear < 0.5


def test_variants_leave_out_what_is_already_so() -> None:
    changed = variants(cs.MaskDesign(grid_size=(3, 5), fill="blur"), seed=4)
    assert list(changed) == ["another seed", "fill black", "fill mean", "grid 1x2", "grid 6x10"]
    assert changed["another seed"][1] == 5
    assert changed["fill black"][1] == 4
    assert changed["fill black"][0].fill == "black"


def test_an_unseen_target_is_counted_not_correlated(image: Tensor) -> None:
    deaf = cs.load_detector(lambda images: [torch.zeros(0, 5) for _ in images])
    reference = cs.explain(image, deaf, [BOX], n_passes=8)

    def stability(*boxes: list[float]) -> dict[str, list[metrics.Agreement | None]]:
        return metrics.stability(
            reference,
            cs.MaskDesign(),
            0,
            lambda design, seed: cs.explain(
                image, deaf, boxes, n_passes=8, design=design, seed=seed
            ),
        )

    assert set(map(tuple, stability(BOX).values())) == {(None,)}
    with pytest.raises(InputError, match="wanted maps of 2 targets, got 1"):
        stability(BOX, BOX)


class Tiny(nn.Module):
    """Two layers: brightness by place, then a score."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(HEIGHT * WIDTH, 2, bias=False)
        self.last = nn.Linear(2, 1)
        with torch.no_grad():
            self.first.weight.zero_()
            rows = torch.zeros(HEIGHT, WIDTH)
            rows[10:20, 22:32] = 0.01
            self.first.weight[0] = rows.flatten()
            self.last.weight.copy_(torch.tensor([[4.0, 0.0]]))
            self.last.bias.fill_(-2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images.mean(dim=1).flatten(1)))[:, 0].sigmoid()


class TinyDetector:
    def __init__(self) -> None:
        self.network = Tiny()
        self.info = cs.DetectorInfo(name="tiny")

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[cs.Proposals]:
        scores = self.network(images.float())
        return [cs.Proposals(boxes=[BOX], scores=[float(score)]) for score in scores]


def test_weights_are_shuffled_from_the_last_layer_on() -> None:
    detector = TinyDetector()
    before = {name: value.clone() for name, value in detector.network.state_dict().items()}
    stages = []
    for share, layer, changed in randomised(detector, stages=2, seed=1):
        state = changed.network.state_dict()  # type: ignore[attr-defined]
        touched = [name for name, value in state.items() if not torch.equal(value, before[name])]
        stages.append((layer, share, touched))
        for name, value in state.items():
            assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values)
    assert [layer for layer, _, _ in stages] == ["last", "first"]
    assert stages[0][1] == pytest.approx(3 / (3 + 2 * HEIGHT * WIDTH))
    assert stages[1][1] == 1
    assert "first.weight" not in stages[0][2]
    assert "first.weight" in stages[1][2]
    for name, value in detector.network.state_dict().items():
        assert torch.equal(value, before[name])


def randomisation(
    image: Tensor, detector: cs.Detector, *, stages: int, n_passes: int
) -> list[metrics.RandomisedStage]:
    def explain(changed: cs.Detector) -> cs.Explanation:
        return cs.explain(image, changed, [BOX], n_passes=n_passes)

    return metrics.randomisation(detector, explain(detector), explain, stages=stages)


def test_maps_of_a_randomised_detector_no_longer_agree(image: Tensor) -> None:
    stages = randomisation(image, TinyDetector(), stages=2, n_passes=150)
    (everything,) = stages[-1].agreement
    assert stages[-1].share == 1
    assert everything is None or everything.linear < 0.5
    assert len(stages[0].mean_weight) == 1


def test_a_black_box_has_no_weights_to_shuffle(image: Tensor) -> None:
    with pytest.raises(InputError, match="black box here"):
        randomisation(image, planted(image), stages=4, n_passes=8)
    with pytest.raises(InputError, match="wanted at least 1"):
        randomisation(image, TinyDetector(), stages=0, n_passes=8)
    assert len(randomisation(image, TinyDetector(), stages=9, n_passes=8)) == 2
