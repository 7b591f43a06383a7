"""A detector that reports more than is kept: what overlaps a target is never dropped."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.evidence.passes import MAX_PROPOSALS

HEIGHT, WIDTH = 64, 96
FACE, OTHER = [60.0, 30.0, 84.0, 56.0], [4.0, 36.0, 20.0, 60.0]
PATCH = (slice(30, 56), slice(60, 84))
N, RANK = 2000, 1500


class Crowd:
    """2000 proposals, those of the faces at ranks 1500 and 1501; their score is a patch's light."""

    info = cs.DetectorInfo(name="crowd")

    def detect(self, images: Tensor) -> list[cs.Proposals]:
        return [self._find(image) for image in images]

    def _find(self, image: Tensor) -> cs.Proposals:
        generator = torch.Generator().manual_seed(0)
        corners = torch.rand(N, 2, generator=generator) * 8
        boxes = torch.cat([corners, corners + 6], dim=1)
        scores = torch.linspace(0.9, 0.21, N)
        light = float(image[:, PATCH[0], PATCH[1]].float().mean())
        for rank, box in ((RANK, FACE), (RANK + 1, OTHER)):
            boxes[rank] = torch.tensor(box)
            scores[rank] = 0.1 * light / (255 if image.dtype == torch.uint8 else 1)
        return cs.Proposals(boxes=boxes, scores=scores)


@pytest.fixture
def picture() -> Tensor:
    image = torch.full((3, HEIGHT, WIDTH), 0.1)
    image[:, PATCH[0], PATCH[1]] = 0.9
    return image


def test_the_1500th_proposal_is_kept_for_its_target(picture: Tensor) -> None:
    result = cs.explain(picture, Crowd(), [FACE], n_passes=150)
    row, column = divmod(int(result.saliency[0].argmax()), WIDTH)
    assert PATCH[0].start <= row < PATCH[0].stop
    assert PATCH[1].start <= column < PATCH[1].stop
    assert float(result.mean_weight[0]) > 0.02
    said = " ".join(result.notes)
    assert f"under 150 of the 150 masks the detector reported {MAX_PROPOSALS} proposals" in said
    assert "may have been dropped" not in said
    assert "no evidence" not in said


def test_a_later_box_is_told_that_its_proposals_may_be_missing(
    picture: Tensor, tmp_path: Path
) -> None:
    evidence = cs.observe(picture, Crowd(), n_passes=20, targets=[FACE])
    assert int(evidence.counts.max()) == MAX_PROPOSALS + 1
    for one in (evidence, cs.Evidence.load(evidence.save(tmp_path / "evidence.npz"))):
        notes = one.explain([FACE, OTHER]).notes
        assert any(note.startswith("target 2: it was no target of that run") for note in notes)
        assert not any("may have been dropped" in note for note in one.explain([FACE]).notes)


def test_resuming_for_another_target_does_not_claim_the_masks_before(picture: Tensor) -> None:
    first = cs.observe(picture, Crowd(), n_passes=10, targets=[FACE])
    both = cs.observe(picture, Crowd(), n_passes=20, targets=[FACE, OTHER], resume=first)
    notes = both.explain([FACE, OTHER]).notes
    assert any(note.startswith("target 2: it was no target of that run") for note in notes)
    more = first.extend(Crowd(), 10).explain([FACE])
    assert torch.equal(more.saliency[0], both.explain([FACE]).saliency[0])
    assert not any("may have been dropped" in note for note in more.notes)


def test_nothing_is_said_where_nothing_can_have_been_dropped(picture: Tensor) -> None:
    class Two(Crowd):
        def detect(self, images: Tensor) -> list[cs.Proposals]:
            return [found[RANK : RANK + 2] for found in super().detect(images)]

    assert not any("dropped" in n for n in cs.explain(picture, Two(), [FACE], n_passes=8).notes)
