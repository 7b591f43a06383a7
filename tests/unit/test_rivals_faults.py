"""Faults found in other tools, each held off by name; the numbers are those of the list we keep."""

import numpy as np
import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.core import boxes
from chiaroscuro.core.errors import UndefinedMetricError
from chiaroscuro.core.records import Truth, as_targets
from chiaroscuro.core.similarity import similarity
from chiaroscuro.figures.overlay import overlay
from chiaroscuro.studies.matching import match


def found(box: list[float], score: float, **more: object) -> cs.Proposals:
    return cs.Proposals(boxes=[box], scores=[score], **more)


def test_fault_01_a_mask_without_detections_spoils_nothing(image: Tensor) -> None:
    """The first mask leaves no detection: other tools return one NaN map for three targets."""
    calls = 0

    def blind_at_first(images: Tensor) -> list[list[list[float]]]:
        nonlocal calls
        calls += 1
        if calls == 1:
            return [[] for _ in images]
        return [
            [[4, 4, 20, 20, float(p[:, 4:20, 4:20].mean())], [30, 9, 50, 30, float(p.mean())]]
            for p in images
        ]

    targets = [[4, 4, 20, 20], [30, 9, 50, 30], [5, 5, 22, 22]]
    result = cs.explain(image, blind_at_first, targets, n_passes=40, batch_size=1)
    assert result.saliency.shape == (3, 40, 56)
    assert bool(torch.isfinite(result.saliency).all())
    assert all(float(m.abs().max()) > 0 for m in result.saliency)
    assert not torch.equal(result.saliency[0], result.saliency[1])


def test_fault_02_weak_evidence_under_masks_is_kept(image: Tensor) -> None:
    """No score threshold of 0.5 on masked pictures."""

    def weak(images: Tensor) -> list[list[list[float]]]:
        return [[[4, 4, 20, 20, 0.1 * float(p[:, 4:20, 4:20].mean())]] for p in images]

    result = cs.explain(image, weak, [[4, 4, 20, 20]], n_passes=60)
    assert 0 < float(result.mean_weight[0]) < 0.1
    y, x = divmod(int(result.saliency[0].argmax()), 56)
    assert 2 <= y <= 22
    assert 2 <= x <= 22


def test_fault_02_suppressed_proposals_are_kept_where_the_detector_offers_them(
    image: Tensor,
) -> None:
    class Suppressing:
        """Suppresses its second box, which is the better match, unless asked not to."""

        def __init__(self, before_nms: bool = False) -> None:
            self.info = cs.DetectorInfo(name="suppressing", before_nms=before_nms)

        def detect(self, images: Tensor) -> list[cs.Proposals]:
            both = cs.Proposals(boxes=[[0, 0, 20, 20], [4, 4, 20, 20]], scores=[0.9, 0.8])
            return [both if self.info.before_nms else both[:1] for _ in images]

        def without_nms(self) -> "Suppressing":
            return Suppressing(before_nms=True)

    evidence = cs.observe(image, Suppressing(), n_passes=3)
    assert evidence.before_nms
    torch.testing.assert_close(evidence.weights([[4, 4, 20, 20]]), torch.full((1, 3), 0.8))


def test_fault_03_one_class_vectors_never_meet_in_a_cosine() -> None:
    """For a target of 0.30, a proposal of 0.9 must beat one of 0.05."""
    box = [2.0, 3.0, 9.0, 8.0]

    def vector(score: float) -> Tensor:
        return torch.tensor([[score, 1 - score]])

    target = as_targets(found(box, 0.3, class_probabilities=vector(0.3)))
    strong = similarity(target, found(box, 0.9, class_probabilities=vector(0.9)))
    weak = similarity(target, found(box, 0.05, class_probabilities=vector(0.05)))
    assert float(strong) == pytest.approx(0.9)
    assert float(weak) == pytest.approx(0.05)
    single = similarity(
        as_targets(found(box, 0.3, class_probabilities=[[0.3]])),
        found(box, 0.05, class_probabilities=[[0.05]]),
    )
    assert float(single) == pytest.approx(0.05)


def test_fault_03_a_one_class_detector_is_recorded_without_vectors(image: Tensor) -> None:
    def vectors(images: Tensor) -> list[cs.Proposals]:
        return [found([1, 1, 9, 9], 0.3, class_probabilities=[[0.3, 0.7]]) for _ in images]

    assert cs.observe(image, vectors, n_passes=2).class_probabilities is None


@pytest.mark.parametrize("side", [0.01, 1.0, 300.0])
def test_fault_04_equal_boxes_overlap_fully_whatever_their_size(side: float) -> None:
    """No smoothing term, no +1 pixel."""
    box = torch.tensor([[5.0, 7.0, 5.0 + side, 7.0 + 2 * side]])
    assert float(boxes.iou(box, box)) == 1
    shifted = box + torch.tensor([side / 2, 0, side / 2, 0])
    assert float(boxes.iou(box, shifted)) == pytest.approx(1 / 3, rel=1e-3)


def test_fault_05_every_mask_has_its_own_shift() -> None:
    """Or every pair of masks, where they come in antithetic pairs."""
    for antithetic, n in ((False, 64), (True, 32)):
        design = cs.MaskDesign(grid_size=4, antithetic=antithetic)
        _, shifts = cs.Masks(design, 800, 1200).cells(0, 64)
        assert len({tuple(s) for s in shifts.tolist()}) == n


