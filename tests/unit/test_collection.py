"""Average precision by hand, and the curves of a whole set."""

import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.core.errors import InputError, ProposalsError, UndefinedMetricError
from chiaroscuro.core.records import Truth
from chiaroscuro.testing import PlantedDetector

HEIGHT, WIDTH = 20, 30
LEFT, RIGHT = [2.0, 4.0, 12.0, 14.0], [16.0, 5.0, 26.0, 15.0]
TENTHS = metrics.Protocol(
    name="tenths", insertion="black", deletion="black", shares=tuple(i / 10 for i in range(11))
)


def found(*rows: tuple[list[float], float]) -> cs.Proposals:
    return cs.Proposals(boxes=[box for box, _ in rows], scores=[score for _, score in rows])


def test_a_false_positive_between_two_hits() -> None:
    """Precision 1 up to a recall of one half, that is 51 of 101 points; then two thirds."""
    truth = [Truth(boxes=[LEFT]), Truth(boxes=[RIGHT])]
    detections = [found((LEFT, 0.9)), found(([0.0, 0.0, 5.0, 3.0], 0.8), (RIGHT, 0.7))]
    result = metrics.average_precision(detections, truth)
    assert result.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert result.ap == pytest.approx(result.ap50)


def test_a_loose_box_counts_at_low_thresholds_only() -> None:
    """10 x 7.2 of 10 x 10: an IoU of .72, so five of the ten thresholds."""
    result = metrics.average_precision(
        [found(([2.0, 4.0, 12.0, 11.2], 0.5))], [Truth(boxes=[LEFT])]
    )
    assert result.ap50 == pytest.approx(1)
    assert result.ap == pytest.approx(0.5)
    assert result.ap75 == pytest.approx(0)


def test_a_missed_face_and_a_duplicate() -> None:
    truth = [Truth(boxes=[LEFT, RIGHT])]
    result = metrics.average_precision([found((LEFT, 0.9), (LEFT, 0.8))], truth)
    assert result.ap50 == pytest.approx(51 / 101)


def test_ignored_boxes_are_neither_find_nor_miss() -> None:
    truth = [Truth(boxes=[LEFT, RIGHT], ignore=[False, True])]
    for detections in (found((LEFT, 0.9)), found((RIGHT, 0.95), (LEFT, 0.9))):
        assert metrics.average_precision([detections], truth).ap == pytest.approx(1)
    inside_ignored = found(
        ([17.0, 6.0, 19.0, 8.0], 0.95), (LEFT, 0.9)
    )  # no crowd: a false positive
    result = metrics.average_precision([inside_ignored], truth)
    assert result.ap50 == pytest.approx(0.5)


def test_classes_are_averaged() -> None:
    truth = [Truth(boxes=[LEFT, RIGHT], labels=[0, 3])]
    detections = cs.Proposals(boxes=[LEFT, RIGHT], scores=[0.9, 0.8], labels=[0, 2])
    assert metrics.average_precision([detections], truth).ap == pytest.approx(0.5)


def test_nothing_found_is_zero_and_nothing_marked_is_undefined() -> None:
    nothing = cs.Proposals.empty()
    assert metrics.average_precision([nothing], [Truth(boxes=[LEFT])]).ap == 0
    for truth in (Truth(boxes=torch.zeros(0, 4)), Truth(boxes=[LEFT], ignore=[True])):
        with pytest.raises(UndefinedMetricError, match="no picture has an annotation"):
            metrics.average_precision([nothing], [truth])
    with pytest.raises(InputError, match="for 1 pictures, got 2"):
        metrics.average_precision([nothing, nothing], [Truth(boxes=[LEFT])])


def test_truth_is_checked_at_birth() -> None:
    with pytest.raises(ProposalsError, match=r"ignore: wanted shape \(1,\)"):
        Truth(boxes=[LEFT], ignore=[True, False])
    with pytest.raises(ProposalsError, match="x1 <= x2"):
        Truth(boxes=[[5, 5, 2, 9]])
    assert Truth(boxes=[LEFT]).scaled(0.5).boxes.tolist() == [[1, 2, 6, 7]]


def evidence(box: list[float]) -> Tensor:
    """Sixty pixels, six rows of the box, one hundredth each."""
    x1, y1 = int(box[0]), int(box[1])
    values = torch.zeros(HEIGHT, WIDTH)
    values[y1 : y1 + 6, x1 : x1 + 10] = 0.01
    return values


