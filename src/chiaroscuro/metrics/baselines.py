"""Baselines: maps that explain nothing, to compare every score with.

A score is worth what it exceeds theirs by. None of them runs the detector; none has large areas of
one value, whose pixels would be in reading order.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.records import Target, as_targets
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.observe import usable_image

_CELLS = 16  # per side, of the random map: as smooth as a map from the default masks


def baseline(
    name: str, image: Any, target: object, seed: int = 0
) -> Float32[Tensor, "height width"]:
    """A baseline map for one target.

    Args:
        name: ``"box"``: the target's box, falling from its centre, negative outside; ``"centre"``:
            a Gaussian in the middle of the picture, a quarter of its sides wide; ``"edges"``: the
            strength of the picture's edges; ``"random"``: smooth noise.
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        target: Target, or box ``x1 y1 x2 y2``.
        seed: of the random map.

    Raises:
        UnknownNameError: on another name.
    """
    if name not in BASELINES:
        raise UnknownNameError("baseline", name, list(BASELINES))
    pixels = as_unit_floats(usable_image(image)[None])[0]
    return BASELINES[name](pixels, as_targets(target)[0], seed)


def _box(image: Tensor, target: Target, _seed: int) -> Tensor:
    """1 at the box's centre, 1/2 at its edges: thresholded at half, it is the box."""
    x1, y1, x2, y2 = target.box.tolist()
    x, y = _pixel_centres(image)
    across = (2 * x - x1 - x2).abs() / (x2 - x1)
    down = (2 * y - y1 - y2).abs() / (y2 - y1)
    outwards = torch.maximum(across[None, :], down[:, None])
    return torch.where(outwards < 1, 1 - outwards / 2, -outwards)


def _centre(image: Tensor, _target: Target, _seed: int) -> Tensor:
    height, width = image.shape[1:]
    x, y = _pixel_centres(image)
    across, down = (x / width - 0.5) / 0.25, (y / height - 0.5) / 0.25
    return torch.exp(-(down[:, None] ** 2 + across[None, :] ** 2) / 2)


def _edges(image: Tensor, _target: Target, seed: int) -> Tensor:
    """Gradient of the brightness by central differences, with noise of 1e-6 against ties."""
    brightness = image.mean(dim=0)
    strength = torch.zeros_like(brightness)
    for axis in (0, 1):
        if brightness.shape[axis] > 1:
            (slope,) = torch.gradient(brightness, dim=axis)
            strength += slope**2
    return strength.sqrt() + 1e-6 * torch.rand(
        brightness.shape, generator=_generator(seed), dtype=torch.float32
    )


def _random(image: Tensor, _target: Target, seed: int) -> Tensor:
    cells = torch.rand(1, 1, _CELLS, _CELLS, generator=_generator(seed), dtype=torch.float32)
    smooth = torch.nn.functional.interpolate(
        cells, tuple(image.shape[1:]), mode="bicubic", align_corners=False
    )
    return smooth[0, 0]


def _pixel_centres(image: Tensor) -> tuple[Tensor, Tensor]:
    height, width = image.shape[1:]
    x, y = (torch.arange(n, dtype=torch.float32) + 0.5 for n in (width, height))
    return x, y


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


BASELINES: dict[str, Callable[[Tensor, Target, int], Tensor]] = {
    "box": _box,
    "centre": _centre,
    "edges": _edges,
    "random": _random,
}
