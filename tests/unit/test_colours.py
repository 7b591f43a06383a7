"""What a colour claims: no colour of one sign on the other, nothing where nothing is known."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.plan import MaskDesign
from chiaroscuro.figures.colours import (
    LOWERS,
    RAISES,
    SIGNED,
    Scale,
    greyed,
    names,
    sides,
    value_text,
)
from chiaroscuro.figures.look import Look
from chiaroscuro.figures.overlay import overlay
from chiaroscuro.store.schema import MapSettings

HEIGHT, WIDTH = 40, 56


def maps() -> list[Tensor]:
    """Random maps: of either sign alone, of both, and far from symmetric."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(6, HEIGHT, WIDTH, generator=generator)
    return [
        noise[0],
        noise[1].abs(),
        -noise[2].abs(),
        noise[3] - 2.5,
        noise[4] ** 3,
        noise[5] * 1e-9,
    ]


def painting() -> Tensor:
    return torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def tints(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a picture over a grey ground is vermilion, and where blue: red less blue."""
    warmth = picture[..., 0].astype(int) - picture[..., 2].astype(int)
    return warmth > 1, warmth < -1


@pytest.mark.parametrize("noise", [None, 0.3])
@pytest.mark.parametrize("sign", ["all", "positive", "negative"])
def test_no_colour_means_the_other_sign(noise: float | None, sign: str) -> None:
    for saliency in maps():
        errors = None if noise is None else torch.full_like(saliency, noise * float(saliency.std()))
        scale = Scale.of(saliency, errors, sign=sign)
        vermilion, blue = tints(overlay(painting(), saliency, errors, scale=scale))
        values = saliency.numpy()
        assert (values[vermilion] > 0).all()
        assert (values[blue] < 0).all()
        if sign != "negative" and (values > 0).any():
            assert vermilion.any()
        if sign != "positive" and (values < 0).any():
            assert blue.any()
        assert not (blue.any() and sign == "positive")
        assert not (vermilion.any() and sign == "negative")


def test_zero_is_clear_and_in_the_middle() -> None:
    for saliency in maps():
        for name in (SIGNED, "coolwarm"):
            scale = Scale.of(saliency, name=name)
            assert scale.low == -scale.high
            assert scale.legend()["zero"] == pytest.approx(50)
        assert Scale.of(saliency).rgba(np.zeros(1))[0, 3] == 0
    for name in names():
        for saliency in maps():
            scale = Scale.of(saliency, name=name)
            assert scale.low <= 0 <= scale.high


def test_both_colours_are_as_light_and_told_apart_without_red_or_green_cones() -> None:
    """Lightness and hue in OKLab, and after the matrix of Machado et al. 2009 for deuteranopia."""
    srgb = np.array([to_rgb(LOWERS), to_rgb(RAISES)])
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    deuteranopia = np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    )
    seen = (light @ deuteranopia.T).clip(0, 1)
    lightness, _, _ = oklab(light).T
    assert lightness[0] == pytest.approx(lightness[1], abs=0.01)
    blue_yellow = oklab(seen)[:, 2]
    assert blue_yellow[0] < -0.1
    assert blue_yellow[1] > 0.05


def oklab(light: np.ndarray) -> np.ndarray:
    """Ottosson 2020, of linear sRGB ``n 3``."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(light @ cones.T) @ lab.T


@pytest.mark.parametrize("name", ["signed", "paper", "viridis", "coolwarm", "magma"])
def test_what_its_error_does_not_support_is_clear(name: str) -> None:
    saliency = maps()[0]
    errors = torch.full_like(saliency, 0.7)
    unsupported = (saliency.abs() < 2 * errors).numpy()
    drawn = overlay(painting(), saliency, errors, name)
    blank = overlay(painting(), saliency, torch.full_like(saliency, 1e9), name)
    assert unsupported.any()
    assert (~unsupported).any()
    assert (drawn[unsupported] == blank[unsupported]).all()
    assert (drawn[~unsupported] != blank[~unsupported]).any()
    grey = (greyed(painting().permute(1, 2, 0).numpy()) * 255).round().astype(np.uint8)
    assert (blank == grey).all()
    scale = Scale.of(saliency, torch.full_like(saliency, 1e9), name)
    assert scale.blank
    assert scale.legend()["blank"]


def test_the_picture_lends_no_colour() -> None:
    drawn = overlay(painting(), torch.zeros(HEIGHT, WIDTH))
    assert (drawn.max(axis=-1) == drawn.min(axis=-1)).all()


@pytest.mark.parametrize("name", ["signed", "paper", "viridis", "coolwarm"])
def test_the_legend_has_the_numbers_and_colours_of_the_map(name: str) -> None:
    saliency = maps()[3]
    scale = Scale.of(saliency, name=name)
    told = scale.legend()
    assert (told["low"], told["high"]) == (scale.low, scale.high)
    assert value_text(told["high"]) == told["high_text"]
    if not scale.below:
        assert scale.low <= float(saliency.min())
    assert scale.high >= float(saliency.max())
    values, colours = scale.ramp(9)
    assert np.allclose(colours, scale.rgba(values))
    assert np.allclose(scale.of_map(torch.tensor(values)[None].float())[0], colours, atol=0.03)


def test_the_legend_follows_sign_and_threshold() -> None:
    saliency = maps()[0]
    raising, lowering = (Scale.of(saliency, sign=sign) for sign in ("positive", "negative"))
    assert raising.legend()["low"] == 0
    assert raising.legend()["high"] == pytest.approx(float(saliency.max()))
    assert lowering.legend()["high"] == 0
    assert lowering.legend()["low"] == pytest.approx(float(saliency.min()))
    assert "lowers" not in raising.words("it raises", "it lowers")
    assert "raises" not in lowering.words("it raises", "it lowers")
    strongest = Scale.of(saliency, threshold=0.6)
    most = float(saliency.abs().max())
    assert strongest.legend()["threshold"] == pytest.approx(0.6 * most)
    values, colours = strongest.ramp()
    assert (colours[np.abs(values) < 0.6 * most, 3] == 0).all()
    assert (colours[np.abs(values) > 0.6 * most, 3] > 0).all()
    shown = strongest.of_map(saliency)[..., 3] > 0
    assert (shown == (saliency.abs() >= 0.6 * most).numpy()).all()
    assert value_text(0.6 * most).lstrip("+") in strongest.words("", "")


def test_the_scale_holds_zero_and_the_values_that_stand_out() -> None:
    def ends(values: list[float], name: str = "paper", noise: float = 0.0) -> tuple[float, float]:
        scale = Scale.of(torch.tensor([values]), torch.full((1, len(values)), noise), name)
        return pytest.approx((scale.low, scale.high))

    assert ends([0.2, 0.4]) == (0, 0.4)
    assert ends([-0.05, 0.4]) == (-0.05, 0.4)
    assert ends([-3.0, 0.4]) == (-0.1, 0.4)
    assert ends([-3.0, 0.4], "coolwarm") == (-3, 3)
    assert ends([-3.0, 0.4], "signed") == (-3, 3)
    assert ends([-3.0, -1.0]) == (-3, 0)
    assert ends([0.0, 0.0]) == (0, 1)
    assert ends([0.4, 5.0, -0.1], "signed", 0.15) == (-5, 5)
    clipped = Scale.of(torch.tensor([[-3.0, 0.4]]), name="paper")
    assert clipped.below
    assert clipped.legend()["low_text"].startswith("≤")


def test_numbers_have_a_sign_and_no_minus_zero() -> None:
    assert [value_text(v) for v in (0.0, -0.0, 0.0123, -2.5)] == ["0", "0", "+0.012", "−2.5"]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="signed"):
        Scale.of(torch.zeros(2, 3), name="rainbowish")
    with pytest.raises(UnknownNameError, match="light"):
        Look(ground="beige")
    with pytest.raises(UnknownNameError, match="negative"):
        Look(sign="both")


def made_by(method: str, estimator: str | None = None) -> MapSettings:
    return MapSettings(
        method=method,
        detector="x",
        n_passes=1,
        estimator=estimator,
        seed=0,
        design=MaskDesign(),
    )


def test_only_methods_that_show_parts_say_that_showing_raises() -> None:
    assert sides(made_by("drise", "surrogate"))[0] == "showing it raises the weight"
    assert sides(made_by("occlusion"), "the answer")[0] == "showing it raises the answer"
    for settings in (made_by("gradcam"), made_by("search"), made_by("drise", "paper")):
        favour, against = sides(settings)
        assert "raises" not in favour
        assert "lowers" not in against