def test_fault_06_rows_and_columns_are_not_swapped() -> None:
    masks = cs.Masks(cs.MaskDesign(grid_size=16), 480, 640)
    assert masks.render(0, 1).shape == (1, 480, 640)
    evidence = torch.zeros(30, 50)
    evidence[4:9, 38:47] = 1 / 45
    detector = cs.testing.PlantedDetector((36, 2, 49, 11), evidence)
    result = cs.explain(torch.ones(3, 30, 50), detector, [[36, 2, 49, 11]], n_passes=200)
    y, x = divmod(int(result.saliency[0].argmax()), 50)
    assert 4 <= y < 9
    assert 38 <= x < 47


def test_fault_07_masks_do_not_depend_on_threads() -> None:
    rendered = []
    for threads in (1, 4):
        torch.set_num_threads(threads)
        try:
            rendered.append(cs.Masks(cs.MaskDesign(), 61, 83, seed=4).render(0, 16))
        finally:
            torch.set_num_threads(1)
    assert torch.equal(rendered[0], rendered[1])


def test_fault_08_masks_vary_as_much_at_borders_as_in_the_centre() -> None:
    variance = cs.Masks(cs.MaskDesign(grid_size=8), 32, 48).render(0, 6000).var(dim=0)
    centre = float(variance[8:24, 12:36].mean())
    corners = variance[[0, 0, -1, -1], [0, -1, 0, -1]]
    edges = torch.cat([variance[0], variance[-1], variance[:, 0], variance[:, -1]])
    assert float(edges.mean()) == pytest.approx(centre, rel=0.03)
    assert float(corners.mean()) == pytest.approx(centre, rel=0.05)


def test_fault_09_maps_are_raw_and_scaled_only_when_drawn(image: Tensor) -> None:
    def half_as_sure(factor: float) -> object:
        return lambda images: [
            [[4, 4, 20, 20, factor * float(p[:, 4:20, 4:20].mean())]] for p in images
        ]

    target = [[4, 4, 20, 20]]
    strong, weak = (
        cs.explain(image, half_as_sure(f), target, n_passes=50, estimator="centred").saliency
        for f in (1.0, 0.5)
    )
    torch.testing.assert_close(weak, strong / 2)
    assert (overlay(image, strong[0]) != overlay(image, 0 * strong[0])).any()
    torch.testing.assert_close(
        torch.from_numpy(overlay(image, weak[0])),
        torch.from_numpy(overlay(image, strong[0])),
        atol=1,
        rtol=0,
    )


def test_fault_10_each_box_has_its_own_map(image: Tensor) -> None:
    def two(images: Tensor) -> list[list[list[float]]]:
        return [
            [
                [2, 2, 16, 16, float(p[:, 2:16, 2:16].mean())],
                [36, 20, 54, 38, float(p[:, 20:38, 36:54].mean())],
            ]
            for p in images
        ]

    result = cs.explain(image, two, [[2, 2, 16, 16], [36, 20, 54, 38]], n_passes=300)
    for index, (x1, y1, x2, y2) in enumerate([(2, 2, 16, 16), (36, 20, 54, 38)]):
        y, x = divmod(int(result.saliency[index].argmax()), 56)
        assert x1 <= x < x2
        assert y1 <= y < y2


def test_fault_11_what_is_handed_over_is_never_written_to(image: Tensor) -> None:
    design = cs.MaskDesign(fill=torch.rand(3, 40, 56))
    fill = design.fill
    assert isinstance(fill, Tensor)
    before = image.clone(), fill.clone()
    cs.explain(
        image,
        lambda images: [[[1, 1, 9, 9, 0.5]]] * len(images),
        [[1, 1, 9, 9]],
        n_passes=4,
        design=design,
    )
    assert torch.equal(image, before[0])
    assert torch.equal(fill, before[1])
    picture = (image * 255).to(torch.uint8)
    floats = cs.detectors.protocol.as_unit_floats(picture[None])
    floats.zero_()
    assert bool(picture.any())


def test_fault_12_an_empty_map_is_no_evidence(image: Tensor) -> None:
    """A map without evidence is zero, has no fidelity and says so: nothing to count as a hit."""
    result = cs.explain(image, lambda images: [[]] * len(images), [[4, 4, 9, 9]], n_passes=8)
    assert not result.saliency.any()
    assert bool(result.fidelity.isnan())
    assert result.notes
    assert not metrics.pointing_game(result.saliency[0], [4, 4, 9, 9])
    with pytest.raises(UndefinedMetricError):
        metrics.energy_pointing_game(result.saliency[0], [4, 4, 9, 9])


def test_fault_13_nothing_detected_and_no_arguments_do_not_crash(image: Tensor) -> None:
    result = cs.explain(image, lambda images: [np.zeros((0, 5))] * len(images))
    assert len(result) == 0


def test_fault_14_overlap_thresholds_are_the_ones_stated() -> None:
    """An overlap of 0.74 is none at 0.75, though it is one at 0.5; rows stay in order."""
    truth = Truth(boxes=[[0.0, 0.0, 100.0, 100.0], [200.0, 0.0, 300.0, 100.0]])
    detections = cs.Proposals(
        boxes=[[200, 0, 300, 76], [0, 0, 100, 74], [500, 0, 600, 90]], scores=[0.3, 0.9, 0.6]
    )
    for min_iou, kinds in (
        (0.5, ["hit", "hit", "background"]),
        (0.75, ["hit", "badly placed", "background"]),
    ):
        assert [one.kind for one in match(detections, truth, min_iou).detections] == kinds
    result = metrics.average_precision([detections], [truth])
    assert result.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result.ap75 == pytest.approx(51 / 3 / 101)
