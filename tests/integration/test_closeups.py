"""Close-ups: what in the face matters, wherever the passes are made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.errors import BundleError, ObservationInterrupted
from chiaroscuro.core.progress import Progress
from chiaroscuro.evidence.closeups import AROUND, USUAL, area_round, design_for

SIDE, STRIDE = 32, 16
FACE = (192, 160, 224, 192)
EYE = (198, 168, 204, 174)  # a fifth of the face across


def at_every_place(values: Tensor) -> list[Tensor]:
    """Boxes of ``SIDE`` at every step, with these scores ``n rows columns``."""
    rows, columns = (
        one.flatten() * STRIDE
        for one in torch.meshgrid(*map(torch.arange, values.shape[1:]), indexing="ij")
    )
    boxes = torch.stack([columns, rows, columns + SIDE, rows + SIDE], dim=1).float()
    return [torch.cat([boxes, one.flatten()[:, None]], dim=1) for one in values]


def eye(images: Tensor) -> list[Tensor]:
    """A box at every step, scored by how bright the place is where a face has its left eye."""
    low, left = EYE[1] - FACE[1], EYE[0] - FACE[0]
    kernel = torch.zeros(1, 3, SIDE, SIDE)
    kernel[:, :, low : low + 6, left : left + 6] = 1 / 108
    return at_every_place(F.conv2d(images, kernel, stride=STRIDE)[:, 0].clamp(0, 1))


@pytest.fixture
def picture() -> Tensor:
    """Dark noise with a bright eye."""
    generator = torch.Generator().manual_seed(5)
    image = 0.2 * torch.rand(3, 400, 480, generator=generator)
    x1, y1, x2, y2 = EYE
    image[:, y1:y2, x1:x2] = 0.9
    return image


def explained(image: Tensor, detector: object, **settings: object) -> cs.Explanation:
    chosen = {"n_passes": 300, "closeup": True, "seed": 3, **settings}
    return cs.explain(image, detector, [FACE], **chosen)  # type: ignore[arg-type]


def anywhere() -> cs.Detector:
    return cs.load_detector(eye, any_size=True, stride=STRIDE)


def share_at_eye(result: cs.Explanation) -> float:
    """Share of the positive evidence within a fifth of the box of the eye."""
    closeup = result.closeups[0]
    assert closeup is not None
    positive = torch.zeros(400, 480)
    closeup.window.of(positive).copy_(closeup.saliency.clamp(min=0))
    x1, y1, x2, y2 = EYE
    return float(positive[y1 - 6 : y2 + 6, x1 - 6 : x2 + 6].sum() / positive.sum())


def test_it_shows_the_eye_where_the_map_shows_a_cell(picture: Tensor) -> None:
    result = explained(picture, anywhere())
    closeup = result.closeups[0]
    assert closeup is not None
    assert closeup.window.plain() == [160, 128, 256, 224]
    assert closeup.saliency.shape == (96, 96)
    assert share_at_eye(result) > 0.8
    assert closeup.fidelity > 0.9
    assert closeup.record.cells == 5
    positive = result.saliency[0].clamp(min=0)
    x1, y1, x2, y2 = EYE
    assert float(positive[y1 - 6 : y2 + 6, x1 - 6 : x2 + 6].sum() / positive.sum()) < 0.4


def test_passes_are_made_in_a_certified_window(picture: Tensor) -> None:
    result = explained(picture, anywhere())
    closeup = result.closeups[0]
    assert closeup is not None
    window, certificate = closeup.record.source.window, closeup.record.source.certificate
    assert window is not None
    assert certificate is not None
    assert window.contains(closeup.window)
    assert certificate.correlation > 0.99
    share = window.area / (400 * 480)
    assert closeup.cost == pytest.approx(share * (closeup.record.source.n_masks or 0), rel=1e-3)
    assert result.cost == pytest.approx(result.settings.cost)
    assert result.cost < 300


def test_only_what_is_near_the_face_is_hidden(picture: Tensor) -> None:
    shown: list[Tensor] = []

    def spy(images: Tensor) -> list[Tensor]:
        shown.append(images)
        return eye(images)

    explained(picture, cs.load_detector(spy, any_size=False), n_passes=100)
    x1, y1, x2, y2 = 160, 128, 256, 224
    last = shown[-1]
    outside = torch.ones(400, 480, dtype=torch.bool)
    outside[y1:y2, x1:x2] = False
    assert torch.equal(last[0][:, outside], picture[:, outside])
    assert not torch.equal(last[0][:, ~outside], picture[:, ~outside])


def knows_places(images: Tensor) -> list[Tensor]:
    """Looks at one place of the picture alone: in a window it is another one."""
    x1, y1, x2, y2 = EYE
    scores = [one[:, y1:y2, x1:x2].mean().nan_to_num() for one in images]
    return [torch.tensor([[*map(float, FACE), float(score)]]) for score in scores]


@pytest.mark.parametrize("any_size", [False, None])
def test_without_a_window_it_is_the_same_at_full_cost(
    picture: Tensor, any_size: bool | None
) -> None:
    function = eye if any_size is False else knows_places
    result = explained(picture, cs.load_detector(function, any_size=any_size), n_passes=160)
    closeup = result.closeups[0]
    assert closeup is not None
    assert closeup.record.source.window is None
    assert closeup.cost == 160
    assert share_at_eye(result) > 0.8


def test_it_does_not_change_the_map(picture: Tensor) -> None:
    """But for what the certificate's full passes add, which windows need too."""
    settings = {"n_passes": 120, "windows": False}
    with_it = cs.explain(picture, anywhere(), [FACE], closeup=True, **settings)  # type: ignore[arg-type]
    without = cs.explain(picture, anywhere(), [FACE], **settings)  # type: ignore[arg-type]
    assert torch.equal(with_it.saliency, without.saliency)
    assert without.closeups == ()


