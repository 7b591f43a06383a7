import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.errors import ProposalsError
from chiaroscuro.core.records import as_targets
from chiaroscuro.core.similarity import similarity

coordinate = st.integers(-20, 60)
side = st.integers(1, 40)
box_strategy = st.builds(
    lambda x, y, w, h: [x, y, x + w, y + h], coordinate, coordinate, side, side
)
score_strategy = st.floats(0, 1, width=32)


def cells(box: list[int]) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}


@given(box_strategy, box_strategy)
def test_iou_counts_unit_cells(first: list[int], second: list[int]) -> None:
    both = cells(first) & cells(second)
    either = cells(first) | cells(second)
    got = boxes.iou(torch.tensor([first]).float(), torch.tensor([second]).float())
    assert float(got) == pytest.approx(len(both) / len(either), abs=1e-6)


def test_iou_of_empty_boxes_is_zero_not_nan() -> None:
    empty = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert float(boxes.iou(empty, empty)) == 0


@given(box_strategy, st.lists(st.tuples(box_strategy, score_strategy), max_size=5))
def test_similarity_lies_between_zero_and_the_score(target, rows) -> None:
    proposals = cs.Proposals(boxes=[b for b, _ in rows], scores=[s for _, s in rows])
    got = similarity(as_targets(target), proposals)
    assert got.shape == (1, len(rows))
    assert bool((got >= 0).all())
    assert bool((got <= proposals.scores + 1e-6).all())


def test_one_class_similarity_is_iou_times_score_for_the_same_label() -> None:
    target = cs.Target(box=[0, 0, 10, 10], label=1)
    proposals = cs.Proposals(
        boxes=[[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 10]],
        scores=[0.8, 0.6, 0.9],
        labels=[1, 1, 0],
    )
    torch.testing.assert_close(similarity([target], proposals), torch.tensor([[0.8, 0.3, 0.0]]))
    drawn = cs.Target(box=[0, 0, 10, 10])  # any class will do
    torch.testing.assert_close(similarity([drawn], proposals), torch.tensor([[0.8, 0.3, 0.9]]))


def test_class_vectors_agree_by_cosine_times_objectness() -> None:
    vectors = torch.tensor([[0.6, 0.3, 0.0], [0.0, 0.0, 0.5]])
    proposals = cs.Proposals(
        boxes=[[0, 0, 10, 10]] * 2,
        scores=[0.6, 0.5],
        labels=[0, 2],
        class_probabilities=vectors,
        objectness=[0.7, 0.9],
    )
    (target, _) = as_targets(proposals)
    torch.testing.assert_close(similarity([target], proposals), torch.tensor([[0.7, 0.0]]))


def test_class_vectors_without_objectness_take_the_score() -> None:
    proposals = cs.Proposals(
        boxes=[[0, 0, 10, 10]] * 2,
        scores=[0.9, 0.01],
        class_probabilities=[[0.9, 0.0, 0.0], [0.01, 0.0, 0.0]],
    )
    got = similarity(as_targets(proposals)[:1], proposals)
    torch.testing.assert_close(got, torch.tensor([[0.9, 0.01]]))


def test_class_vectors_of_other_length_are_refused() -> None:
    target = cs.Target(box=[0, 0, 1, 1], class_probabilities=torch.rand(4))
    proposals = cs.Proposals(
        boxes=[[0, 0, 1, 1]], scores=[1], class_probabilities=[[0.1, 0.2, 0.3]]
    )
    with pytest.raises(ProposalsError, match="the target has 4 classes, the proposals 3"):
        similarity([target], proposals)


def test_mask_weights_take_the_best_proposal_of_each_mask() -> None:
    proposals = cs.Proposals(
        boxes=[[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]], scores=[0.2, 0.9, 1.0]
    )
    weights = cs.mask_weights(
        as_targets([0, 0, 10, 10]), proposals, torch.tensor([1, 1, 3]), n_masks=4
    )
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.45, 0.0, 0.0]]))


def test_neighbourhood_is_box_and_ring() -> None:
    inside, ring = boxes.neighbourhood(torch.tensor([10.0, 4.0, 14.0, 8.0]), 20, 30)
    assert int(inside.sum()) == 16
    assert not bool((inside & ring).any())
    assert bool(ring[5, 9])
    assert bool(ring[5, 6])
    assert not bool(ring[5, 5])  # its centre is 4.5 from the box, whose size is 4
