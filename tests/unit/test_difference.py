"""The difference of two maps: nothing where there is none."""

import math

import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.figures.legends import difference_legend
from chiaroscuro.metrics.difference import map_difference, n_cells_of, significance_limit

HEIGHT, WIDTH, CELL, DRAWS = 60, 84, 6, 120


def smooth_noise(generator: torch.Generator) -> Tensor:
    """Noise of standard deviation 1 that is as smooth as masks of ``CELL`` pixels make it."""
    white = torch.randn(1, 1, HEIGHT + 4 * CELL, WIDTH + 4 * CELL, generator=generator)
    for _ in range(2):
        white = torch.nn.functional.avg_pool2d(white, CELL, 1)
    noise = white[0, 0, :HEIGHT, :WIDTH]
    sides = torch.arange(1, CELL + 1, dtype=torch.float64)
    weights = torch.cat([sides, sides.flip(0)[1:]]) / CELL**2
    return noise / float((weights**2).sum())


def test_two_maps_that_differ_by_noise_are_blank() -> None:
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    truth = torch.exp(-((y - 25) ** 2 + (x - 50) ** 2) / 120.0)
    error = torch.full_like(truth, 0.05)
    n_cells = (HEIGHT // CELL) * (WIDTH // CELL)
    blank = 0
    for _ in range(DRAWS):
        first, second = (truth + error * smooth_noise(generator) for _ in range(2))
        difference = map_difference(first, second, error, error, n_cells)
        blank += not bool(difference.in_errors.any())
    assert blank >= 0.95 * DRAWS


def test_what_differs_is_shown_in_standard_errors() -> None:
    first = torch.zeros(HEIGHT, WIDTH)
    first[10:20, 10:20] = 1
    second = first.clone()
    second[40:50, 60:70] = 0.8
    error = torch.full_like(first, 0.05)
    difference = map_difference(first, second, error, error, 256)
    shown = difference.in_errors
    assert bool((shown[40:50, 60:70] > difference.limit).all())
    outside = shown.clone()
    outside[40:50, 60:70] = 0
    assert not bool(outside.any())
    expected = 0.8 / math.hypot(0.05, math.hypot(0.05, 0.8 * 0.05))
    assert float(shown[45, 65]) == pytest.approx(expected, rel=1e-4)
    told = difference_legend(difference, ("a", "b"))
    assert not told["blank"]
    assert "b relies on it more" in told["words"]
    assert "standard errors" in told["unit"]
    assert told["threshold"] == difference.limit


def test_a_unit_or_a_factor_is_no_difference() -> None:
    saliency = torch.rand(HEIGHT, WIDTH)
    error = torch.full_like(saliency, 0.01)
    difference = map_difference(saliency, 7 * saliency, error, 7 * error, 256)
    assert not difference.in_errors.any()
    assert "Nothing differs beyond chance" in difference_legend(difference, ("a", "b"))["words"]


def test_without_a_standard_error_nothing_is_claimed() -> None:
    first, second = torch.rand(2, HEIGHT, WIDTH)
    nothing = torch.zeros(HEIGHT, WIDTH)
    difference = map_difference(first, second, nothing, nothing, 256)
    assert not difference.known
    assert not difference.in_errors.any()
    assert "not known" in difference_legend(difference, ("a", "b"))["words"]


def test_the_limit_grows_with_the_places_looked_at() -> None:
    limits = [significance_limit(n) for n in (1, 16, 256, 4096)]
    assert limits == sorted(limits)
    assert 2 < limits[0] < 3.5
    assert limits[2] > 3.7  # that of Bonferroni over as many places


def test_cells_are_read_from_the_settings(image: Tensor) -> None:
    result = cs.explain(
        image,
        lambda images: [[[4, 4, 20, 20, float(p.mean())]] for p in images],
        [[4, 4, 20, 20]],
        n_passes=4,
        design=cs.MaskDesign(grid_size=(5, 7)),
    )
    assert n_cells_of(result.settings) == 35
    usual = cs.explain(image, lambda images: [[]] * len(images), ())
    assert n_cells_of(usual.settings) == 256
