"""Is a map true? Curves under a named protocol, and where a map's evidence lies."""

from chiaroscuro.metrics.causal import Curve, curves, deletion, insertion, overall
from chiaroscuro.metrics.localisation import (
    box_coverage,
    energy_pointing_game,
    irrelevant_attention,
    map_iou,
    pointing_game,
)
from chiaroscuro.metrics.protocols import PROTOCOLS, Blur, Protocol

__all__ = [
    "PROTOCOLS",
    "Blur",
    "Curve",
    "Protocol",
    "box_coverage",
    "curves",
    "deletion",
    "energy_pointing_game",
    "insertion",
    "irrelevant_attention",
    "map_iou",
    "overall",
    "pointing_game",
]
