"""Shares of a map's evidence in the box, in the ring around it, and beyond."""

from dataclasses import dataclass
from typing import Any

import torch

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import UndefinedMetricError
from chiaroscuro.core.records import as_targets
from chiaroscuro.metrics.maps import usable_map

SUPPORTED = 2.0  # standard errors that a value must exceed to count


@dataclass(frozen=True, slots=True)
class ContextShare:
    """Shares of the positive evidence; they add up to 1.

    Attributes:
        box: in the box.
        ring: outside it, nearer than the square root of its area.
        beyond: anywhere else.
    """

    box: float
    ring: float
    beyond: float


def context_share_or_none(saliency: Any, target: Any, standard_error: Any) -> ContextShare | None:
    """The shares, or None where no positive value counts."""
    try:
        return context_share(saliency, target, standard_error)
    except UndefinedMetricError:
        return None


def context_share(saliency: Any, target: Any, standard_error: Any = None) -> ContextShare:
    """Where the positive evidence lies.

    Far from the box a map is mostly noise, and noise over a large picture sums up. So with a
    standard error, only values more than twice as large count.

    Args:
        saliency: raw map, ``height width``: a tensor, a NumPy array or lists.
        target: Target, or box ``x1 y1 x2 y2``.
        standard_error: ``height width``; without it every positive value counts.

    Raises:
        UndefinedMetricError: if no positive value counts.
        InputError: as for ``pointing_game``.
    """
    saliency = usable_map(saliency)
    evidence = saliency.double().clamp(min=0)
    if standard_error is not None:
        standard_error = usable_map(standard_error, (saliency.shape[0], saliency.shape[1]))
        evidence = torch.where(saliency > SUPPORTED * standard_error, evidence, 0)
    total = float(evidence.sum())
    if total <= 0:
        raise UndefinedMetricError("context_share: no positive value that its error supports")
    inside, ring = boxes.neighbourhood(as_targets(target)[0].box, *saliency.shape)
    box, near = float(evidence[inside].sum()) / total, float(evidence[ring].sum()) / total
    return ContextShare(box=box, ring=near, beyond=max(0.0, 1 - box - near))
