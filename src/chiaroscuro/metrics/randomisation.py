"""Dependence of a map on what the detector learned: its weights are destroyed, part after part.

A map that stays the same while the network behind it loses all it learned shows the picture, not
the detector. From the output backwards, as the cascading test of Adebayo et al., Sanity Checks for
Saliency Maps, NeurIPS 2018, arXiv:1810.03292, section 3.1. The entries of every parameter are
shuffled instead of replaced by random numbers: that keeps each layer's scale, so that signals
neither die out nor overflow for reasons that have nothing to do with what was learned.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from chiaroscuro.core.errors import InputError
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.detectors.protocol import torch_form, torch_network
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.metrics.agreement import Agreement, compared


@dataclass(frozen=True, slots=True)
class RandomisedStage:
    """Maps of a detector with some of its weights shuffled.

    Attributes:
        share: of all parameters that were shuffled, in (0, 1].
        layer: the earliest layer among them.
        mean_weight: one per target, in [0, 1]: mean of the mask weights; 0 where the detector no
            longer reports anything near it; None for a method without masks.
        agreement: one per target, with the original detector's map; None where either map is
            constant, as it is when the target is no longer detected at all.
    """

    share: float
    layer: str
    mean_weight: tuple[float | None, ...]
    agreement: tuple[Agreement | None, ...]


def randomised(
    detector: Any, stages: int = 4, seed: int = 0
) -> Iterator[tuple[float, str, Detector]]:
    """The detector with more and more of its weights shuffled, from its last layer to its first.

    Layers are in the order in which the network registers them, which is that of the forward pass
    in every network we know. The detector itself is not changed.

    Yields:
        Share of the parameters shuffled so far, the earliest layer among them, and the detector.
    """
    changed = copy.deepcopy(torch_form(load_detector(detector)))
    network = torch_network(changed)
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if any(True for _ in layer.parameters(recurse=False))
    ]
    if stages < 1 or not layers:
        raise InputError(
            f"stages: wanted at least 1, of a network with weights; got {stages} of {len(layers)} "
            "layers"
        )
    stages = min(stages, len(layers))
    total = sum(parameter.numel() for parameter in network.parameters())
    generator = torch.Generator().manual_seed(seed)
    done = 0
    end = len(layers)
    for stage in range(1, stages + 1):
        start = len(layers) - round(stage * len(layers) / stages)
        for _, layer in reversed(layers[start:end]):
            done += _shuffle(layer, generator)
        end = start
        yield done / total, layers[start][0], changed


def randomisation(
    detector: Any,
    reference: Explanation,
    explain: Callable[[Detector], Explanation],
    *,
    stages: int = 4,
    seed: int = 0,
) -> list[RandomisedStage]:
    """Agreement of the detector's maps with those of ever more randomised detectors.

    Args:
        detector: one that runs a torch network, or anything ``load_detector`` takes.
        reference: its maps.
        explain: makes maps of the same targets in the same way, of another detector.
        stages: as for ``randomised``.
        seed: of the shuffling.

    Raises:
        InputError: as ``randomised`` does, or if ``explain`` makes maps of more or fewer targets.
    """
    rows = []
    for share, layer, changed in randomised(detector, stages, seed):
        result = explain(changed)
        (agreements,) = compared(reference, {layer: result}).values()
        weights = tuple(None if math.isnan(w) else w for w in result.mean_weight.tolist())
        rows.append(RandomisedStage(share, layer, weights, tuple(agreements)))
    return rows


def _shuffle(layer: nn.Module, generator: torch.Generator) -> int:
    count = 0
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            order = torch.randperm(parameter.numel(), generator=generator)
            values = parameter.flatten()[order.to(parameter.device)]
            parameter.copy_(values.view(parameter.shape))
            count += parameter.numel()
    return count
