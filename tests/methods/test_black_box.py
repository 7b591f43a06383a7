"""Black-box methods on detectors whose evidence is known: what each finds and cannot."""

import math

import numpy as np
import pytest
import torch

import chiaroscuro as cs
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import InputError, UnknownNameError
from chiaroscuro.evaluation.remaking import equal_passes
from chiaroscuro.methods import METHODS
from chiaroscuro.methods.regions import grid, superpixels
from chiaroscuro.testing import PlantedDetector

HEIGHT, WIDTH = 48, 64
BOX = [20, 10, 44, 34]
LEFT, RIGHT = (slice(16, 24), slice(22, 30)), (slice(16, 24), slice(34, 42))
ELSEWHERE = (slice(38, 46), slice(4, 12))
BLACK_BOX = [name for name, method in METHODS.items() if method.needs == "black box"]


def painted(*patches, ground=0.2):
    """A dark picture with bright patches, and a little texture for superpixels to hold on to."""
    generator = torch.Generator().manual_seed(0)
    image = ground + 0.02 * torch.rand(3, HEIGHT, WIDTH, generator=generator)
    for rows, columns in patches:
        image[:, rows, columns] = 0.9
    return image


def seen(image, patch):
    """Mean brightness of a patch, in [0, 1]."""
    return float(image[:, patch[0], patch[1]].mean())


def scoring(*rules, boxes=(BOX,)):
    """A detector of one box a rule, scored by that rule of the picture."""

    def detect(images):
        return [
            np.array(
                [
                    [*box, min(max(rule(image), 0), 1)]
                    for box, rule in zip(boxes, rules, strict=True)
                ]
            )
            for image in images
        ]

    return cs.load_detector(detect, min_score=0.0)


def additive(image):
    return 0.2 + 0.4 * seen(image, LEFT) + 0.3 * seen(image, RIGHT)


def both(image):
    return seen(image, LEFT) * seen(image, RIGHT)


def either(image):
    return max(seen(image, LEFT), seen(image, RIGHT))


def explained(method, rule, image=None, n_passes=300, **options):
    image = painted(LEFT, RIGHT) if image is None else image
    return cs.explain(image, scoring(rule), [BOX], method=method, n_passes=n_passes, **options)


def within(saliency, patch):
    return float(saliency[patch[0], patch[1]].mean())


def outside(saliency):
    away = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    away[8:36, 14:50] = False
    return float(saliency[away].abs().max())


@pytest.mark.parametrize("method", [name for name in BLACK_BOX if name != "rise"])
def test_additive_evidence_is_found_where_it_is(method):
    saliency = explained(method, additive).saliency[0]
    assert within(saliency, LEFT) > within(saliency, RIGHT) > 2 * abs(within(saliency, ELSEWHERE))
    row, column = divmod(int(saliency.argmax()), WIDTH)
    assert BOX[0] <= column < BOX[2]
    assert BOX[1] <= row < BOX[3]


def test_rise_finds_additive_evidence_above_the_noise_of_its_masks():
    saliency = explained("rise", additive, n_passes=2000).saliency[0]
    assert within(saliency, LEFT) > within(saliency, RIGHT) > 2 * abs(within(saliency, ELSEWHERE))


def test_occlusion_is_the_mean_fall_over_the_windows_by_hand():
    image = painted(LEFT, RIGHT)
    result = explained("occlusion", additive, image, n_passes=60)
    stride = result.settings.choices["stride_px"]
    falls, covering = [], (20, 26)  # a pixel in the left patch
    for top in range(-stride, HEIGHT, stride):
        for left in range(-stride, WIDTH, stride):
            if top <= covering[0] < top + 2 * stride and left <= covering[1] < left + 2 * stride:
                hidden = image.clone()
                hidden[:, max(0, top) : top + 2 * stride, max(0, left) : left + 2 * stride] = 0
                falls.append(additive(image) - additive(hidden))
    assert len(falls) == 4
    assert float(result.saliency[0, 20, 26]) == pytest.approx(np.mean(falls), abs=1e-6)