def mapped(box: list[float], name: str = "a", **changes: object) -> metrics.MappedPicture:
    fields: dict[str, object] = {
        "name": name,
        "image": torch.ones(3, HEIGHT, WIDTH),
        "targets": (cs.Target(box=box),),
        "saliency": evidence(box)[None],
        "truth": Truth(boxes=[box]),
    }
    return metrics.MappedPicture(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_curves_of_a_set_are_those_by_hand() -> None:
    """The face is seen from a score of .3 on: all but one half of its sixty pixels shown.

    Sixty pixels are a tenth of the picture. So deletion loses it within the first tenth, and
    insertion finds it there; the second picture's face is seen whatever is done.
    """
    detector = PlantedDetector(LEFT, evidence(LEFT), min_score=0.3)

    class Either:
        """The planted face where the picture is bright, another that is always there."""

        info = detector.info

        def detect(self, images: Tensor) -> list[cs.Proposals]:
            always = cs.Proposals(boxes=[RIGHT], scores=[0.9])
            return [
                always if bool((picture[2] == 0).all()) else one
                for picture, one in zip(images, detector.detect(images * 1.5), strict=True)
            ]

    colourless = torch.ones(3, HEIGHT, WIDTH)
    colourless[2] = 0
    pictures = [mapped(LEFT), mapped(RIGHT, "b", image=colourless)]
    up, down = metrics.collection_curves(pictures, Either(), TENTHS)
    # a picture with nothing in it is black and so counts as the second: its false positive is
    # RIGHT, with a score of .9 as high as that of the hit, and first in order
    assert (up.n_pictures, up.n_boxes, up.left_out) == (2, 2, ())
    torch.testing.assert_close(up.fraction, torch.linspace(0, 1, 11).double())
    assert up.ap50[1:].tolist() == pytest.approx([1.0] * 10)
    assert float(up.ap50[0]) < 0.5
    assert float(down.ap50[0]) == pytest.approx(1)
    assert down.ap50[1:-1].tolist() == pytest.approx([51 / 101] * 9)
    assert up.area == pytest.approx(0.05 * float(up.ap[0]) + 0.95)


def test_every_target_of_a_picture_comes_early() -> None:
    """Each map is divided by its own highest value, so a weak face's evidence is not last."""
    strong, weak = evidence(LEFT), evidence(RIGHT) / 50
    merged = metrics.merged_map(torch.stack([strong, weak]))
    assert float(merged.max()) == 1
    assert int((merged == 1).sum()) == 120
    with_empty = metrics.merged_map(torch.stack([strong, torch.zeros_like(strong)]))
    assert torch.equal(with_empty, strong / strong.max())


def test_pictures_without_a_map_are_left_out_and_told() -> None:
    detector = PlantedDetector(LEFT, evidence(LEFT), bias=0.1)
    empty = mapped(LEFT, "empty", saliency=torch.zeros(1, HEIGHT, WIDTH))
    none = mapped(LEFT, "none", targets=(), saliency=torch.zeros(0, HEIGHT, WIDTH))
    up, _ = metrics.collection_curves([empty, mapped(LEFT), none], detector, TENTHS)
    assert [name for name, _ in up.left_out] == ["empty", "none"]
    assert up.n_pictures == 1
    assert up.describe()["left_out"][0]["reason"].startswith("no map has a positive value")
    with pytest.raises(InputError, match="no picture with a map"):
        metrics.collection_curves([empty], detector, TENTHS)


def test_only_shares_of_the_picture_make_curves_of_a_set() -> None:
    detector = PlantedDetector(LEFT, evidence(LEFT))
    for name in ("rise", "odam", "vxcode"):
        with pytest.raises(InputError, match="differ from picture to picture"):
            metrics.collection_curves([mapped(LEFT)], detector, name)


def test_a_set_without_marked_faces_is_told() -> None:
    detector = PlantedDetector(LEFT, evidence(LEFT))
    unmarked = mapped(LEFT, truth=Truth(boxes=torch.zeros(0, 4)))
    with pytest.raises(UndefinedMetricError, match="no picture has an annotation"):
        metrics.collection_curves([unmarked], detector, TENTHS)
