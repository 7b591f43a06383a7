"""Matching, reading misses, averages and context shares, by hand."""

import pytest
import torch

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.core.errors import UndefinedMetricError
from chiaroscuro.core.records import Truth
from chiaroscuro.core.windows import Window
from chiaroscuro.metrics.stats import bootstrap_interval
from chiaroscuro.studies.averages import Averager, box_crop
from chiaroscuro.studies.matching import match
from chiaroscuro.studies.misses import read_miss

FACE, OTHER = [10.0, 10.0, 20.0, 20.0], [40.0, 10.0, 50.0, 20.0]


def found(*rows: tuple[list[float], float]) -> cs.Proposals:
    return cs.Proposals(boxes=[box for box, _ in rows], scores=[score for _, score in rows])


def kinds(detections: cs.Proposals, truth: Truth, **options: float) -> list[str]:
    return [one.kind for one in match(detections, truth, **options).detections]


def test_every_kind_of_detection() -> None:
    truth = Truth(boxes=[FACE, OTHER, [70, 10, 80, 20]], ignore=[False, False, True])
    detections = found(
        ([10, 10, 20, 19], 0.5),  # IoU .9, but the next has the face already
        (FACE, 0.9),
        ([44, 10, 54, 20], 0.8),  # IoU 60 / 140
        ([70, 10, 80, 20], 0.7),
        ([0, 50, 10, 60], 0.6),
    )
    assert kinds(detections, truth) == [
        *("duplicate", "hit", "badly placed", "ignored", "background")
    ]
    assert match(detections, truth).missed == (1,)
    assert kinds(detections, truth, min_iou=0.4)[2] == "hit"
    placed = match(detections, truth).detections[2]
    assert (placed.truth, placed.iou) == (1, pytest.approx(60 / 140))


def test_the_best_detection_chooses_first_and_the_next_takes_what_is_left() -> None:
    """Both overlap both faces; the better one takes its nearest, the other the one left."""
    truth = Truth(boxes=[[0, 0, 10, 10], [0, 2, 10, 12]])
    detections = found(([0, 1.4, 10, 11.4], 0.6), ([0, 1.2, 10, 11.2], 0.9))
    first, second = match(detections, truth).detections
    assert (second.truth, first.truth) == (1, 0)
    assert match(detections, truth).missed == ()


def test_equal_scores_go_in_order_and_classes_are_apart() -> None:
    truth = Truth(boxes=[FACE], labels=[1])
    assert kinds(found((FACE, 0.5)), truth) == ["background"]
    twice = cs.Proposals(boxes=[FACE, FACE], scores=[0.5, 0.5], labels=[1, 1])
    assert kinds(twice, truth) == ["hit", "duplicate"]


def test_nothing_found_and_nothing_marked() -> None:
    assert match(cs.Proposals.empty(), Truth(boxes=[FACE, OTHER], ignore=[0, 1])).missed == (0,)
    assert kinds(found((FACE, 0.5)), Truth(boxes=torch.zeros(0, 4))) == ["background"]


def evidence(*masks: cs.Proposals) -> cs.Evidence:
    boxes = torch.cat([m.boxes for m in masks]).reshape(-1, 4)
    return cs.Evidence(
        window=Window.whole((40, 60)),
        area=Window.whole((40, 60)),
        image=torch.zeros(3, 40, 60),
        boxes=boxes,
        scores=torch.cat([m.scores for m in masks]),
        labels=torch.zeros(len(boxes), dtype=torch.int64),
        counts=torch.tensor([len(m) for m in masks]),
    )


NOTHING = cs.Proposals.empty()


@pytest.mark.parametrize(
    ("whole", "masks", "reading"),
    [
        (found((FACE, 0.2)), (found((FACE, 0.1)), NOTHING), "weak"),
        (found((FACE, 0.2)), (NOTHING, found((FACE, 0.6))), "suppressed"),
        (NOTHING, (NOTHING, NOTHING), "unseen"),
        (found(([14, 10, 24, 20], 0.9)), (NOTHING, NOTHING), "badly placed"),
        (found((FACE, 0.9)), (NOTHING, NOTHING), "crowded out"),
    ],
)
def test_readings_of_a_miss(
    whole: cs.Proposals, masks: tuple[cs.Proposals, ...], reading: str
) -> None:
    saliency, error = torch.zeros(40, 60), torch.full((40, 60), 0.1)
    saliency[10, 10:13], saliency[30, 50], saliency[0] = 1.0, -1.0, 0.15
    miss = read_miss(
        cs.Target(box=FACE), whole, evidence(*masks), saliency, error, min_score=0.3, min_iou=0.5
    )
    assert miss.reading == reading
    assert miss.negative_share == pytest.approx(1 / 4)  # the first row is within its error
    assert f"{miss.whole_score:.2f}" in miss.sentence or reading in ("unseen", "badly placed")


def test_what_a_miss_states() -> None:
    seen = evidence(NOTHING, found((OTHER, 0.9), (FACE, 0.4)), found((FACE, 0.7)), NOTHING)
    miss = read_miss(
        cs.Target(box=FACE),
        found((FACE, 0.25)),
        seen,
        torch.zeros(40, 60),
        torch.ones(40, 60),
        min_score=0.3,
        min_iou=0.5,
    )
    assert (miss.best_mask, miss.share_found) == (2, 0.5)
    assert (miss.whole_score, miss.best_score) == (pytest.approx(0.25), pytest.approx(0.7))
    assert miss.negative_share == 0
    assert miss.reading == "unsteady"  # nothing in the map says what has to be hidden
    assert "under 50% of the masks" in miss.sentence
    assert "beyond chance" in miss.sentence


