"""The engine against a brute-force reference, and everything evidence promises."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import (
    BundleError,
    DetectorFailedError,
    ImageError,
    InputError,
    ObservationInterrupted,
    TargetError,
    UnknownNameError,
)
from chiaroscuro.evidence.targets import find
from chiaroscuro.testing import PlantedDetector

REGIONS = [(4, 6, 20, 18), (30, 10, 50, 34), (8, 22, 24, 38)]
TARGETS = [(4, 6, 20, 18), (28, 9, 49, 33), (10, 20, 30, 36)]
DESIGN = cs.MaskDesign(grid_size=(5, 7))


def bright_regions(images: Tensor) -> list[Tensor]:
    """A detector of bright regions: one box a region, score its mean brightness."""
    rows = []
    for picture in images:
        scores = [float(picture[:, y1:y2, x1:x2].mean()) for x1, y1, x2, y2 in REGIONS]
        boxes = torch.tensor(REGIONS, dtype=torch.float32)
        rows.append(torch.cat([boxes, torch.tensor(scores)[:, None]], dim=1))
    return rows


def brute_force(image: Tensor, n_masks: int, estimator: str) -> np.ndarray:
    """D-RISE by independent loops over masks, targets and proposals."""
    masks = cs.Masks(DESIGN, *image.shape[1:], seed=3).render(0, n_masks).double().numpy()
    weights = np.zeros((len(TARGETS), n_masks))
    for i, mask in enumerate(masks):
        hidden = (image.numpy() * mask).astype(np.float32)
        for *box, score in bright_regions(torch.from_numpy(hidden)[None])[0].tolist():
            for t, target in enumerate(TARGETS):
                wide = min(box[2], target[2]) - max(box[0], target[0])
                high = min(box[3], target[3]) - max(box[1], target[1])
                both = max(wide, 0) * max(high, 0)
                areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, target))
                weights[t, i] = max(weights[t, i], both / (areas - both) * score)
    if estimator == "paper":
        return np.einsum("tn,nhw->thw", weights, masks)
    return np.array(
        [[np.cov(w, column)[0, 1] for column in masks.reshape(n_masks, -1).T] for w in weights]
    ).reshape(len(TARGETS), *image.shape[1:])


@pytest.mark.parametrize("estimator", ["paper", "centred"])
def test_engine_equals_brute_force(image: Tensor, estimator: str) -> None:
    wanted = brute_force(image, 30, estimator)
    for batch_size, threads in [(1, 1), (7, 1), (30, 4)]:
        torch.set_num_threads(threads)
        try:
            result = cs.explain(
                image,
                bright_regions,
                TARGETS,
                n_passes=30,
                seed=3,
                design=DESIGN,
                estimator=estimator,
                batch_size=batch_size,
            )
        finally:
            torch.set_num_threads(1)
        np.testing.assert_allclose(result.saliency.numpy(), wanted, atol=1e-5)


def test_same_seed_same_bits_whatever_the_batch_size_and_threads(image: Tensor) -> None:
    maps = []
    for batch_size, threads in [(1, 1), (4, 4), (9, 2)]:
        torch.set_num_threads(threads)
        try:
            maps.append(
                cs.explain(
                    image, bright_regions, TARGETS, n_passes=50, seed=1, batch_size=batch_size
                ).saliency
            )
        finally:
            torch.set_num_threads(1)
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])
    other = cs.explain(image, bright_regions, TARGETS, n_passes=50, seed=2).saliency
    assert not torch.equal(maps[0], other)


def planted(sign: float = 1.0) -> tuple[PlantedDetector, tuple[slice, slice], tuple[slice, slice]]:
    """Evidence for the box in one patch, against it in another; both off the box's centre."""
    evidence = torch.zeros(40, 56)
    helps, hurts = (slice(4, 12), slice(8, 18)), (slice(26, 36), slice(38, 52))
    evidence[helps] = sign * 0.5 / 80
    evidence[hurts] = -sign * 0.4 / 140
    return PlantedDetector((6, 3, 24, 20), evidence, bias=0.4), helps, hurts


