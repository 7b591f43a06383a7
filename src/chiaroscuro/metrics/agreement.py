"""Do two maps of one target agree? Between seeds, fills and grids: the stability of a map.

Bengamra et al. 2023 worry that the many parameters of perturbation methods lead to diverging maps;
here is by how much. Correlations are over the target's neighbourhood, its box and the ring around
it: over a whole picture two maps agree for having their box in the same place.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import InputError, UndefinedMetricError
from chiaroscuro.core.plan import FILLS, MaskDesign
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import TargetsLike, as_targets
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import observe, usable_image
from chiaroscuro.metrics.maps import usable_map

_NOISE = 2 / 255


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two maps of one target agree.

    Attributes:
        linear: Pearson's correlation of the values, in [-1, 1].
        rank: Spearman's, of their ranks, equal values sharing the mean of theirs.
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
    """What ``stability`` compares with: one choice changed at a time.

    Another seed, the other fills, and grids of half and twice as many cells a side.
    """
    fill = design.fill if isinstance(design.fill, str) else "an image"
    rows, columns = design.grid
    changed = {"another seed": (design, seed + 1)}
    for other in FILLS:
        if other != fill:
            changed[f"fill {other}"] = (replace(design, fill=other), seed)
    for cells in ((max(1, rows // 2), max(1, columns // 2)), (2 * rows, 2 * columns)):
        changed[f"grid {cells[0]}x{cells[1]}"] = (replace(design, grid_size=cells), seed)
    return changed


def stability(
    image: Any,
    detector: Any,
    targets: TargetsLike,
    *,
    reference: Explanation | None = None,
    n_masks: int = 500,
    seed: int = 0,
    design: MaskDesign | None = None,
    estimator: str = "surrogate",
    batch_size: int | None = None,
    progress: Callable[[str, Progress], None] | None = None,
) -> dict[str, list[Agreement | None]]:
    """Agreement of every target's map with the maps that other choices would have given.

    Needs ``n_masks`` detector passes for each of ``variants``, and as many for the reference.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        detector: what was explained, or anything ``load_detector`` takes.
        targets: as for ``observe``.
        reference: maps to compare with, of these targets and this design; made when not given.
        n_masks: of every map.
        seed: of the reference.
        design: of the reference; the default design when None.
        estimator: of every map.
        batch_size: pictures a detector call.
        progress: called after every batch with the name of the variant.

    Returns:
        By name of the variant, one entry a target: None where either map is constant.

    Raises:
        InputError: if the reference has other targets.
    """
    image, detector = usable_image(image), load_detector(detector)
    height, width = image.shape[1:]
    wanted = tuple(target.inside(height, width) for target in as_targets(targets))
    design = design or MaskDesign()

    def maps(name: str, changed: MaskDesign, its_seed: int) -> Explanation:
        evidence = observe(
            image,
            detector,
            n_masks=n_masks,
            seed=its_seed,
            design=changed,
            batch_size=batch_size,
            progress=None if progress is None else lambda done: progress(name, done),
        )
        return evidence.explain(wanted, estimator=estimator)

    if reference is None:
        reference = maps("reference", design, seed)
    if len(reference) != len(wanted):
        raise InputError(f"reference: wanted maps of {len(wanted)} targets, got {len(reference)}")
    compared = {}
    for name, (changed, its_seed) in variants(design, seed).items():
        other = maps(name, changed, its_seed)
        compared[name] = [
            agreement_or_none(reference.saliency[i], other.saliency[i], target)
            for i, target in enumerate(wanted)
        ]
    return compared


def repeatability(
    image: Any,
    reference: Explanation,
    seed: int,
    explain: Callable[[Tensor, int], Explanation],
) -> dict[str, list[Agreement | None]]:
    """Agreement of every target's map with maps of another seed, and of a hardly changed picture.

    What any method can be asked for, where ``stability`` is about the choices of D-RISE. A method
    that draws nothing at random agrees with itself under another seed; noise that no eye sees may
    still turn its map over.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        reference: the maps, of this picture.
        seed: that they were made with.
        explain: makes maps of the same targets in the same way, of a picture and a seed.

    Returns:
        As ``stability``: ``"another seed"`` and ``"slight noise"``, uniform within two of 255
        levels of brightness.
    """
    image = usable_image(image)
    pixels = as_unit_floats(image[None])[0]
    generator = torch.Generator().manual_seed(seed)
    noise = (2 * torch.rand(pixels.shape, generator=generator, dtype=torch.float32) - 1) * _NOISE
    others = {
        "another seed": explain(image, seed + 1),
        "slight noise": explain((pixels + noise).clamp(0, 1), seed),
    }
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