def test_a_crop_has_the_box_in_its_middle() -> None:
    """A box of 8 x 4: every pixel of it 8 wide and 16 high in the crop."""
    layers = torch.zeros(1, 40, 60)
    layers[0, 12:16, 20:28] = 1
    crop, inside = box_crop(layers, cs.Target(box=[20, 12, 28, 16]))
    assert crop.shape == (1, 128, 128)
    assert bool(inside.all())
    assert float(crop[0, 40:88, 40:88].min()) == 1
    assert float(crop[0, :20].max()) == 0
    _, cut = box_crop(layers, cs.Target(box=[0, 12, 8, 16]))
    assert not bool(cut[:, :31].any())
    assert bool(cut[:, 33:].all())


def test_large_boxes_are_averaged_not_sampled() -> None:
    """Stripes of one pixel, 512 to a box of 64: grey, not a chance of black or white."""
    stripes = (torch.arange(600) % 2).float().expand(1, 600, 600)
    crop, _ = box_crop(stripes, cs.Target(box=[44, 44, 556, 556]))
    assert float((crop[0, 40:88, 40:88] - 0.5).abs().max()) < 0.1


def test_averages_count_every_target_alike() -> None:
    averager = Averager()
    image = torch.full((3, 40, 60), 0.5)
    for strength, box in ((1.0, [20, 12, 28, 20]), (0.01, [0, 12, 8, 20])):
        saliency = torch.zeros(40, 60)
        saliency[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = strength
        averager.add(image, saliency, cs.Target(box=box))
    averager.add(image, -torch.ones(40, 60), cs.Target(box=[20, 12, 28, 20]))
    of_noise = 0.1 * torch.rand(40, 60, generator=torch.Generator().manual_seed(0))
    averager.add(image, of_noise, cs.Target(box=[20, 12, 28, 20]), torch.full((40, 60), 0.06))
    average = averager.result()
    assert (average.n_targets, average.n_empty) == (2, 2)
    assert float(average.saliency[48:80, 48:80].min()) == pytest.approx(1)
    assert float(average.spread[48:80, 48:80].max()) == pytest.approx(0, abs=1e-5)
    assert (int(average.count[64, 5]), int(average.count[64, 120])) == (1, 2)
    assert float(average.face.max()) == pytest.approx(0.5)
    assert float(Averager().result().saliency.abs().max()) == 0


def test_shares_of_the_evidence_add_up() -> None:
    saliency = torch.zeros(40, 60)
    saliency[10:20, 10:20] = 0.02  # 2 in the box
    saliency[10:20, 25] = 0.1  # 1 in the ring, which is 10 wide
    saliency[35, 0:40] = 0.025  # 1 beyond
    saliency[0, 59] = -5
    share = metrics.context_share(saliency, FACE)
    assert (share.box, share.ring, share.beyond) == pytest.approx((0.5, 0.25, 0.25))
    supported = metrics.context_share(saliency, FACE, torch.full((40, 60), 0.012))
    assert (supported.box, supported.ring) == pytest.approx((0, 0.5))
    with pytest.raises(UndefinedMetricError, match="no positive value"):
        metrics.context_share(saliency, FACE, torch.ones(40, 60))


def test_an_interval_by_hand() -> None:
    """Of two pictures with 0 and 1, a draw of two has a mean of 0, 1/2 or 1."""
    values = torch.tensor([0.0, 1.0]).numpy()
    low_high = bootstrap_interval(lambda drawn: float(values[drawn].mean()), 2)
    assert low_high == (0, 1)
    assert bootstrap_interval(lambda drawn: 0.5, 1) is None
    assert bootstrap_interval(lambda drawn: float("nan"), 5) is None
    wide = bootstrap_interval(lambda drawn: float(drawn.mean()), 100, n_resamples=200)
    assert wide is not None
    assert 40 < wide[0] < 49.5 < wide[1] < 59


def test_an_average_precision_with_its_interval() -> None:
    truth = [Truth(boxes=[FACE]) for _ in range(20)]
    detections = [found((FACE, 0.9)) if i % 2 else NOTHING for i in range(20)]
    result = metrics.average_precision(detections, truth, n_resamples=100)
    assert result.ap50_interval is not None
    low, high = result.ap50_interval
    assert 0.2 < low < result.ap50 < high < 0.8
    assert metrics.average_precision(detections, truth).ap50 == result.ap50


def test_any_number_of_detections_may_have_a_crowd() -> None:
    """They are judged by the share of their own area in it, those to be scored come first."""
    crowd = [0, 30, 60, 50]
    truth = Truth(boxes=[FACE, crowd], crowd=[False, True])
    assert truth.ignore.tolist() == [False, True]
    inside, half, less = [0, 30, 5, 40], [55, 30, 65, 40], [56, 30, 66, 40]
    detections = found((FACE, 0.9), (inside, 0.8), (half, 0.7), (less, 0.6), (crowd, 0.5))
    assert kinds(detections, truth) == ["hit", "ignored", "ignored", "background", "ignored"]
    assert match(detections, truth).missed == ()
    over = Truth(boxes=[FACE, [0, 0, 60, 50]], crowd=[False, True])
    assert kinds(found((FACE, 0.9), (FACE, 0.8)), over) == ["hit", "ignored"]
    assert over.scaled(0.5).relabelled({0: 3}).crowd.tolist() == [False, True]


def test_of_equal_overlaps_the_last_is_chosen_as_coco_does() -> None:
    truth = Truth(boxes=[[0, 0, 10, 10], [10, 0, 20, 10]])
    between, right = [5, 0, 15, 10], [10, 0, 20, 10]
    first, second = match(found((between, 0.9), (right, 0.8)), truth, 0.3).detections
    assert (first.kind, first.truth, second.kind) == ("hit", 1, "duplicate")
