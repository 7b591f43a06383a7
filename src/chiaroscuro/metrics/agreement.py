"""Agreement of two maps of one target: between seeds, fills and grids it is a map's stability.

Bengamra et al. 2023 worry that the many parameters of perturbation methods lead to diverging maps;
these figures measure by how much. Correlations are over the target's neighbourhood, its box and the
ring around it: over a whole picture two maps agree because their box is in the same place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import attrs
import torch
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import InputError, UndefinedMetricError
from chiaroscuro.core.plan import FILLS, MaskDesign
from chiaroscuro.core.records import as_targets
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import usable_image
from chiaroscuro.metrics.maps import usable_map

_NOISE = 2 / 255


@dataclass(frozen=True, slots=True)
class Agreement:
    """Correlations of two maps of one target.

    Attributes:
        linear: Pearson's correlation of the values, in [-1, 1].
        rank: Spearman's, of their ranks; equal values share the mean of their ranks.
    """

    linear: float
    rank: float


def agreement(first: Any, second: Any, target: Any) -> Agreement:
    """Correlation of two maps over the target's box and the ring around it.

    Args:
        first: ``height width``, raw: a tensor, a NumPy array or lists.
        second: likewise; the units may differ.
        target: Target, or box ``x1 y1 x2 y2``.

    Raises:
        InputError: on maps of two sizes, or with NaN.
        UndefinedMetricError: if either is constant there.
    """
    first = usable_map(first)
    second = usable_map(second, (first.shape[0], first.shape[1]))
    inside, ring = boxes.neighbourhood(as_targets(target)[0].box, *first.shape)
    near = inside | ring
    pair = torch.stack([first[near], second[near]]).double()
    if pair.shape[1] < 2 or bool((pair.max(dim=1).values == pair.min(dim=1).values).any()):
        raise UndefinedMetricError(
            "agreement: a map is constant in the box and around it; count it, do not average it in"
        )
    ranks = torch.stack([_ranks(values) for values in pair])
    return Agreement(
        linear=float(torch.corrcoef(pair)[0, 1]), rank=float(torch.corrcoef(ranks)[0, 1])
    )


def variants(design: MaskDesign, seed: int) -> dict[str, tuple[MaskDesign, int]]:
    """Designs and seeds with one choice changed: the seed, the fill, the cells per side.

    Grids have half and twice as many cells per side.
    """
    fill = design.fill if isinstance(design.fill, str) else "an image"
    rows, columns = design.grid
    changed = {"another seed": (design, seed + 1)}
    for other in FILLS:
        if other != fill:
            changed[f"fill {other}"] = (attrs.evolve(design, fill=other), seed)
    for cells in ((max(1, rows // 2), max(1, columns // 2)), (2 * rows, 2 * columns)):
        changed[f"grid {cells[0]}x{cells[1]}"] = (attrs.evolve(design, grid_size=cells), seed)
    return changed


def stability(
    reference: Explanation,
    design: MaskDesign,
    seed: int,
    explain: Callable[[MaskDesign, int], Explanation],
) -> dict[str, list[Agreement | None]]:
    """Agreement of every target's map with those of another seed, other fills and other grids.

    Args:
        reference: the maps, by a method with masks.
        design: of their masks.
        seed: of their masks.
        explain: makes maps of the same targets by the same method, from a design and a seed.

    Returns:
        By name of the variant, one entry per target: None where either map is constant.

    Raises:
        InputError: if ``explain`` makes maps of more or fewer targets.
    """
    return compared(
        reference,
        {name: explain(*choices) for name, choices in variants(design, seed).items()},
    )


def repeatability(
    image: Any,
    reference: Explanation,
    seed: int,
    explain: Callable[[Tensor, int], Explanation],
) -> dict[str, list[Agreement | None]]:
    """Agreement of every target's map with maps of another seed and of a slightly changed picture.

    For any method, where ``stability`` is about the choices of D-RISE. A method without random
    choices agrees with itself under another seed; invisible noise may still change its map.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        reference: the maps, of this picture.
        seed: that they were made with.
        explain: makes maps of the same targets in the same way, from a picture and a seed.

    Returns:
        As ``stability``: ``"another seed"`` and ``"slight noise"``, uniform within two of 255
        levels of brightness.

    Raises:
        InputError: as for ``stability``.
    """
    image = usable_image(image)
    pixels = as_unit_floats(image[None])[0]
    generator = torch.Generator().manual_seed(seed)
    noise = (2 * torch.rand(pixels.shape, generator=generator, dtype=torch.float32) - 1) * _NOISE
    others = {
        "another seed": explain(image, seed + 1),
        "slight noise": explain((pixels + noise).clamp(0, 1), seed),
    }
    return compared(reference, others)


def compared(
    reference: Explanation, others: Mapping[str, Explanation]
) -> dict[str, list[Agreement | None]]:
    """Agreement of every target's map with its other maps; None where either is constant."""
    for other in others.values():
        if len(other) != len(reference):
            raise InputError(
                f"reference: wanted maps of {len(other)} targets, got {len(reference)}"
            )
    return {
        name: [
            agreement_or_none(reference.saliency[i], other.saliency[i], target)
            for i, target in enumerate(reference.targets)
        ]
        for name, other in others.items()
    }


def agreement_or_none(first: Any, second: Any, target: Any) -> Agreement | None:
    """The agreement, or None where a map is constant near the target."""
    try:
        return agreement(first, second, target)
    except UndefinedMetricError:
        return None


def _ranks(values: Tensor) -> Tensor:
    place: Tensor
    counts: Tensor
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum(0).double() - (counts - 1).double() / 2)[place]