def test_kernelshap_gives_each_patch_its_own_and_sums_to_the_weight():
    image = painted(LEFT, RIGHT)
    saliency = explained("kernelshap", additive, image).saliency[0]
    regions = superpixels(image, 300 // 4)
    areas = torch.bincount(regions.flatten())[regions]
    assert float((saliency / areas).sum()) == pytest.approx(additive(image) - 0.2, abs=0.01)
    of_left = (saliency / areas)[LEFT].sum()
    assert float(of_left) == pytest.approx(0.4 * seen(image, LEFT), abs=0.03)


def test_kernelshap_splits_an_interaction_evenly():
    saliency = explained("kernelshap", both, n_passes=400).saliency[0]
    assert within(saliency, LEFT) == pytest.approx(within(saliency, RIGHT), rel=0.25)
    assert within(saliency, LEFT) > 3 * outside(saliency)


def test_occlusion_is_blind_to_what_is_there_twice():
    image = painted(LEFT, RIGHT)
    result = explained("occlusion", either, image, n_passes=500)
    found = explained("drise", either, image, n_passes=500).saliency[0]
    assert result.settings.choices["window_px"] < 12  # no window hides both
    assert not bool(result.saliency.any())
    assert "there twice" in result.notes[0]
    assert within(found, LEFT) > 3 * abs(within(found, ELSEWHERE))


def test_lime_with_its_linear_model_shares_out_an_interaction():
    saliency = explained("lime", both, n_passes=400).saliency[0]
    assert within(saliency, LEFT) == pytest.approx(within(saliency, RIGHT), rel=0.5)
    assert within(saliency, LEFT) < 0.6 * seen(painted(LEFT, RIGHT), LEFT) ** 2  # not all of it


def test_rise_shows_another_object_of_the_class_and_drise_does_not():
    """The target is weak; a strong one elsewhere is all that RISE sees."""
    image = painted(LEFT, ELSEWHERE)
    detector = scoring(
        lambda x: 0.5 * seen(x, LEFT),
        lambda x: seen(x, ELSEWHERE),
        boxes=(BOX, [2, 36, 14, 48]),
    )
    rise = cs.explain(image, detector, [BOX], method="rise", n_passes=600).saliency[0]
    drise = cs.explain(image, detector, [BOX], method="drise", n_passes=600).saliency[0]
    assert within(rise, ELSEWHERE) > within(rise, LEFT)
    assert within(drise, LEFT) > 5 * abs(within(drise, ELSEWHERE))
    pair = cs.explain(image, detector, [BOX, [2, 36, 14, 48]], method="rise", n_passes=100)
    assert torch.equal(pair.saliency[0], pair.saliency[1])
    both_of_one_class = detector.detect(image[None])[0]
    told = cs.explain(image, detector, both_of_one_class, method="rise", n_passes=20)
    assert any("the same map" in note for note in told.notes)


def test_search_leaves_what_suppresses_the_target_to_the_last():
    image = painted(LEFT, RIGHT, ELSEWHERE)
    result = explained(
        "search",
        lambda x: additive(x) - 0.5 * seen(x, ELSEWHERE),
        image,
        n_passes=400,
    )
    saliency = result.saliency[0]
    assert within(saliency, ELSEWHERE) < float(saliency.median())
    assert within(saliency, LEFT) > float(saliency.quantile(0.9))


def test_search_beats_where_it_started_and_the_box():
    image = painted(LEFT, RIGHT, ELSEWHERE)
    detector = scoring(lambda x: 1.2 * both(x) * (1.3 - seen(x, ELSEWHERE)))
    overall = {}
    for method in ("drise", "search", "occlusion", "kernelshap"):
        saliency = cs.explain(image, detector, [BOX], method=method, n_passes=400).saliency[0]
        overall[method] = cs.metrics.overall(
            cs.metrics.insertion(image, detector, BOX, saliency),
            cs.metrics.deletion(image, detector, BOX, saliency),
        )
    assert max(overall, key=overall.get) == "search"


def test_search_refuses_fewer_passes_than_it_needs():
    with pytest.raises(InputError, match=r"search: wanted at least \d+ passes for each"):
        explained("search", additive, n_passes=60)


@pytest.mark.parametrize("method", BLACK_BOX)
def test_no_method_takes_more_passes_than_it_is_given(method):
    calls = []

    class Counting:
        info = cs.DetectorInfo(name="counting")

        def detect(self, images):
            calls.append(len(images))
            return [cs.Proposals(boxes=[BOX], scores=[additive(image)]) for image in images]

    targets = [BOX, [18, 8, 40, 30]]
    result = cs.explain(painted(LEFT, RIGHT), Counting(), targets, method=method, n_passes=333)
    assert sum(calls) <= 333
    assert result.settings.n_passes == sum(calls)
    assert result.saliency.shape == (2, HEIGHT, WIDTH)
    assert result.meaning
    assert result.settings.method == method


@pytest.mark.parametrize("method", BLACK_BOX)
def test_same_seed_same_map_whatever_the_batch_and_the_global_generator(method):
    image = painted(LEFT, RIGHT)
    state = torch.get_rng_state()
    first = explained(method, additive, image, seed=3, batch_size=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    again = explained(method, additive, image, seed=3, batch_size=7)
    assert torch.equal(first.saliency, again.saliency)
    other = explained(method, additive, image, seed=4)
    assert METHODS[method].random != torch.equal(first.saliency, other.saliency)


@pytest.mark.parametrize("method", BLACK_BOX)
def test_a_target_that_nothing_touches_has_a_zero_map_and_a_note(method):
    image = painted(LEFT, RIGHT)
    detector = scoring(additive, boxes=([50, 2, 60, 12],))
    result = cs.explain(image, detector, [BOX], method=method, n_passes=200)
    if method == "rise":  # it does not ask where
        assert bool(result.saliency.any())
        return
    assert not bool(result.saliency.any())
    assert result.notes


@pytest.mark.parametrize("method", BLACK_BOX)
def test_a_picture_of_one_colour_is_explained_or_said_to_be_one(method):
    detector = PlantedDetector(BOX, torch.full((HEIGHT, WIDTH), 1 / (HEIGHT * WIDTH)))
    for brightness in (0.6, 0.0):
        image = torch.full((3, HEIGHT, WIDTH), brightness)
        result = cs.explain(image, detector, [BOX], method=method, n_passes=200)
        assert bool(torch.isfinite(result.saliency).all())
        if brightness == 0 and method != "rise":
            assert not bool(result.saliency.any())
        if method in ("lime", "kernelshap"):
            assert "one colour" in result.notes[0]


@pytest.mark.parametrize("method", BLACK_BOX)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (30, 40)])
def test_tiny_pictures_and_noise_are_explained_or_refused(method, size):
    """SLIC finds one region in noise, and one pixel cannot be cut."""
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    small_box = [0.2, 0.1, 0.4, 0.3]  # between the centres of pixels
    detector = scoring(lambda x: float(x.mean()))
    if size == (1, 1) and method in ("lime", "kernelshap"):
        with pytest.raises(InputError, match="cut into regions"):
            cs.explain(image, detector, [small_box], method=method)
        return
    result = cs.explain(image, detector, [small_box], method=method)
    assert bool(torch.isfinite(result.saliency).all())
    if method in ("lime", "kernelshap"):
        assert "are a grid, not superpixels" in result.notes[0]


