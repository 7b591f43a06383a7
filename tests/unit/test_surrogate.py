"""The surrogate finds what is there with few masks, and stays a prior."""

import numpy as np
import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.evidence.regression import RATIOS, log_evidence
from chiaroscuro.evidence.surrogate import (
    CHUNK,
    DOUBT,
    LINK_FLOOR,
    Surrogate,
    energy_near,
)
from chiaroscuro.testing import PlantedDetector

HEIGHT, WIDTH = 96, 128
BRIGHT = torch.ones(3, HEIGHT, WIDTH)


def detector_of(box: list[float], *patches: tuple[int, int, int, int, float]) -> PlantedDetector:
    """Reports ``box``; each patch x1 y1 x2 y2 adds its last number to the score when shown."""
    evidence = torch.zeros(HEIGHT, WIDTH)
    for x1, y1, x2, y2, value in patches:
        evidence[y1:y2, x1:x2] += value / ((x2 - x1) * (y2 - y1))
    return PlantedDetector(box, evidence, bias=0.3)


def near(box: list[float]) -> np.ndarray:
    inside, ring = cs.boxes.neighbourhood(torch.tensor(box), HEIGHT, WIDTH)
    return (inside | ring).numpy()


def correlation(first: Tensor, second: Tensor, where: np.ndarray) -> float:
    return float(np.corrcoef(first.numpy()[where], second.numpy()[where])[0, 1])


def test_covariance_of_masks_is_the_one_observed() -> None:
    masks = cs.Masks(cs.MaskDesign(grid_size=(5, 6)), 40, 54, seed=1)
    rows, columns = torch.arange(0, 40, 3), torch.arange(0, 54, 4)
    sample = masks.sample(0, 20000, rows, columns).double()
    sample = (sample - sample.mean(0)).reshape(20000, -1)
    observed = (sample.T @ sample / 20000).reshape(14, 14, 14, 14)
    factors = masks.covariance(0, rows, rows), masks.covariance(1, columns, columns)
    known = 0.25 * torch.einsum("ac,bd->abcd", *factors)
    torch.testing.assert_close(observed, known, atol=0.006, rtol=0)


def test_masks_in_pairs_are_complements() -> None:
    masks = cs.Masks(cs.MaskDesign(grid_size=4), 21, 34, seed=8).render(0, 6)
    torch.testing.assert_close(masks[0::2] + masks[1::2], torch.ones(3, 21, 34), atol=0, rtol=0)
    for design in (cs.MaskDesign(antithetic=False), cs.MaskDesign(keep_probability=0.6)):
        assert not design.in_pairs
        alone = cs.Masks(design, 21, 34, seed=8).render(0, 2)
        assert float((alone[0] + alone[1] - 1).abs().max()) > 0.5


def test_far_fewer_masks_than_the_covariance_needs() -> None:
    box = [40.0, 30.0, 70.0, 64.0]
    detector = detector_of(box, (44, 36, 66, 48, 0.3), (50, 62, 64, 76, 0.2))
    truth = cs.explain(BRIGHT, detector, [box], n_passes=3000, seed=99)
    scores = {
        name: np.mean(
            [
                correlation(
                    cs.explain(
                        BRIGHT, detector, [box], n_passes=80, seed=seed, estimator=name
                    ).saliency[0],
                    truth.saliency[0],
                    near(box),
                )
                for seed in range(4)
            ]
        )
        for name in ("centred", "surrogate")
    }
    assert scores["surrogate"] > 0.93
    assert 1 - scores["surrogate"] < (1 - scores["centred"]) / 2


def test_evidence_far_from_the_box_is_found() -> None:
    """With the default settings, at 500 masks."""
    box = [10.0, 12.0, 30.0, 36.0]
    detector = detector_of(box, (12, 14, 28, 34, 0.2), (96, 66, 112, 82, 0.3))
    saliency = cs.explain(BRIGHT, detector, [box], n_passes=500, seed=0).saliency[0]
    far = saliency.clone()
    far[:50, :60] = 0
    y, x = divmod(int(far.argmax()), WIDTH)
    assert 66 <= y < 82
    assert 96 <= x < 112
    assert float(far.max()) > 0.5 * float(saliency.max())
    result = cs.explain(BRIGHT, detector, [box], n_passes=500, seed=0)
    assert float(result.standard_error[0, y, x]) < 0.25 * float(far.max())


