"""Windows round targets, and the certificate that lets them be used."""

import pytest
import torch

from chiaroscuro.core.records import as_targets
from chiaroscuro.core.windows import MARGINS, grouped, window_around
from chiaroscuro.evidence.certificate import LEAST, certificate, fails, holds


@pytest.mark.parametrize("stride", [32.0, 25.6])
def test_corners_are_on_the_grid_and_inside_the_picture(stride: float) -> None:
    window = window_around(torch.tensor([300.0, 20, 333, 60]), (400, 610), stride, MARGINS[0])
    for corner in (window.x1, window.x2):
        assert abs(corner / stride - round(corner / stride)) * stride <= 0.5
    assert window.y1 == 0
    assert window.x1 <= 300 - 96 < window.x1 + stride
    assert window.x2 - stride < 333 + 96 <= window.x2
    low = window_around(torch.tensor([560.0, 380, 610, 400]), (400, 610), stride, MARGINS[0])
    assert (low.x2, low.y2) == (610, 400)


def test_windows_are_merged_where_that_saves_pixels() -> None:
    near, far = (0, 0, 20, 20), (900, 900, 920, 920)
    targets = as_targets([near, (30, 0, 50, 20), far])
    groups = grouped(targets, range(3), (1000, 1000), 32.0, MARGINS[0])
    assert [group.targets for group in groups] == [(0, 1), (2,)]
    assert all(groups[0].window.holds(target.box) for target in targets[:2])
    many = as_targets(torch.rand(1000, 2).mul(900).repeat(1, 2) + torch.tensor([0, 0, 20, 20]))
    (one,) = grouped(many, range(1000), (1000, 1000), 32.0, MARGINS[0])
    assert len(one.targets) == 1000
    assert one.window.area <= 1000 * 1000


def test_a_target_that_fills_the_picture_has_no_window() -> None:
    targets = as_targets([(10, 10, 290, 290), (0, 0, 12, 12)])
    groups = grouped(targets, range(2), (300, 300), 32.0, (0.1, 8.0))
    assert [group.targets for group in groups] == [(1,)]


def test_the_certificate_says_how_sure_it_is() -> None:
    generator = torch.Generator().manual_seed(1)
    full = torch.rand(64, generator=generator)
    noise = torch.randn(64, generator=generator)
    assert holds(certificate(full[:8], full[:8]))
    unlike = certificate(full, (full + noise).clamp(0, 1))
    assert fails(unlike)
    assert not holds(unlike)
    assert unlike.low < unlike.correlation < unlike.high
    rare = torch.zeros(64)
    rare[5] = 0.4  # one answer is no evidence of agreement
    assert not holds(certificate(rare, rare))
    biased = certificate(full, full * 0.5)
    assert biased.bias == pytest.approx(-0.5 * float(full.mean()), abs=1e-6)
    assert biased.bias_error > 0
    nothing = certificate(torch.zeros(16), torch.zeros(16))
    assert not holds(nothing)
    assert nothing.correlation == 0


def test_hardly_any_window_is_believed_that_correlates_less() -> None:
    """1000 windows just below the limit, each looked at as an observation does."""
    generator = torch.Generator().manual_seed(4)
    believed = 0
    for _ in range(1000):
        full = torch.rand(64, generator=generator)
        noise = torch.randn(64, generator=generator) * full.std()
        truth = LEAST - 0.01
        window = truth * full + (1 - truth**2) ** 0.5 * noise
        believed += any(holds(certificate(full[:n], window[:n])) for n in (8, 16, 32, 64))
    assert believed / 1000 < 0.03
