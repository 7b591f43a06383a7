"""Metrics of maps: faithfulness under a named protocol, localisation, stability and sanity."""

from chiaroscuro.metrics.agreement import Agreement, agreement, repeatability, stability
from chiaroscuro.metrics.average_precision import AveragePrecision, average_precision
from chiaroscuro.metrics.baselines import BASELINES, baseline
from chiaroscuro.metrics.catalogue import METRICS, Metric
from chiaroscuro.metrics.causal import (
    Curve,
    best_match,
    changed_picture,
    curves,
    deletion,
    insertion,
    overall,
)
from chiaroscuro.metrics.collection import (
    CollectionCurve,
    MappedPicture,
    collection_curves,
    merged_map,
)
from chiaroscuro.metrics.localisation import (
    ContextShare,
    box_coverage,
    context_share,
    energy_pointing_game,
    irrelevant_attention,
    map_iou,
    pointing_game,
)
from chiaroscuro.metrics.protocols import DIRECTIONS, PROTOCOLS, Blur, Direction, Protocol
from chiaroscuro.metrics.randomisation import RandomisedStage, randomisation

__all__ = [
    "BASELINES",
    "DIRECTIONS",
    "METRICS",
    "PROTOCOLS",
    "Agreement",
    "AveragePrecision",
    "Blur",
    "CollectionCurve",
    "ContextShare",
    "Curve",
    "Direction",
    "MappedPicture",
    "Metric",
    "Protocol",
    "RandomisedStage",
    "agreement",
    "average_precision",
    "baseline",
    "best_match",
    "box_coverage",
    "changed_picture",
    "collection_curves",
    "context_share",
    "curves",
    "deletion",
    "energy_pointing_game",
    "insertion",
    "irrelevant_attention",
    "map_iou",
    "merged_map",
    "overall",
    "pointing_game",
    "randomisation",
    "repeatability",
    "stability",
]