def test_a_corner_of_the_box_is_shown_not_the_box() -> None:
    box = [30.0, 20.0, 90.0, 80.0]
    detector = detector_of(box, (32, 22, 46, 36, 0.5))
    saliency = cs.explain(BRIGHT, detector, [box], n_passes=500, seed=0).saliency[0]
    y, x = divmod(int(saliency.argmax()), WIDTH)
    assert 22 <= y < 36
    assert 32 <= x < 46
    opposite = float(saliency[66:80, 76:90].abs().max())
    assert opposite < 0.1 * float(saliency.max())
    centre = float(saliency[46:54, 56:64].abs().max())
    assert centre < 0.25 * float(saliency.max())


def test_negative_evidence_is_negative() -> None:
    box = [40.0, 30.0, 70.0, 64.0]
    detector = detector_of(box, (44, 36, 66, 58, 0.4), (76, 40, 92, 56, -0.25))
    saliency = cs.explain(BRIGHT, detector, [box], n_passes=300, seed=0).saliency[0]
    y, x = divmod(int(saliency.argmin()), WIDTH)
    assert 38 <= y < 58
    assert 74 <= x < 94


def test_values_are_in_the_units_of_the_covariance() -> None:
    box = [40.0, 30.0, 70.0, 64.0]
    detector = detector_of(box, (44, 36, 66, 58, 0.4))
    long_run = cs.explain(BRIGHT, detector, [box], n_passes=2500, estimator="centred").saliency[0]
    short = cs.explain(BRIGHT, detector, [box], n_passes=300).saliency[0]
    assert float(short.max()) == pytest.approx(float(long_run.max()), rel=0.1)


def test_published_masks_do_too() -> None:
    """Without antithetic pairs, and with other keep probabilities."""
    box = [40.0, 30.0, 70.0, 64.0]
    detector = detector_of(box, (44, 36, 66, 48, 0.4))
    for design in (cs.MaskDesign(antithetic=False), cs.MaskDesign(keep_probability=0.7)):
        saliency = cs.explain(BRIGHT, detector, [box], n_passes=200, design=design).saliency[0]
        y, x = divmod(int(saliency.argmax()), WIDTH)
        assert 34 <= y < 50
        assert 42 <= x < 68


def test_same_bits_with_any_number_of_threads() -> None:
    box = [40.0, 30.0, 70.0, 64.0]
    detector = detector_of(box, (44, 36, 66, 48, 0.4))
    evidence = cs.observe(BRIGHT, detector, n_passes=301)
    results = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        results.append(evidence.explain([box]))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert torch.equal(results[0].saliency, results[1].saliency)
    assert torch.equal(results[0].saliency, results[2].saliency)
    assert torch.equal(results[0].standard_error, results[2].standard_error)


