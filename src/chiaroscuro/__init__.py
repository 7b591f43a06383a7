"""chiaroscuro shows why an object detector found a face in a painting, or missed it.

    import chiaroscuro as cs

    image = cs.read_image("painting.jpg")
    detector = cs.load_detector("centerface")
    faces = detector.detect(image[None])[0].above(0.3)
    result = cs.explain(image, detector, targets=faces, n_passes=500)

Public names load on first use, so that ``import chiaroscuro`` is light.
"""

import importlib
from typing import TYPE_CHECKING, Any

from chiaroscuro._version import __version__

if TYPE_CHECKING:
    from chiaroscuro import detectors, methods, metrics, testing
    from chiaroscuro.core import boxes, errors
    from chiaroscuro.core.masks import Masks
    from chiaroscuro.core.plan import MaskDesign, Plan
    from chiaroscuro.core.progress import Progress
    from chiaroscuro.core.records import Proposals, Target
    from chiaroscuro.core.similarity import mask_weights
    from chiaroscuro.detectors import (
        Detector,
        DetectorInfo,
        DetectorSource,
        FunctionDetector,
        TiledDetector,
        load_detector,
    )
    from chiaroscuro.evidence.evidence import Evidence
    from chiaroscuro.evidence.explanation import Explanation
    from chiaroscuro.evidence.observe import observe
    from chiaroscuro.images.read import read_image
    from chiaroscuro.methods import explain

_HOMES = {
    "Detector": "chiaroscuro.detectors",
    "DetectorInfo": "chiaroscuro.detectors",
    "DetectorSource": "chiaroscuro.detectors",
    "Evidence": "chiaroscuro.evidence.evidence",
    "Explanation": "chiaroscuro.evidence.explanation",
    "FunctionDetector": "chiaroscuro.detectors",
    "MaskDesign": "chiaroscuro.core.plan",
    "Masks": "chiaroscuro.core.masks",
    "Progress": "chiaroscuro.core.progress",
    "Plan": "chiaroscuro.core.plan",
    "Proposals": "chiaroscuro.core.records",
    "Target": "chiaroscuro.core.records",
    "TiledDetector": "chiaroscuro.detectors",
    "explain": "chiaroscuro.methods",
    "load_detector": "chiaroscuro.detectors",
    "mask_weights": "chiaroscuro.core.similarity",
    "observe": "chiaroscuro.evidence.observe",
    "read_image": "chiaroscuro.images.read",
}

__all__ = [
    "Detector",
    "DetectorInfo",
    "DetectorSource",
    "Evidence",
    "Explanation",
    "FunctionDetector",
    "MaskDesign",
    "Masks",
    "Plan",
    "Progress",
    "Proposals",
    "Target",
    "TiledDetector",
    "__version__",
    "boxes",
    "detectors",
    "errors",
    "explain",
    "load_detector",
    "mask_weights",
    "methods",
    "metrics",
    "observe",
    "read_image",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name in ("boxes", "errors"):
        return importlib.import_module(f"chiaroscuro.core.{name}")
    if name in ("detectors", "methods", "metrics", "testing"):
        return importlib.import_module(f"chiaroscuro.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'chiaroscuro' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
