"""Metrics against figures made by hand, on pictures that are not square."""

import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.core.errors import (
    DetectorFailedError,
    InputError,
    TargetError,
    UndefinedMetricError,
    UnknownNameError,
)
from chiaroscuro.metrics.maps import most_salient_first
from chiaroscuro.metrics.protocols import filled
from chiaroscuro.testing import PlantedDetector

HEIGHT, WIDTH = 20, 30
BOX = [6.0, 4.0, 16.0, 14.0]  # 100 pixels, rows 4 to 13, columns 6 to 15
WHITE = torch.ones(3, HEIGHT, WIDTH)
TENTHS = metrics.Protocol(
    name="tenths", insertion="black", deletion="black", shares=tuple(i / 10 for i in range(11))
)


def evidence_map() -> Tensor:
    """Sixty pixels of equal evidence, 0.6 in all."""
    evidence = torch.zeros(HEIGHT, WIDTH)
    evidence[4:10, 6:16] = 0.01
    return evidence


def detector() -> PlantedDetector:
    return PlantedDetector(BOX, evidence_map(), bias=0.2)


def test_areas_of_a_linear_detector_are_those_by_hand() -> None:
    """The score runs from .8 to .2 within the first tenth of the 600 pixels."""
    down = metrics.deletion(WHITE, detector(), BOX, evidence_map(), protocol=TENTHS)
    torch.testing.assert_close(down.fraction, torch.linspace(0, 1, 11).double())
    torch.testing.assert_close(
        down.similarity.float(), torch.tensor([0.8] + [0.2] * 10), atol=1e-5, rtol=0
    )
    assert (down.start, down.end) == pytest.approx((0.8, 0.2), abs=1e-5)
    assert down.area == pytest.approx(0.1 * 0.5 + 0.9 * 0.2, abs=1e-5)
    up = metrics.insertion(WHITE, detector(), BOX, evidence_map(), protocol=TENTHS)
    assert up.area == pytest.approx(0.1 * 0.5 + 0.9 * 0.8, abs=1e-5)
    assert metrics.overall(up, down) == pytest.approx(0.9 * 0.6, abs=1e-5)
    torch.testing.assert_close(up.iou, torch.ones(11).double())
    torch.testing.assert_close(up.score, up.similarity)


def test_the_worst_map_deletes_last() -> None:
    down = metrics.deletion(WHITE, detector(), BOX, -evidence_map(), protocol=TENTHS)
    assert down.area == pytest.approx(0.9 * 0.8 + 0.1 * 0.5, abs=1e-5)


def test_steps_that_do_not_divide() -> None:
    """Steps of 250 pixels in 600: 0, 250, 500, 600."""
    steps = metrics.Protocol(
        name="250", insertion="black", deletion="black", step="pixels", step_px=250
    )
    down = metrics.deletion(WHITE, detector(), BOX, evidence_map(), protocol=steps)
    torch.testing.assert_close(down.fraction, torch.tensor([0, 250, 500, 600]).double() / 600)
    assert down.area == pytest.approx((250 * 0.5 + 350 * 0.2) / 600, abs=1e-5)


def test_area_is_over_what_was_changed() -> None:
    """Steps of the box's area change 100 of 600 pixels, and no more."""
    steps = metrics.Protocol(
        name="box", insertion="black", deletion="black", step="box", shares=(0, 0.3, 0.6, 1)
    )
    down = metrics.deletion(WHITE, detector(), BOX, evidence_map(), protocol=steps)
    assert float(down.fraction[-1]) == pytest.approx(100 / 600)
    torch.testing.assert_close(
        down.similarity.float(), torch.tensor([0.8, 0.5, 0.2, 0.2]), atol=1e-5, rtol=0
    )
    assert down.area == pytest.approx(0.3 * 0.65 + 0.3 * 0.35 + 0.4 * 0.2, abs=1e-5)


def test_the_order_is_that_of_a_stable_sort() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(40, 50, generator=generator)
    values[10:20] = values[10, 0]
    values[30, :20], values[30, 20:40] = 0.0, -0.0
    values[0, 0], values[5, 5] = 3e38, -3e38
    expected = torch.argsort(values.flatten(), descending=True, stable=True)
    assert torch.equal(most_salient_first(values), expected)


def test_patches_are_changed_whole_the_best_mean_first() -> None:
    """Patches of 7 pixels a side, cut at the right and lower edge of 20 x 30."""
    saliency = torch.zeros(HEIGHT, WIDTH)
    saliency[0:7, 7:14] = 1
    saliency[14:20, 28:30] = 2  # the last patch, 6 x 2
    saliency[7, 0] = 30  # one bright pixel of 49
    patches = metrics.Protocol(
        name="patches",
        insertion="black",
        deletion="black",
        patch=0.7,
        shares=tuple(i / 15 for i in range(16)),
    )
    order, counts = patches.order(saliency, cs.Target(box=BOX))
    assert counts[:5] == [0, 12, 61, 110, 159]
    assert counts[-1] == HEIGHT * WIDTH
    first = {divmod(pixel, WIDTH) for pixel in order[:12].tolist()}
    assert first == {(y, x) for y in range(14, 20) for x in (28, 29)}
    assert sorted(order[12:61].tolist()) == [y * WIDTH + x for y in range(7) for x in range(7, 14)]
    assert 7 * WIDTH in order[61:110].tolist()
    down = metrics.deletion(WHITE, detector(), BOX, saliency, protocol=patches)
    torch.testing.assert_close(down.fraction, torch.tensor(counts).double() / 600)


