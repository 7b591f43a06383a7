import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chiaroscuro as cs
from chiaroscuro.core.errors import ProposalsError, TargetError
from chiaroscuro.core.records import as_targets

finite = st.floats(-1e4, 1e4, width=32)
boxes_strategy = hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=finite)


@given(boxes_strategy, st.data())
def test_proposals_are_valid_or_refused(raw: np.ndarray, data: st.DataObject) -> None:
    scores = data.draw(hnp.arrays(np.float32, len(raw), elements=st.floats(0, 1, width=32)))
    inverted = bool((raw[:, 2:] < raw[:, :2]).any())
    if inverted:
        with pytest.raises(ProposalsError, match="x1 <= x2"):
            cs.Proposals(boxes=raw, scores=scores)
        return
    proposals = cs.Proposals(boxes=raw, scores=scores)
    assert len(proposals) == len(raw)
    ordered = proposals.above(0.0)
    assert bool((ordered.scores.diff() <= 0).all())
    assert len(proposals.above(0.5)) == int((scores >= 0.5).sum())
    assert len(proposals.best(2)) == min(2, len(raw))


@given(
    hnp.arrays(
        np.float32,
        (2, 4),
        elements=st.floats(allow_nan=True, allow_infinity=True, width=32),
    )
)
def test_no_proposals_hold_nan_or_infinity(raw: np.ndarray) -> None:
    try:
        proposals = cs.Proposals(boxes=raw, scores=[0.5, 0.5])
    except ProposalsError:
        return
    assert bool(torch.isfinite(proposals.boxes).all())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"boxes": [[1, 2, 3]], "scores": [1]}, r"boxes: wanted shape \(n, 4\).*got \(1, 3\)"),
        ({"boxes": [[1, 2, 3, 4]], "scores": [1, 0]}, r"scores: wanted shape \(1,\).*got \(2,\)"),
        ({"boxes": [[1, 2, 3, 4]], "scores": [1.7]}, r"\[0, 1\], got 1.7"),
        ({"boxes": [[1, 2, 3, 4]], "scores": [float("nan")]}, "scores: wanted finite"),
        ({"boxes": [[1, 2, 3, 4]], "scores": ["high"]}, "scores: wanted numbers"),
        ({"boxes": [[1, 2, 3, 4]], "scores": [1], "labels": [1, 2]}, "labels: wanted shape"),
        (
            {"boxes": [[1, 2, 3, 4]], "scores": [1], "class_probabilities": [0.1, 0.2]},
            r"class_probabilities: wanted shape \(1, classes\)",
        ),
        ({"boxes": [[1, 2, 3, 4]], "scores": [1], "objectness": [-1]}, "objectness: wanted values"),
    ],
)
def test_proposals_say_what_was_wanted_and_what_came(arguments: dict, says: str) -> None:
    with pytest.raises(ProposalsError, match=says):
        cs.Proposals(**arguments)


def test_proposals_pick_rows_of_everything() -> None:
    proposals = cs.Proposals(
        boxes=torch.arange(12.0).reshape(3, 4),
        scores=[0.1, 0.9, 0.5],
        labels=[2, 0, 1],
        class_probabilities=torch.rand(3, 3),
        objectness=[0.3, 0.2, 0.1],
    )
    for index in (1, slice(1, 2), [1], torch.tensor([False, True, False])):
        picked = proposals[index]
        assert picked.labels.tolist() == [0]
        assert picked.objectness is not None
        assert float(picked.objectness) == pytest.approx(0.2)
    assert proposals[-1].labels.tolist() == [1]
    assert [round(float(s), 1) for s in proposals.above(0.4).scores] == [0.9, 0.5]
    assert len(cs.Proposals.empty().above(0.0)) == 0


def test_scores_a_hair_above_one_are_clamped() -> None:
    assert float(cs.Proposals(boxes=[[0, 0, 1, 1]], scores=[1.00001]).scores) == 1


def test_targets_from_whatever_a_person_has() -> None:
    box = [1.0, 2.0, 5.0, 9.0]
    for given_ in (
        box,
        [box],
        np.array(box),
        torch.tensor([box]),
        cs.Target(box=box),
        (cs.Target(box=box),),
    ):
        (target,) = as_targets(given_)
        assert target.box.tolist() == box
        assert target.label is None
    (target,) = as_targets(cs.Proposals(boxes=[box], scores=[0.4], labels=[3]))
    assert (target.label, target.origin) == (3, "found")
    assert target.score == pytest.approx(0.4)
    assert as_targets([]) == ()
    assert as_targets(cs.Proposals.empty()) == ()


@pytest.mark.parametrize("nonsense", ["face", [["a", 1, 2, 3]], [[1, 2, 3]], 7, [[1, 2], [3]]])
def test_targets_that_are_no_boxes_are_refused(nonsense: object) -> None:
    with pytest.raises(TargetError, match="wanted"):
        as_targets(nonsense)


@given(st.lists(st.floats(width=32), min_size=4, max_size=4))
def test_a_target_has_an_area_or_is_refused(box: list[float]) -> None:
    try:
        target = cs.Target(box=box)
    except TargetError:
        return
    x1, y1, x2, y2 = target.box.tolist()
    assert x1 < x2
    assert y1 < y2


def test_a_target_owns_its_box() -> None:
    array = np.array([1, 2, 3, 4], dtype=np.float32)
    target = cs.Target(box=array)
    array[:] = 0
    assert target.box.tolist() == [1, 2, 3, 4]


def test_records_are_frozen() -> None:
    target = cs.Target(box=[1, 2, 3, 4])
    with pytest.raises(AttributeError):
        target.label = 3  # type: ignore[misc]