def test_superpixels_follow_the_edges_and_leave_no_gap():
    image = painted(LEFT, RIGHT)
    regions = superpixels(image, 80)
    assert regions.unique().tolist() == list(range(int(regions.max()) + 1))
    inside = set(regions[LEFT].flatten().tolist())
    left = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    left[LEFT] = True
    covered = torch.isin(regions, torch.tensor(sorted(inside)))
    assert int((covered & ~left).sum()) < 0.5 * int(left.sum())
    assert superpixels(torch.full((3, 5, 9), 0.5), 6).shape == (5, 9)
    assert grid(3, 200, 10).unique().numel() == pytest.approx(10, abs=2)
    assert grid(1, 1, 50).tolist() == [[0]]


def test_evidence_at_hand_costs_no_pass_and_must_be_of_the_picture():
    image = painted(LEFT, RIGHT)
    detector = scoring(additive)
    evidence = cs.observe(image, detector, n_passes=120)

    def never(images):
        raise AssertionError("was asked")

    deaf = cs.load_detector(never, name=detector.info.name, min_score=0.0)
    rise = cs.explain(image, deaf, [BOX], method="rise", n_passes=120, evidence=evidence)
    assert rise.settings.n_passes == 120
    with pytest.raises(InputError, match="belongs to something else"):
        cs.explain(1 - image, detector, [BOX], method="rise", n_passes=120, evidence=evidence)


def test_unknown_method_names_those_there_are():
    with pytest.raises(UnknownNameError, match=r"unknown method 'lyme'.*lime"):
        explained("lyme", additive)


def test_no_target_no_pass():
    result = cs.explain(painted(), scoring(additive), [], method="lime")
    assert len(result) == 0
    assert result.settings.method == "lime"


def test_explanation_without_fidelity_comes_back_from_its_files(tmp_path):
    result = explained("occlusion", additive, n_passes=50)
    assert math.isnan(float(result.fidelity[0]))
    result.save(tmp_path / "it")
    back = cs.Explanation.load(tmp_path / "it")
    assert math.isnan(float(back.fidelity[0]))
    assert plain(back.manifest())["targets"][0]["fidelity"] is None
    assert torch.equal(back.saliency, result.saliency)


def test_catalogue_describes_every_method():
    for name, method in METHODS.items():
        told = method.describe()
        assert told["name"] == name
        assert told["source"]
        assert told["meaning"]
        assert method.n_passes >= 1


def test_every_target_gets_equal_passes_whether_they_are_shared_or_not():
    image, detector = painted(LEFT, RIGHT), scoring(additive)
    targets = [BOX, [18, 8, 40, 36]]
    shared = cs.explain(image, detector, targets, method="rise", n_passes=60)
    searched = cs.explain(image, detector, targets, method="search", n_passes=300)
    each = searched.settings.n_passes // 2
    assert equal_passes("occlusion", shared, "auto") == 60
    assert equal_passes("search", shared, "auto") == 2 * 60
    assert equal_passes("occlusion", searched, "auto") == each
    assert equal_passes("search", searched, "auto") == 2 * each
    assert equal_passes("gradcam", searched, "auto") == "auto"
    assert equal_passes("occlusion", searched, 77) == 77
