"""Passes in windows: the same answer as full passes for less, or full passes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.errors import BundleError, ObservationInterrupted
from chiaroscuro.core.masks import hide
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import Target
from chiaroscuro.core.windows import Window
from chiaroscuro.evidence.passes import View

SIDE, STRIDE = 24, 16  # of the boxes that `bright` reports, and of its grid
TARGETS = [(96, 112, 120, 136), (320, 272, 344, 296)]


def bright(images: Tensor) -> list[Tensor]:
    """A detector of limited surroundings: a box at every step, its score the mean brightness."""
    scores = F.avg_pool2d(images.mean(dim=1), SIDE, STRIDE)
    rows, columns = (
        one.flatten() * STRIDE
        for one in torch.meshgrid(*map(torch.arange, scores.shape[1:]), indexing="ij")
    )
    boxes = torch.stack([columns, rows, columns + SIDE, rows + SIDE], dim=1).float()
    return [torch.cat([boxes, one.flatten()[:, None]], dim=1) for one in scores]


def calls_of(function: Callable[[Tensor], list[Tensor]]) -> tuple[cs.Detector, list[int]]:
    """A detector of any size, and the pixels of all that it was shown."""
    seen: list[int] = []

    def counting(images: Tensor) -> list[Tensor]:
        seen.append(len(images) * images.shape[2] * images.shape[3])
        return function(images)

    return cs.load_detector(counting, any_size=True, stride=STRIDE), seen


@pytest.fixture
def picture() -> Tensor:
    """Noise, 480 high and 600 wide, with two brighter places."""
    generator = torch.Generator().manual_seed(3)
    image = 0.4 * torch.rand(3, 480, 600, generator=generator) + 0.1
    for x1, y1, x2, y2 in TARGETS:
        image[:, y1:y2, x1:x2] += 0.45
    return image


def explained(image: Tensor, detector: object, **settings: object) -> cs.Explanation:
    chosen = {"n_passes": 120, "windows": True, "seed": 5, **settings}
    return cs.explain(image, detector, TARGETS, **chosen)  # type: ignore[arg-type]


def correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])


@pytest.mark.parametrize("fill", ["black", "blur"])
def test_a_window_shows_what_the_hidden_picture_shows_there(picture: Tensor, fill: str) -> None:
    masks = cs.Masks(cs.MaskDesign(fill=fill), *picture.shape[1:], seed=2)
    window = Window(32, 64, 320, 256)
    whole, part = (View.of(cs.load_detector(bright), masks, picture, w) for w in (None, window))
    assert torch.equal(part.hidden(3, 9), window.of(whole.hidden(3, 9)))
    assert torch.equal(whole.hidden(3, 4), hide(whole.image, masks.render(3, 4), whole.fill))


def test_the_map_is_that_of_full_passes_for_a_part_of_the_cost(picture: Tensor) -> None:
    detector, seen = calls_of(bright)
    cheap, full = explained(picture, detector), explained(picture, bright, windows=False)
    assert cheap.cost * 480 * 600 == pytest.approx(sum(seen), rel=0.01)
    assert cheap.cost < 0.6 * full.cost
    assert full.cost == 120
    for i, source in enumerate(cheap.sources):
        assert source.window is not None
        assert source.window.holds(cheap.targets[i].box)
        assert source.certificate is not None
        assert source.certificate.correlation > 0.999
        assert source.n_masks == 120
        near = source.window.of(full.saliency[i])
        assert correlation(source.window.of(cheap.saliency[i]), near) > 0.97


def absolute(images: Tensor) -> list[Tensor]:
    """A detector that knows where in the picture a face is: in a window it looks elsewhere."""
    scores = [float(picture[:, 272:296, 320:344].mean().nan_to_num()) for picture in images]
    return [torch.tensor([[320.0, 272, 344, 296, score]]) for score in scores]


def of_one_size(images: Tensor) -> list[Tensor]:
    if images.shape[2:] != (480, 600):
        raise RuntimeError("wanted 480 x 600")
    return bright(images)


def far_away(images: Tensor) -> list[Tensor]:
    """Scores fall with the brightness of a corner of the picture."""
    found = bright(images)
    if images.shape[2:] == (480, 600):
        for rows, picture in zip(found, images, strict=True):
            rows[:, 4] = rows[:, 4] * picture[:, :80, :80].mean()
    return found


@pytest.mark.parametrize("function", [absolute, of_one_size, far_away])
def test_full_passes_where_a_window_does_not_see_the_same(
    picture: Tensor, function: Callable[[Tensor], list[Tensor]]
) -> None:
    tried = cs.explain(picture, function, TARGETS[1:], n_passes=120, windows=True)
    full = cs.explain(picture, function, TARGETS[1:], n_passes=120, windows=False)
    assert torch.equal(tried.saliency, full.saliency)
    assert torch.equal(tried.fidelity, full.fidelity)
    assert tried.sources[0].window is None
    assert tried.cost < 1.6 * full.cost  # what was tried counts


def test_a_detector_that_answers_at_random_has_no_certificate(picture: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)

    def moody(images: Tensor) -> list[Tensor]:
        found = bright(images)
        for rows in found:
            rows[:, 4] *= torch.rand(len(rows), generator=generator)
        return found

    assert (
        cs.explain(picture, moody, TARGETS[:1], n_passes=100, windows=True).sources[0].window
        is None
    )


def test_a_small_picture_has_full_passes_alone(image: Tensor) -> None:
    detector, _ = calls_of(bright)
    result = cs.explain(image, detector, [(8, 8, 32, 32)], n_passes=100, windows=True)
    assert (result.settings.windows, result.cost) == ((), 100)


def test_same_seed_same_bits_whatever_the_batch_size(picture: Tensor) -> None:
    detector, _ = calls_of(bright)
    first, second = (explained(picture, detector, batch_size=n) for n in (1, 50))
    assert torch.equal(first.saliency, second.saliency)
    assert torch.equal(first.standard_error, second.standard_error)


def test_evidence_of_windows_is_saved_and_continued(picture: Tensor, tmp_path: Path) -> None:
    detector, _ = calls_of(bright)
    observed = cs.observe(picture, detector, targets=TARGETS, n_passes=120, windows=True)
    again = cs.Evidence.load(observed.save(tmp_path / "evidence.npz"))
    assert [one.window for one in again.windows] == [one.window for one in observed.windows]
    assert again.cost == observed.cost
    assert torch.equal(again.explain(TARGETS).saliency, observed.explain(TARGETS).saliency)
    more = cs.observe(picture, detector, targets=TARGETS, n_passes=200, windows=True, resume=again)
    fresh = cs.observe(picture, detector, targets=TARGETS, n_passes=200, windows=True)
    assert torch.equal(more.explain(TARGETS).saliency, fresh.explain(TARGETS).saliency)
    longer = again.extend(detector, 80)
    assert torch.equal(longer.explain(TARGETS).saliency, fresh.explain(TARGETS).saliency)


def test_nothing_is_lost_when_a_window_is_interrupted(picture: Tensor) -> None:
    detector, seen = calls_of(bright)

    def stop(progress: Progress) -> None:
        if progress.done > 30:
            raise KeyboardInterrupt

    with pytest.raises(ObservationInterrupted) as caught:
        cs.observe(picture, detector, targets=TARGETS, n_passes=120, windows=True, progress=stop)
    kept = caught.value.evidence
    assert kept is not None
    assert kept.windows
    before = sum(seen)
    cs.observe(picture, detector, targets=TARGETS, n_passes=120, windows=True, resume=kept)
    fresh, all_of_it = calls_of(bright)
    cs.observe(picture, fresh, targets=TARGETS, n_passes=120, windows=True)
    assert sum(seen) == pytest.approx(sum(all_of_it), rel=0.05)
    assert before > 0


def test_automatic_stopping_counts_the_certificate(picture: Tensor) -> None:
    detector, _ = calls_of(bright)
    result = explained(picture, detector, n_passes="auto", fidelity=0.9)
    assert bool((result.fidelity >= 0.9).all())
    for i, source in enumerate(result.sources):
        assert source.certificate is not None
        assert float(result.fidelity[i]) <= source.certificate.correlation


def test_beyond_the_window_the_map_says_how_little_it_knows(picture: Tensor) -> None:
    def a_little_far(images: Tensor) -> list[Tensor]:
        found = bright(images)
        if images.shape[2:] == (480, 600):
            for rows, one in zip(found, images, strict=True):
                rows[:, 4] *= 0.97 + 0.03 * one[:, :80, 500:].mean()
        return found

    detector, _ = calls_of(a_little_far)
    result = explained(picture, detector)
    window = result.sources[0].window
    assert window is not None
    outside = torch.ones(480, 600, dtype=torch.bool)
    window.of(outside).fill_(False)
    full = cs.explain(picture, a_little_far, TARGETS[:1], n_passes=500, estimator="centred")
    error = (result.saliency[0] - full.saliency[0])[outside].square().mean().sqrt()
    doubt = sum(one.standard_error[0][outside].square().mean() for one in (result, full))
    assert float(error) < 1.5 * float(doubt) ** 0.5


def test_a_window_outside_the_picture_is_a_damaged_file(picture: Tensor, tmp_path: Path) -> None:
    import json

    import numpy as np

    detector, _ = calls_of(bright)
    observed = cs.observe(picture, detector, targets=TARGETS, n_passes=120, windows=True)
    file = observed.save(tmp_path / "evidence.npz")
    arrays = dict(np.load(file))
    settings = json.loads(str(arrays["settings"]))
    settings["windows"][0]["window"] = [0, 0, 9000, 100]
    arrays["settings"] = np.array(json.dumps(settings))
    np.savez(file, **arrays)
    with pytest.raises(BundleError, match="wanted one inside the picture of 600x480"):
        cs.Evidence.load(file)


def test_targets_named_later_use_a_window_only_with_a_certificate(picture: Tensor) -> None:
    detector, _ = calls_of(bright)
    observed = cs.observe(picture, detector, targets=TARGETS[:1], n_passes=120, windows=True)
    shifted, elsewhere = Target(box=[100, 116, 124, 140]), Target(box=[400, 400, 424, 424])
    assert observed.part_for(shifted)[1] is not None
    assert observed.part_for(elsewhere) == (observed, None)


def test_a_certificate_that_is_lost_on_the_way_makes_no_further_passes(
    picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chiaroscuro.evidence.evidence.holds", lambda one: one.n_masks > 12)
    detector, _ = calls_of(bright)
    result = explained(picture, detector, n_passes="auto")
    assert result.cost < 200


def test_a_window_is_preferred_to_as_many_passes_on_the_whole(picture: Tensor) -> None:
    seen = cs.observe(picture, bright, targets=TARGETS, n_passes=100, windows=True)
    target = seen.explain(TARGETS).targets[0]
    for n, in_window in ((100, True), (102, False)):
        whole = cs.observe(picture, bright, n_passes=n, windows=False)
        _, certificate = seen.joined(whole).part_for(target)
        assert (certificate is not None) == in_window