def test_planted_evidence_is_found_with_its_sign() -> None:
    detector, helps, hurts = planted()
    bright = torch.ones(3, 40, 56)
    result = cs.explain(bright, detector, [[6, 3, 24, 20]], n_passes=500, seed=0)
    saliency = result.saliency[0]
    y, x = divmod(int(saliency.argmax()), 56)
    assert helps[0].start <= y < helps[0].stop
    assert helps[1].start <= x < helps[1].stop
    y, x = divmod(int(saliency.argmin()), 56)
    assert hurts[0].start <= y < hurts[0].stop
    assert hurts[1].start <= x < hurts[1].stop
    assert float(saliency[helps].mean()) > 0 > float(saliency[hurts].mean())


def test_later_targets_need_no_detector_pass(image: Tensor) -> None:
    passes = 0

    def counting(images: Tensor) -> list[Tensor]:
        nonlocal passes
        passes += len(images)
        return bright_regions(images)

    evidence = cs.observe(image, counting, n_passes=20, seed=3, design=DESIGN)
    assert passes == 20
    first = evidence.explain(TARGETS)
    second = evidence.explain([TARGETS[1]])
    assert passes == 20
    assert torch.equal(first.saliency[1], second.saliency[0])


def test_extended_evidence_equals_asking_at_once(image: Tensor) -> None:
    detector = cs.load_detector(bright_regions)
    at_once = cs.observe(image, detector, n_passes=33, seed=3)
    extended = cs.observe(image, detector, n_passes=12, seed=3).extend(detector, 21)
    assert torch.equal(at_once.boxes, extended.boxes)
    assert torch.equal(at_once.scores, extended.scores)
    assert torch.equal(at_once.explain(TARGETS).saliency, extended.explain(TARGETS).saliency)


def test_resuming_gives_what_a_fresh_start_gives() -> None:
    detector, _, _ = planted()
    bright, box = torch.ones(3, 40, 56), [[6.0, 3.0, 24.0, 20.0]]
    fresh = cs.observe(bright, detector, fidelity=0.8, targets=box)
    for there in (7, 2000):
        earlier = cs.observe(bright, detector, n_passes=there)
        resumed = cs.observe(bright, detector, fidelity=0.8, targets=box, resume=earlier)
        assert torch.equal(resumed.counts, fresh.counts)
        assert torch.equal(resumed.scores, fresh.scores)


def test_resume_refuses_what_belongs_to_something_else(image: Tensor) -> None:
    evidence = cs.observe(image, bright_regions, n_passes=5, seed=3)
    with pytest.raises(InputError, match=r"seed was 3, is 4.*"):
        cs.observe(image, bright_regions, n_passes=9, seed=4, resume=evidence)
    with pytest.raises(InputError, match="image_sha256"):
        cs.observe(image / 2, bright_regions, n_passes=9, seed=3, resume=evidence)


@pytest.mark.parametrize("fill", ["black", "blur", "image"])
def test_evidence_survives_the_disk(image: Tensor, tmp_path: Path, fill: str) -> None:
    design = cs.MaskDesign(
        grid_size=6, keep_probability=0.4, fill=image.flip(2) if fill == "image" else fill
    )
    evidence = cs.observe(image, bright_regions, n_passes=15, seed=9, design=design)
    loaded = cs.Evidence.load(evidence.save(tmp_path / "evidence.npz"))
    assert plain(loaded.settings()) == plain(evidence.settings())
    assert torch.equal(loaded.explain(TARGETS).saliency, evidence.explain(TARGETS).saliency)
    assert torch.equal(loaded.proposals(7).scores, evidence.proposals(7).scores)
    again = loaded.extend(cs.load_detector(bright_regions), 5)
    assert again.n_masks == 20


def test_damaged_evidence_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evidence.npz"
    with pytest.raises(BundleError, match="does not exist"):
        cs.Evidence.load(path)
    path.write_bytes(b"")
    with pytest.raises(BundleError, match="no readable"):
        cs.Evidence.load(path)
    np.savez(path, settings=np.array("{}"))
    with pytest.raises(BundleError, match="holds no image, boxes"):
        cs.Evidence.load(path)


