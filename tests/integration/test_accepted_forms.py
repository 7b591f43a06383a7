"""Metrics and figures take what ``cs.explain`` takes: functions, NumPy maps, PIL pictures."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.errors import InputError, TargetError
from chiaroscuro.core.records import Truth
from chiaroscuro.figures import draw
from chiaroscuro.figures.look import Look
from chiaroscuro.figures.overlay import overlay, pixels
from chiaroscuro.metrics import MappedPicture

HEIGHT, WIDTH = 40, 64
BOX = [30, 10, 54, 34]


def find(images: Tensor) -> list[list[list[float]]]:
    return [[[*BOX, 0.9 * float(p[:, 10:34, 30:54].mean())]] for p in images]


@pytest.fixture(scope="module")
def array() -> np.ndarray[Any, Any]:
    pixels = np.full((HEIGHT, WIDTH, 3), 10, np.uint8)
    pixels[10:34, 30:54] = 240
    return pixels


PICTURES: dict[str, Callable[[np.ndarray[Any, Any], Path], Any]] = {
    "tensor": lambda a, _: torch.from_numpy(a).permute(2, 0, 1).contiguous(),
    "array": lambda a, _: a,
    "PIL": lambda a, _: Image.fromarray(a),
    "path": lambda a, folder: saved(a, folder),
    "text": lambda a, folder: str(saved(a, folder)),
}


def saved(array: np.ndarray[Any, Any], folder: Path) -> Path:
    Image.fromarray(array).save(folder / "a.png")
    return folder / "a.png"


def ramp() -> Tensor:
    """Highest in the box."""
    return cs.metrics.baseline("box", torch.zeros(3, HEIGHT, WIDTH), BOX)


MAPS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda m: m,
    "array": lambda m: m.numpy().astype(np.float64),
    "read-only array": lambda m: read_only(m),
    "lists": lambda m: m.tolist(),
    "requires grad": lambda m: m.clone().requires_grad_(),
}


def read_only(saliency: Tensor) -> np.ndarray[Any, Any]:
    made = saliency.numpy().copy()
    made.flags.writeable = False
    return made


def metrics_of(image: Any, saliency: Any) -> Iterator[Any]:
    m = cs.metrics
    for curve in (m.insertion, m.deletion):
        yield curve(image, find, BOX, saliency, protocol="xplique").area
    yield m.changed_picture(image, BOX, saliency, "deletion", 0.2).sum().item()
    yield m.pointing_game(saliency, BOX)
    for of_map in (
        m.energy_pointing_game,
        m.map_iou,
        m.box_coverage,
        m.irrelevant_attention,
        m.context_share,
        lambda s, box: m.agreement(s, s, box),
    ):
        yield of_map(saliency, BOX)
    yield m.baseline("edges", image, BOX).sum().item()
    picture = MappedPicture(
        name="a", image=image, targets=[BOX], saliency=[saliency], truth=Truth(boxes=[BOX])
    )
    yield m.collection_curves([picture], find, "xplique")[0].ap50.tolist()
    yield overlay(image, saliency).sum()
    yield Look().scale(saliency)


@pytest.mark.parametrize("form", MAPS)
def test_maps_of_every_form(form: str, array: np.ndarray[Any, Any]) -> None:
    got, wanted = metrics_of(array, MAPS[form](ramp())), metrics_of(array, ramp())
    for one, other in zip(got, wanted, strict=True):
        assert one == pytest.approx(other) if isinstance(one, float) else one == other


@pytest.mark.parametrize("form", PICTURES)
def test_pictures_of_every_form(form: str, array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    image = PICTURES[form](array, tmp_path)
    assert list(metrics_of(image, ramp())) == list(
        metrics_of(PICTURES["tensor"](array, tmp_path), ramp())
    )
    result = cs.explain(image, find, [BOX], n_passes=8)
    assert draw.target_figure(image, result, 0).axes
    assert draw.contact_sheet(image, result).axes
    assert pixels(image).tolist() == array.tolist()
    again = cs.metrics.repeatability(
        image, result, 0, lambda i, seed: cs.explain(i, find, [BOX], n_passes=8, seed=seed)
    )
    assert "slight noise" in again


@pytest.mark.parametrize(
    ("saliency", "says"),
    [
        ("map.png", "wanted a map"),
        (np.zeros((2, HEIGHT, WIDTH)), r"got \(2, 40, 64\)"),
        ([[1.0, 2.0], [3.0]], "wanted a map"),
        (np.full((HEIGHT, WIDTH), np.nan), "got NaN"),
    ],
)
def test_what_is_no_map_is_refused(saliency: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        cs.metrics.pointing_game(saliency, BOX)


def test_a_map_of_another_size_is_no_overlay(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InputError, match=r"picture's size \(40, 64\), got \(64, 40\)"):
        overlay(array, ramp().T)


def test_two_boxes_are_not_one() -> None:
    with pytest.raises(TargetError, match="wanted one box x1 y1 x2 y2, got 2"):
        cs.metrics.pointing_game(ramp(), [BOX, BOX])