@pytest.mark.parametrize(
    ("factor", "weight", "cells", "blur"), [(1.0, 0.5, 5, 1 / 3), (0.02, 0.01, 3, 1 / 3)]
)
def test_masks_fit_the_face(
    picture: Tensor, factor: float, weight: float, cells: float, blur: float
) -> None:
    def scaled(images: Tensor) -> list[Tensor]:
        found = eye(images)
        for rows in found:
            rows[:, 4] *= factor
        return found

    result = explained(picture, cs.load_detector(scaled, any_size=True, stride=STRIDE))
    closeup = result.closeups[0]
    assert closeup is not None
    assert closeup.mean_weight == pytest.approx(weight, rel=0.4)
    assert closeup.record.cells == pytest.approx(cells, abs=0.2)
    assert closeup.record.design.blur_sigma == pytest.approx(blur * SIDE)


def test_what_no_mask_hides_is_blurred_more(picture: Tensor) -> None:
    def sure(images: Tensor) -> list[Tensor]:
        found = eye(images)
        for rows in found:
            rows[:, 4] = 0.9 + 0.1 * rows[:, 4]
        return found

    closeup = explained(picture, cs.load_detector(sure, any_size=True, stride=STRIDE)).closeups[0]
    assert closeup is not None
    assert closeup.record.design.blur_sigma == SIDE


@pytest.mark.parametrize("box", [(0, 0, 32, 32), (448, 368, 480, 400), (16, 16, 464, 384)])
def test_at_the_border_and_in_a_picture_that_the_face_fills(
    picture: Tensor, box: tuple[int, ...]
) -> None:
    result = cs.explain(picture, anywhere(), [box], n_passes=100, closeup=True)
    closeup = result.closeups[0]
    assert closeup is not None
    assert bool(closeup.saliency.isfinite().all())
    assert closeup.window.within(area_round(torch.tensor(box).float(), (400, 480))).area > 0


def test_evidence_of_it_is_saved_and_continued(picture: Tensor, tmp_path: Path) -> None:
    detector = anywhere()
    how = {"targets": [FACE], "windows": True, "closeup": True}
    observed = cs.observe(picture, detector, n_passes=120, **how)  # type: ignore[arg-type]
    again = cs.Evidence.load(observed.save(tmp_path / "evidence.npz"))
    assert again.cost == observed.cost
    assert again.settings() == observed.settings()
    more = cs.observe(picture, detector, n_passes=200, resume=again, **how)  # type: ignore[arg-type]
    fresh = cs.observe(picture, detector, n_passes=200, **how)  # type: ignore[arg-type]
    longer = again.extend(detector, 80)
    for one in (more, longer):
        made, wanted = (e.explain([FACE]).closeups[0] for e in (one, fresh))
        assert made is not None
        assert wanted is not None
        assert torch.equal(made.saliency, wanted.saliency)
        assert made.record == wanted.record