def test_equal_pixels_go_in_reading_order() -> None:
    saliency = torch.zeros(HEIGHT, WIDTH)
    saliency[0, 0] = 1
    seen = []

    def watched(images: Tensor) -> list[Tensor]:
        seen.extend(images[:, 0] < 0.5)
        return [torch.tensor([[*BOX, 0.5]]) for _ in images]

    few = metrics.Protocol(
        name="few", insertion="black", deletion="black", shares=(0, 5 / 600, 40 / 600)
    )
    metrics.deletion(WHITE, cs.load_detector(watched), BOX, saliency, protocol=few)
    hidden = [picture.nonzero().tolist() for picture in seen]
    assert hidden[1] == [[0, x] for x in range(5)]
    assert hidden[2] == [[0, x] for x in range(30)] + [[1, x] for x in range(10)]


def test_curves_of_several_targets_in_any_batch_size_are_those_of_each_alone() -> None:
    image = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    other = [10.0, 2.0, 28.0, 18.0]
    sizes = []

    class Counted(PlantedDetector):
        def detect(self, images: Tensor) -> list[cs.Proposals]:
            sizes.append(len(images))
            return super().detect(images)

    counted = Counted(BOX, evidence_map(), bias=0.2)
    second = evidence_map().flip(1)
    together = metrics.curves(
        image, counted, [BOX, other], [evidence_map(), second], "insertion", batch_size=7
    )
    points = sum(len(curve.fraction) for curve in together)
    assert sizes == [7] * (points // 7) + [points % 7] * bool(points % 7)
    for curve, target, saliency in zip(
        together, [BOX, other], [evidence_map(), second], strict=True
    ):
        alone = metrics.insertion(image, detector(), target, saliency, batch_size=1)
        assert torch.equal(curve.similarity, alone.similarity)
        assert 0 < curve.start < curve.end or curve.direction == "insertion"


def test_iou_and_score_are_told_apart() -> None:
    shifted = PlantedDetector([6, 4, 16, 24], evidence_map(), bias=0.2)  # IoU 1/2 with the target
    curve = metrics.deletion(WHITE, shifted, BOX, evidence_map(), protocol=TENTHS)
    assert curve.iou_area == pytest.approx(0.5, abs=1e-5)
    assert curve.score_area == pytest.approx(0.1 * 0.5 + 0.9 * 0.2, abs=1e-5)
    assert curve.area == pytest.approx(curve.score_area / 2, abs=1e-5)


def test_a_protocol_may_ask_for_overlap() -> None:
    off = PlantedDetector([6, 4, 16, 34], evidence_map(), bias=0.2)  # IoU 1/3
    strict = metrics.deletion(WHITE, off, BOX, evidence_map(), protocol="odam")
    assert float(strict.similarity.abs().max()) == 0


def test_a_detector_that_never_fires_gives_a_curve_of_zeros() -> None:
    deaf = cs.load_detector(lambda images: [torch.zeros(0, 5) for _ in images])
    curve = metrics.insertion(WHITE, deaf, BOX, evidence_map())
    assert curve.area == 0
    assert len(curve.fraction) == len(metrics.PROTOCOLS["chiaroscuro"].shares)


def test_a_detector_that_raises_is_told_and_one_short_of_memory_gets_less() -> None:
    def broken(images: Tensor) -> list[Tensor]:
        raise ValueError("no such layer")

    with pytest.raises(DetectorFailedError, match="failed: ValueError: no such layer"):
        metrics.deletion(WHITE, cs.load_detector(broken), BOX, evidence_map())
    sizes = []

    def small(images: Tensor) -> list[Tensor]:
        sizes.append(len(images))
        if len(images) > 3:
            raise MemoryError
        return [torch.tensor([[*BOX, 0.5]]) for _ in images]

    curve = metrics.deletion(WHITE, cs.load_detector(small), BOX, evidence_map(), batch_size=8)
    assert curve.area == pytest.approx(0.5)
    assert max(sizes[2:]) <= 3


def test_two_protocols_are_not_compared() -> None:
    up = metrics.insertion(WHITE, detector(), BOX, evidence_map(), protocol=TENTHS)
    down = metrics.deletion(WHITE, detector(), BOX, evidence_map(), protocol="xplique")
    with pytest.raises(InputError, match="two protocols, tenths and xplique"):
        metrics.overall(up, down)
    with pytest.raises(InputError, match="wanted an insertion and a deletion"):
        metrics.overall(down, down)
    assert down.describe()["protocol"]["name"] == "xplique"


@pytest.mark.parametrize("name", sorted(metrics.PROTOCOLS))
def test_every_protocol_begins_and_ends_where_it_says(name: str) -> None:
    protocol = metrics.PROTOCOLS[name]
    order, counts = protocol.order(evidence_map(), cs.Target(box=BOX))
    assert sorted(order.tolist()) == list(range(HEIGHT * WIDTH))
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    assert counts[-1] == (100 if protocol.step == "box" else HEIGHT * WIDTH)
    assert protocol.source


def test_blur_is_by_pixels_or_by_the_box() -> None:
    image = torch.zeros(3, HEIGHT, WIDTH)
    image[:, 10, 15] = 1
    target = cs.Target(box=BOX)
    narrow = filled(metrics.Blur(sigma=50, kernel=5), image, target)
    assert int((narrow[0] > 0).sum()) == 25
    assert float(narrow[0].max()) == pytest.approx(1 / 25, rel=1e-2)  # so wide that it is a mean
    wide = filled(metrics.Blur(sigma=0.5, unit="box sizes"), image, target)
    same = filled(metrics.Blur(sigma=5), image, target)
    assert torch.equal(wide, same)


@pytest.mark.parametrize(
    ("saliency", "error", "says"),
    [
        (torch.zeros(30, 20), InputError, r"picture's size \(20, 30\), got \(30, 20\)"),
        (torch.zeros(1, 20, 30), InputError, r"result.saliency\[0\]"),
        (torch.full((20, 30), float("nan")), InputError, "NaN or infinity in 600 of 600"),
        (torch.full((20, 30), 0.5), UndefinedMetricError, "same value everywhere"),
    ],
)
def test_unusable_maps_are_refused(saliency: Tensor, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        metrics.deletion(WHITE, detector(), BOX, saliency)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(TargetError, match="outside"):
        metrics.deletion(WHITE, detector(), [50, 50, 60, 60], evidence_map())
    with pytest.raises(UnknownNameError, match="painting"):
        metrics.deletion(WHITE, detector(), BOX, evidence_map(), protocol="paint")
    with pytest.raises(InputError, match="wanted one per target, 2, got 1"):
        metrics.curves(WHITE, detector(), [BOX, BOX], [evidence_map()], "deletion")


def test_pointing_game() -> None:
    saliency = torch.zeros(HEIGHT, WIDTH)
    saliency[13, 15] = 1  # last row and column of the box
    assert metrics.pointing_game(saliency, BOX)
    beside = torch.zeros(HEIGHT, WIDTH)
    beside[14, 15] = 1
    assert not metrics.pointing_game(beside, BOX)
    assert metrics.pointing_game(beside, BOX, tolerance_px=0.5)
    assert not metrics.pointing_game(beside, BOX, tolerance_px=0.4)
    both = saliency + beside
    assert not metrics.pointing_game(both, BOX)  # two maxima, one outside


def test_empty_and_constant_maps_are_no_hit() -> None:
    for empty in (torch.zeros(HEIGHT, WIDTH), -torch.ones(HEIGHT, WIDTH)):
        assert not metrics.pointing_game(empty, BOX)
        for metric in (
            metrics.energy_pointing_game,
            metrics.map_iou,
            metrics.box_coverage,
            metrics.irrelevant_attention,
        ):
            with pytest.raises(UndefinedMetricError, match="no positive value"):
                metric(empty, BOX)
    assert not metrics.pointing_game(torch.ones(HEIGHT, WIDTH), BOX)


def test_shares_by_hand() -> None:
    saliency = torch.full((HEIGHT, WIDTH), -3.0)  # what suppresses is no evidence
    saliency[9:19, 6:16] = 1  # half of it in the box
    saliency[0, 0:25] = 0.4
    assert metrics.energy_pointing_game(saliency, BOX) == pytest.approx(50 / (100 + 10))
    assert metrics.map_iou(saliency, BOX) == pytest.approx(50 / 150)
    assert metrics.box_coverage(saliency, BOX) == pytest.approx(0.5)
    assert metrics.irrelevant_attention(saliency, BOX) == pytest.approx(0.5)
    assert metrics.irrelevant_attention(saliency, BOX, threshold=0.3) == pytest.approx(75 / 125)
    with pytest.raises(UndefinedMetricError, match="centre of no pixel"):
        metrics.box_coverage(saliency, [5.6, 5.6, 5.9, 5.9])


def test_metrics_leave_their_input_alone() -> None:
    image = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    before, saliency = image.clone(), evidence_map()
    metrics.deletion(image, detector(), BOX, saliency)
    metrics.energy_pointing_game(saliency, BOX)
    assert torch.equal(image, before)
    assert torch.equal(saliency, evidence_map())