@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize("n", [60, 2 * CHUNK + 90])
def test_the_posterior_is_that_of_ridge_regression_by_hand(antithetic: bool, n: int) -> None:
    """Few masks, equations a mask; and more than one chunk, equations an unknown from moments."""
    design = cs.MaskDesign(grid_size=4, antithetic=antithetic)
    masks = cs.Masks(design, 40, 54, seed=3)
    noise_of_weights = torch.rand(2, n, generator=torch.Generator().manual_seed(1))
    shown = masks.sample(0, n, torch.arange(12, 20), torch.arange(14, 24)).mean((1, 2))
    weights = 0.2 + 0.3 * shown + 0.4 * noise_of_weights
    model = Surrogate(masks, torch.ones(3, 40, 54), weights)
    target = cs.Target(box=[10, 8, 30, 26])
    fit = model.fit(1, target)

    fields = masks.sample(0, n, model.rows, model.columns).double().numpy()
    w = weights[1].double().numpy()
    y = np.log((w + LINK_FLOOR) / (1 + LINK_FLOOR - w))
    if antithetic:
        fields, y = (fields[0::2] - fields[1::2]) / 2, (y[0::2] - y[1::2]) / 2
    else:
        fields, y = fields - fields.mean(0), y - y.mean()
    envelope, down, right = (part.numpy() for part in model._spread(fit.prior, target))
    x = np.einsum("nrc,rc,ri,cj->nij", fields, envelope, down, right).reshape(len(y), -1)
    likelihood, noises, _, _ = log_evidence(torch.from_numpy(x), torch.from_numpy(y))
    best = int(likelihood.argmax())
    ratio, noise = float(RATIOS[best]), float(noises[best])
    gain = float(likelihood[best]) + 0.5 * len(y) * np.log((y**2).mean())
    p = 1 / (1 + np.exp(DOUBT - gain))
    assert p > 0.2
    precision = x.T @ x + np.eye(x.shape[1]) / ratio
    u = np.linalg.solve(precision, x.T @ y)
    b = envelope * (down @ u.reshape(down.shape[1], -1) @ right.T)
    slope = ((w + LINK_FLOOR) * (1 + LINK_FLOOR - w) / (1 + 2 * LINK_FLOOR)).mean()
    rows = masks.covariance(0, torch.arange(40), model.rows).numpy()
    columns = masks.covariance(1, torch.arange(54), model.columns).numpy()
    whole = 0.25 * slope * (rows @ b @ columns.T)
    expected = p * whole
    np.testing.assert_allclose(
        fit.saliency, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max()
    )
    along = masks.covariance(0, model.rows, model.rows).numpy()[3]
    across = masks.covariance(1, model.columns, model.columns).numpy()[5]
    point = (down.T @ (np.outer(along, across) * envelope) @ right).reshape(-1)
    place = int(model.rows[3]), int(model.columns[5])
    variance = (0.25 * slope) ** 2 * noise * point @ np.linalg.solve(precision, point)
    error = np.sqrt(p * (variance + (1 - p) * whole[place] ** 2))
    assert float(fit.standard_error[place]) == pytest.approx(error, rel=0.05)  # off the lattice


@pytest.mark.parametrize("n_masks", [1, 2, 3, 4, 5])
def test_hardly_any_masks_are_no_crash(n_masks: int) -> None:
    box = [40.0, 30.0, 70.0, 64.0]
    detector = detector_of(box, (44, 36, 66, 48, 0.4))
    result = cs.explain(BRIGHT, detector, [box], n_passes=n_masks)
    assert bool(torch.isfinite(result.saliency).all())
    assert bool(result.fidelity.isnan())
    assert result.trust(0) == result.fidelity_text(0) == "forming"
    assert any("too few to judge" in note for note in result.notes)


def test_tiny_boxes_and_pictures() -> None:
    for size, box in [
        ((1, 1), [0, 0, 1, 1]),
        ((3, 200), [5.2, 1.1, 5.4, 1.3]),
        ((50, 2), [0, 9, 2, 30]),
    ]:
        masks = cs.Masks(cs.MaskDesign(), *size)
        model = Surrogate(masks, torch.rand(3, *size), torch.rand(1, 40))
        fit = model.fit(0, cs.Target(box=box))
        assert fit.saliency.shape == size
        assert bool(torch.isfinite(fit.saliency).all())
        assert bool(torch.isfinite(fit.standard_error).all())


def test_a_black_picture_under_a_black_fill_is_no_crash() -> None:
    masks = cs.Masks(cs.MaskDesign(), 30, 40)
    model = Surrogate(masks, torch.zeros(3, 30, 40), torch.rand(1, 40))
    fit = model.fit(0, cs.Target(box=[3, 3, 9, 9]))
    assert bool(torch.isfinite(fit.saliency).all())


def test_energy_near_counts_what_its_error_supports() -> None:
    saliency, error = torch.zeros(40, 56), torch.full((40, 56), 0.1)
    target = cs.Target(box=[4, 4, 12, 12])
    assert energy_near(saliency, error, target) is None
    saliency[6:8, 6:8] = 0.5  # four pixels in the box
    saliency[30:32, 40:44] = -0.5  # eight far away, of the other sign
    saliency[20:30, 20:30] = 0.15  # within two errors of zero
    assert energy_near(saliency, error, target) == pytest.approx(1 / 3)