def test_nothing_is_lost_when_it_is_interrupted(picture: Tensor) -> None:
    calls = []

    def stop(progress: Progress) -> None:
        assert progress.evidence is not None
        calls.append(len(progress.evidence().closeups))
        if calls[-1]:
            raise KeyboardInterrupt

    how = {"targets": [FACE], "n_passes": 120, "windows": True, "closeup": True}
    with pytest.raises(ObservationInterrupted) as caught:
        cs.observe(picture, anywhere(), progress=stop, **how)  # type: ignore[arg-type]
    kept = caught.value.evidence
    assert kept is not None
    assert [one.n_masks for one in kept.closeups] != []
    after = cs.observe(picture, anywhere(), resume=kept, **how)  # type: ignore[arg-type]
    fresh = cs.observe(picture, anywhere(), **how)  # type: ignore[arg-type]
    assert after.cost == fresh.cost
    assert torch.equal(after.explain([FACE]).saliency, fresh.explain([FACE]).saliency)


def test_it_is_saved_with_the_maps(picture: Tensor, tmp_path: Path) -> None:
    result = explained(picture, anywhere(), n_passes=100)
    result.save(tmp_path)
    loaded = cs.Explanation.load(tmp_path)
    mine, theirs = result.closeups[0], loaded.closeups[0]
    assert mine is not None
    assert theirs is not None
    assert torch.equal(mine.saliency, theirs.saliency)
    assert torch.equal(mine.standard_error, theirs.standard_error)
    assert mine.record == theirs.record
    maps = np.load(tmp_path / "closeup-01.npz")
    np.savez(tmp_path / "closeup-01.npz", **{name: maps[name][:-1] for name in maps})
    with pytest.raises(BundleError, match=r"manifest.json and closeup-01.npz do not belong"):
        cs.Explanation.load(tmp_path)
    (tmp_path / "closeup-01.npz").unlink()
    with pytest.raises(BundleError, match=r"closeup-01.npz"):
        cs.Explanation.load(tmp_path)
    cs.explain(picture, anywhere(), [FACE], n_passes=100).save(tmp_path)
    assert cs.Explanation.load(tmp_path).closeups == ()


def test_cells_and_blur_follow_the_box() -> None:
    box = torch.tensor([100.0, 100, 150, 150])
    area = area_round(box, (400, 400))
    assert area.size == (50 * (1 + 2 * AROUND),) * 2
    design = design_for(box, area, USUAL)
    assert design.grid == (15, 15)
    assert design.blur_sigma == pytest.approx(50 / 3)
    tiny = torch.tensor([10.0, 10, 13, 13])
    assert design_for(tiny, area_round(tiny, (400, 400)), USUAL).grid == (9, 9)


def test_of_few_passes_the_masks_that_fit_are_used(picture: Tensor) -> None:
    """As many passes of every design: the last one tried is the one that fits."""

    def faint(images: Tensor) -> list[Tensor]:
        found = eye(images)
        for rows in found:
            rows[:, 4] *= 0.02
        return found

    detector = cs.load_detector(faint, any_size=True, stride=STRIDE)
    closeup = explained(picture, detector, n_passes=20).closeups[0]
    assert closeup is not None
    assert closeup.record.design.keep_probability == 0.7


def test_its_unit_is_its_own_whatever_that_of_the_map(picture: Tensor) -> None:
    result = explained(picture, anywhere(), n_passes=40, estimator="paper")
    closeup = result.closeups[0]
    assert closeup is not None
    assert result.meaning.startswith("sum over the masks")
    alone = closeup.alone(result)
    assert alone.meaning.startswith("covariance of mask weight and mask")
    assert alone.settings.estimator == "surrogate"


def test_class_vectors_survive_a_part_in_which_nothing_is_reported(
    picture: Tensor, tmp_path: Path
) -> None:
    observed = cs.observe(picture, anywhere(), targets=[FACE], n_passes=40, closeup=True)
    n = len(observed.boxes)
    vectors = torch.full((n, 2), 0.5)
    silent = observed.closeups[0].first(0)
    known = replace(observed, class_probabilities=vectors, windows=(), closeups=(silent,))
    again = cs.Evidence.load(known.save(tmp_path / "evidence.npz"))
    assert again.class_probabilities is not None
    assert torch.equal(again.class_probabilities, vectors)