def test_explanation_survives_the_disk(image: Tensor, tmp_path: Path) -> None:
    result = cs.explain(image, bright_regions, TARGETS, n_passes=25)
    loaded = cs.Explanation.load(result.save(tmp_path / "out"))
    assert torch.equal(loaded.saliency, result.saliency)
    assert torch.equal(loaded.standard_error, result.standard_error)
    assert plain(loaded.manifest()) == plain(result.manifest())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "manifest.json",
        "saliency.npz",
    ]
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(BundleError, match="incomplete"):
        cs.Explanation.load(tmp_path / "out")


def test_a_failing_detector_leaves_the_evidence(image: Tensor) -> None:
    passes = 0

    def fails_at_ten(images: Tensor) -> list[Tensor]:
        nonlocal passes
        passes += len(images)
        if passes > 10:
            raise ZeroDivisionError("boom")
        return bright_regions(images)

    with pytest.raises(DetectorFailedError, match=r"after 10 masks: ZeroDivisionError: boom") as e:
        cs.observe(image, fails_at_ten, n_passes=20, batch_size=2)
    assert e.value.evidence is not None
    assert e.value.evidence.n_masks == 10
    assert len(e.value.evidence.explain(TARGETS)) == 3


def test_ctrl_c_leaves_the_evidence(image: Tensor) -> None:
    def pressed(progress: cs.Progress) -> None:
        if progress.done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(ObservationInterrupted) as caught:
        cs.observe(image, bright_regions, n_passes=20, batch_size=3, progress=pressed)
    assert caught.value.evidence is not None
    assert caught.value.evidence.n_masks == 6


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda images: [], "wanted 1 results, one per image, got 0"),
        (lambda images: None, "wanted 1 results"),
        (lambda images: [torch.zeros(2, 3)] * len(images), r"got shape \(2, 3\)"),
        (lambda images: ["face"] * len(images), "got str"),
        (lambda images: [torch.tensor([[1, 2, 9, 9, 7.5]])] * len(images), "sigmoid"),
        (lambda images: [{"rects": []}] * len(images), "boxes, scores"),
    ],
)
def test_a_detector_that_breaks_its_promise(image: Tensor, broken: object, says: str) -> None:
    with pytest.raises(DetectorFailedError, match=says):
        cs.observe(image, broken, n_passes=3, batch_size=1)


def test_nan_detections_are_dropped_and_counted(image: Tensor) -> None:
    def sometimes_nan(images: Tensor) -> list[Tensor]:
        rows = bright_regions(images)
        for row in rows:
            row[1, 2] = float("nan")
            row[2, 4] = float("inf")
        return rows

    with pytest.warns(RuntimeWarning, match="dropped 2 of 3 detections"):
        result = cs.explain(image, sometimes_nan, TARGETS, n_passes=10)
    assert bool(torch.isfinite(result.saliency).all())


def test_other_dtypes_and_boxes_past_the_border(image: Tensor) -> None:
    def odd(images: Tensor) -> list[np.ndarray]:
        score = images.mean(dim=(1, 2, 3))
        return [np.array([[-5, -9, 30, 25, s, 0]], dtype=np.float16) for s in score]

    result = cs.explain(image, odd, [[0, 0, 30, 25]], n_passes=40)
    assert bool(torch.isfinite(result.saliency).all())
    assert float(result.mean_weight[0]) > 0


def test_a_detector_may_write_to_its_input(image: Tensor) -> None:
    def vandal(images: Tensor) -> list[Tensor]:
        found = bright_regions(images)
        images.zero_()
        return found

    honest = cs.explain(image, bright_regions, TARGETS, n_passes=12)
    spoiled = cs.explain(image, vandal, TARGETS, n_passes=12)
    assert torch.equal(honest.saliency, spoiled.saliency)


def test_out_of_memory_halves_the_batch(image: Tensor) -> None:
    sizes = []

    def greedy(images: Tensor) -> list[Tensor]:
        sizes.append(len(images))
        if len(images) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")
        return bright_regions(images)

    result = cs.explain(image, greedy, TARGETS, n_passes=9, seed=3, batch_size=8)
    assert sizes == [8, 4, 2, 2, 2, 2, 1]
    honest = cs.explain(image, bright_regions, TARGETS, n_passes=9, seed=3)
    assert torch.equal(result.saliency, honest.saliency)


