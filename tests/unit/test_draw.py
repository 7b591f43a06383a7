from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import chiaroscuro as cs
from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.records import as_targets
from chiaroscuro.figures import draw, encode
from chiaroscuro.figures.look import Look
from chiaroscuro.figures.overlay import overlay
from chiaroscuro.store.schema import MapSettings


def ramp() -> torch.Tensor:
    return torch.linspace(-1, 1, 40)[:, None].expand(40, 56).clone()


def test_high_is_vermilion_and_low_is_blue() -> None:
    picture = overlay(torch.full((3, 40, 56), 0.5), ramp())
    red, blue = picture[-1, 0].astype(int), picture[0, 0].astype(int)
    assert red[0] > red[2] + 40
    assert blue[2] > blue[0] + 40


def test_values_without_significance_are_clear() -> None:
    image, saliency = torch.full((3, 40, 56), 0.5), ramp()
    noise = torch.full((40, 56), 100.0)
    strong = np.abs(overlay(image, saliency).astype(float) - 127.5).mean()
    clear = np.abs(overlay(image, saliency, noise).astype(float) - 127.5).max()
    assert strong > 20
    assert clear < 1


def test_a_nearly_black_picture_is_lifted_and_its_forms_stay() -> None:
    dark = torch.full((3, 40, 56), 0.01)
    dark[:, 10:30, 20:40] = 0.06
    shown = overlay(dark, torch.zeros(40, 56)).astype(int)
    form = shown[15, 30].sum() - shown[5, 5].sum()
    assert form > 40


@pytest.mark.parametrize(
    "look",
    [
        Look(),
        Look(colours="paper", ground="light"),
        Look(colours="viridis", sign="positive", threshold=0.3),
        Look(colours="coolwarm", sign="negative"),
        Look(contours=True),
    ],
)
def test_figures_of_results(image: torch.Tensor, tmp_path: Path, look: Look) -> None:
    result = cs.explain(
        image,
        lambda images: [[[4, 4, 20, 20, float(p.mean())]] for p in images],
        [[4, 4, 20, 20], [30, 9, 50, 30]],
        n_passes=12,
    )
    others = cs.Proposals(boxes=[[4, 4, 20, 20], [1, 1, 9, 9]], scores=[0.5, 0.4])
    one = encode.save(draw.target_figure(image, result, 0, others, look), tmp_path / "one.png")
    sheet = encode.save(
        draw.contact_sheet(image, result, others, "A painting", look, ["face", "missed face"]),
        tmp_path / "sheet.png",
    )
    with Image.open(one) as picture, Image.open(sheet) as whole:
        assert picture.size[0] > 300
        assert whole.size[0] > 2 * picture.size[0]
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (pixels[-1, -1] > 200).all() == (look.ground == "light")
    green = (pixels[..., 1] > 200) & (pixels[..., 0] < 120) & (pixels[..., 2] < 120)
    assert green.sum() > 50  # the target's box


def test_an_empty_result_still_has_a_sheet(image: torch.Tensor, tmp_path: Path) -> None:
    result = cs.explain(image, lambda images: [[]] * len(images))
    path = encode.save(draw.contact_sheet(image, result), tmp_path / "sheet.png")
    assert path.stat().st_size > 1000


def test_tall_and_wide_pictures(tmp_path: Path) -> None:
    for size in ((300, 20), (20, 300), (1, 1)):
        image = torch.rand(3, *size)
        result = cs.explain(
            image, lambda images: [[[0, 0, 1, 1, 0.5]]] * len(images), [[0, 0, 1, 1]], n_passes=4
        )
        assert encode.save(draw.contact_sheet(image, result), tmp_path / "s.png").exists()


def test_unknown_colours_are_refused(image: torch.Tensor) -> None:
    with pytest.raises(UnknownNameError, match="signed"):
        overlay(image, torch.zeros(40, 56), colours="rainbowish")


def test_the_bar_beside_a_map_is_its_scale(image: torch.Tensor) -> None:
    result = cs.explain(
        image,
        lambda images: [[[4, 4, 20, 20, float(p.mean())]] for p in images],
        [[4, 4, 20, 20]],
        n_passes=40,
    )
    for look in (
        Look(),
        Look(sign="positive", threshold=0.5),
        Look(colours="paper"),
    ):
        scale = look.scale(result.saliency[0], result.standard_error[0])
        figure = draw.target_figure(image, result, 0, look=look)
        _, bar = figure.axes
        values, _ = scale.ramp()
        assert bar.get_ylim() == pytest.approx((values[0], values[-1]))
        assert result.meaning.split()[0] in figure._supxlabel.get_text()


def test_contours_follow_the_sign(image: torch.Tensor) -> None:
    def figure_of(saliency: torch.Tensor) -> list[str]:
        result = cs.Explanation(
            targets=as_targets([[4, 4, 20, 20]]),
            saliency=saliency[None],
            standard_error=torch.zeros(1, 40, 56),
            fidelity=torch.ones(1),
            mean_weight=torch.ones(1),
            settings=MapSettings(
                method="drise", detector="x", n_passes=1, seed=0, design=cs.MaskDesign()
            ),
        )
        (axes,) = draw.target_figure(image, result, 0, look=Look(contours=True)).axes
        return [
            "solid" if dashes is None else "dashed"
            for lines in axes.collections
            for _, dashes in lines.get_linestyle()
        ]

    assert {*figure_of(ramp())} == {"solid", "dashed"}
    assert {*figure_of(ramp().clamp(min=0))} == {"solid"}
    assert figure_of(torch.zeros(40, 56)) == []
