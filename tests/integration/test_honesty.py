"""No claim without something behind it: detectors that know nothing, or answer awkwardly."""

import zlib

import numpy as np
import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.errors import UndefinedMetricError
from chiaroscuro.evidence.estimators import estimate, n_answers
from chiaroscuro.metrics.localisation import context_share

HEIGHT, WIDTH = 96, 128
WHITE = torch.ones(3, HEIGHT, WIDTH)
BOX = [40.0, 30.0, 70.0, 64.0]
TARGET = cs.Target(box=BOX)
FAR = (100, 74, 124, 92)
ESTIMATORS = ("surrogate", "centred")


def explained(weights: Tensor, seed: int, estimator: str = "surrogate"):
    masks = cs.Masks(cs.MaskDesign(), HEIGHT, WIDTH, seed)
    return estimate(masks, WHITE, weights[None].float(), [TARGET], estimator)[0]


def noise(kind: str, n: int, seed: int) -> Tensor:
    values = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if kind == "uniform":
        return values
    if kind == "skewed":
        return values**6
    return 0.8 * (values < 1 / int(kind)).double()


def shown(n: int, seed: int, x1: int, y1: int, x2: int, y2: int) -> Tensor:
    masks = cs.Masks(cs.MaskDesign(), HEIGHT, WIDTH, seed)
    return masks.sample(0, n, torch.arange(y1, y2), torch.arange(x1, x2)).mean((1, 2))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", ["uniform", "skewed", "10", "50"])
def test_noise_has_no_fidelity_and_supports_no_share(kind: str, estimator: str) -> None:
    claims = []
    for seed in range(6):
        for n in (100, 1000):
            one = explained(noise(kind, n, seed), seed, estimator)
            claims.append(0.0 if np.isnan(one.fidelity) else one.fidelity)
            if estimator == "surrogate":
                with pytest.raises(UndefinedMetricError):
                    context_share(one.saliency, TARGET, one.standard_error)
    assert np.mean(claims) <= 0.2
    assert max(claims) <= 0.5


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_late_hits_are_too_few_to_judge(estimator: str) -> None:
    weights = torch.zeros(700)
    weights[600] = 0.9
    assert n_answers(weights) == pytest.approx(1, abs=0.01)
    one = explained(weights, 0, estimator)
    assert np.isnan(one.fidelity)
    assert not bool((one.saliency.abs() > 2 * one.standard_error).any())


def test_hits_that_come_late_are_weighed_with_all_masks() -> None:
    """The first 600 masks tell nothing: noise and scale are not those of the first alone."""
    weights = noise("uniform", 1000, 3)
    weights[:600] = 0
    one = explained(weights, 3)
    assert one.fidelity <= 0.5
    assert float((one.saliency.abs() > 2 * one.standard_error).float().mean()) < 0.01


def test_a_coin_does_not_stop_automatic_mode() -> None:
    def coin(images: Tensor) -> list[list[list[float]]]:
        values = [zlib.crc32(image.numpy().tobytes()) % 500 for image in images]
        return [[[*BOX, 0.9]] if value == 0 else [] for value in values]

    evidence = cs.observe(WHITE[:, :48, :64], coin, n_passes=600, targets=[[20, 15, 35, 32]])
    result = evidence.explain([[20, 15, 35, 32]])
    assert result.trust(0) in ("too few answers to judge", "too faint to tell")


def test_evidence_far_away_is_judged_where_it_is() -> None:
    weights = 0.2 + 0.6 * shown(200, 5, *FAR)
    one = explained(weights, 5)
    assert one.outside
    assert one.fidelity > 0.9
    near = explained(0.2 + 0.6 * shown(200, 5, 44, 36, 66, 48), 5)
    assert not near.outside


def test_far_evidence_stops_automatic_mode_and_is_said() -> None:
    def far(images: Tensor) -> list[list[list[float]]]:
        x1, y1, x2, y2 = FAR
        return [[[*BOX, 0.2 + 0.6 * float(i[:, y1:y2, x1:x2].mean())]] for i in images]

    evidence = cs.observe(WHITE, far, targets=[BOX])
    assert evidence.n_masks <= 300
    result = evidence.explain([BOX])
    assert result.trust(0) == "settled"
    assert any("outside the neighbourhood" in note for note in result.notes)


def test_no_fidelity_below_a_hundred_masks() -> None:
    weights = 0.2 + 0.6 * shown(98, 0, 44, 36, 66, 48)
    assert np.isnan(explained(weights, 0).fidelity)
    assert explained(0.2 + 0.6 * shown(100, 0, 44, 36, 66, 48), 0).fidelity > 0.8