def test_out_of_memory_on_one_picture_is_said(image: Tensor) -> None:
    def hopeless(images: Tensor) -> list[Tensor]:
        raise MemoryError

    with pytest.raises(DetectorFailedError, match="explain a smaller copy"):
        cs.observe(image, hopeless, n_passes=4)


def test_nothing_detected_makes_an_empty_result_and_no_passes(image: Tensor) -> None:
    passes = 0

    def blind(images: Tensor) -> list[list[float]]:
        nonlocal passes
        passes += len(images)
        return [[] for _ in images]

    result = cs.explain(image, blind, n_passes=50)
    assert passes == 1
    assert len(result) == 0
    assert result.saliency.shape == (0, 40, 56)


def test_a_target_that_is_never_seen_gives_zero_and_says_so(image: Tensor) -> None:
    result = cs.explain(image, bright_regions, [[50, 1, 55, 5]], n_passes=100)
    assert not result.saliency.any()
    assert bool(result.fidelity.isnan())
    assert result.trust(0) == "too few answers to judge"
    assert "no evidence" in result.notes[0]


def test_a_detector_deaf_to_masks_gives_zero_and_says_so(image: Tensor) -> None:
    def constant(images: Tensor) -> list[list[list[float]]]:
        return [[[4, 6, 20, 18, 0.7]] for _ in images]

    result = cs.explain(image, constant, [[4, 6, 20, 18]], n_passes=40)
    assert float(result.saliency.abs().max()) < 1e-6
    assert "same weight" in result.notes[0]


@pytest.mark.parametrize(
    "target",
    [[60, 5, 70, 9], [-9, -9, -1, -1], [9, 9, 3, 3], [5, 5, 5, 9], [1, 2, float("nan"), 4], [1, 2]],
)
def test_impossible_targets_are_refused_before_any_pass(image: Tensor, target: list[float]) -> None:
    def never(images: Tensor) -> list[Tensor]:
        raise AssertionError("the detector must not run")

    with pytest.raises(TargetError):
        cs.explain(image, never, [target], n_passes=5)


def test_targets_reach_no_further_than_the_picture(image: Tensor) -> None:
    result = cs.explain(image, bright_regions, [[-10, -10, 20, 400]], n_passes=5)
    assert result.targets[0].box.tolist() == [0, 0, 20, 40]


def test_automatic_stopping_reaches_the_fidelity_or_says_not() -> None:
    detector, _, _ = planted()
    bright = torch.ones(3, 40, 56)
    easy = cs.observe(bright, detector, fidelity=0.6, targets=[[6, 3, 24, 20]])
    assert float(easy.explain([[6, 3, 24, 20]]).fidelity[0]) >= 0.6
    hard = cs.observe(bright, detector, fidelity=0.995, targets=[[6, 3, 24, 20]])
    assert hard.n_masks > easy.n_masks


def test_targets_that_do_not_reach_the_fidelity_are_named_with_what_may_help() -> None:
    image = torch.ones(3, 48, 64)
    dim = PlantedDetector([4, 6, 30, 40], torch.full((48, 64), 0.3 / (48 * 64)), bias=0.3)
    evidence = cs.observe(image, dim, n_passes=100)
    boxes = [[4, 6, 30, 40], [40, 20, 60, 44]]  # nothing is ever reported at the second
    notes = evidence.explain(boxes, wanted_fidelity=0.5).notes
    assert any("target 2: it did not reach fidelity 0.5 with 100 passes" in note for note in notes)
    assert any("grid_size 10" in note and "keep_probability 0.7" in note for note in notes)
    assert not any("reach" in note for note in evidence.explain(boxes).notes)


def test_maps_can_be_drawn_as_they_form() -> None:
    image = torch.ones(3, 48, 64)
    evidence = torch.zeros(48, 64)
    evidence[10:30, 8:26] = 0.5 / (20 * 18)
    detector = PlantedDetector([4, 6, 30, 40], evidence, bias=0.2)
    maps = {}

    def draw(progress: cs.Progress) -> None:
        if progress.done in (20, 60):
            so_far = progress.evidence()
            assert so_far.n_masks == progress.done
            maps[progress.done] = so_far.explain([[4, 6, 30, 40]]).saliency

    whole = cs.observe(image, detector, n_passes=60, batch_size=10, progress=draw)
    again = cs.observe(image, detector, n_passes=20)
    assert torch.equal(maps[60], whole.explain([[4, 6, 30, 40]]).saliency)
    assert torch.equal(maps[20], again.explain([[4, 6, 30, 40]]).saliency)


def test_proposals_keep_their_masks_over_many_batches(image: Tensor) -> None:
    """More proposals than a column first holds, some masks without any."""

    def sometimes(images: Tensor) -> list[Tensor]:
        return [row[row[:, 4] > 0.25] for row in bright_regions(images)]

    n_masks = 1100
    whole = cs.observe(image, sometimes, n_passes=n_masks, seed=3, design=DESIGN, batch_size=50)
    assert int((whole.counts == 0).sum()) > 0
    fill = cs.load_detector(sometimes)
    for mask in (0, 511, 512, 1023, n_masks - 1):
        picture = image * cs.Masks(DESIGN, *image.shape[1:], seed=3).render(mask, mask + 1)
        expected = fill.detect(picture[None])[0]
        assert torch.equal(whole.proposals(mask).scores, expected.scores)


@pytest.mark.parametrize(
    "bad",
    [
        torch.rand(40, 56),
        torch.rand(1, 3, 40, 56),
        torch.rand(3, 0, 5),
        torch.rand(3, 4, 5) * 255,
        torch.full((3, 4, 5), float("nan")),
        torch.ones(3, 4, 5, dtype=torch.int32),
    ],
)
def test_impossible_pictures_are_refused(bad: Tensor) -> None:
    with pytest.raises(ImageError, match="wanted"):
        cs.observe(bad, bright_regions, n_passes=1)


def test_impossible_settings_are_refused(image: Tensor) -> None:
    for n_masks in (0, -1):
        with pytest.raises(InputError, match="n_passes"):
            cs.observe(image, bright_regions, n_passes=n_masks)
    with pytest.raises(InputError, match="fidelity"):
        cs.observe(image, bright_regions, fidelity=1.0)
    with pytest.raises(UnknownNameError, match="centred, paper, surrogate"):
        cs.explain(image, bright_regions, TARGETS, n_passes=2, estimator="best")


def test_one_pixel_picture() -> None:
    result = cs.explain(
        torch.rand(3, 1, 1),
        lambda images: [[[0, 0, 1, 1, 0.5]]] * len(images),
        [[0, 0, 1, 1]],
        n_passes=30,
    )
    assert result.saliency.shape == (1, 1, 1)
    assert bool(torch.isfinite(result.saliency).all())


def test_progress_tells_pace_time_left_and_what_to_expect() -> None:
    detector, _, _ = planted()
    seen: list[cs.Progress] = []
    cs.observe(
        torch.ones(3, 40, 56),
        detector,
        fidelity=0.9,
        estimator="centred",
        targets=[[6, 3, 24, 20]],
        progress=seen.append,
        batch_size=50,
    )
    done = [p.done for p in seen]
    assert done == sorted(set(done))
    assert done[:4] == [50, 100, 150, 200]
    assert all(p.done <= p.total for p in seen)
    assert seen[0].fidelity == ()
    assert len(seen[-1].fidelity) == 1
    assert seen[-1].pace > 0
    assert (seen[-1].seconds_left or 0) >= 0
    # what was expected half way is what was needed, give or take
    half = next(p for p in seen if p.done >= seen[-1].done / 2 and p.fidelity)
    assert seen[-1].done / 2 <= half.total <= 2 * seen[-1].done


def test_boxes_without_area_or_outside_the_picture_are_left_out_and_counted() -> None:
    rows = [[4, 4, 20, 30, 0.9], [5, 5, 5, 9, 0.8], [57, 4, 60, 30, 0.7]]
    detector = cs.load_detector(lambda images: [rows] * len(images))
    with pytest.warns(RuntimeWarning, match="left out 2 of 3 detections"):
        found = find(torch.ones(3, 40, 56), detector)
    assert found.boxes.tolist() == [[4, 4, 20, 30]]
