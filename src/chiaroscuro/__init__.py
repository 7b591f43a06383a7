"""chiaroscuro shows why an object detector found a face in a painting, or missed it.

    import chiaroscuro as cs

    image = cs.read_image("painting.jpg")
    detector = cs.load_detector("centerface")
    faces = detector.detect(image[None])[0].above(0.3)
    result = cs.explain(image, detector, targets=faces, n_masks=500)

Public names load on first use, so that ``import chiaroscuro`` is light.
"""

import importlib
from typing import TYPE_CHECKING, Any

from chiaroscuro._version import __version__

if TYPE_CHECKING:
    from chiaroscuro import boxes, detectors, errors, methods, metrics, testing
    from chiaroscuro.data.images import read_image
    from chiaroscuro.detectors import (
        Detector,
        DetectorInfo,
        DetectorSource,
        FunctionDetector,
        load_detector,
    )
    from chiaroscuro.evidence import Evidence, Progress, observe
    from chiaroscuro.masks import MaskDesign, Masks
    from chiaroscuro.methods import explain
    from chiaroscuro.records import Explanation, Proposals, Target
    from chiaroscuro.similarity import mask_weights

_HOMES = {
    "Detector": "chiaroscuro.detectors",
    "DetectorInfo": "chiaroscuro.detectors",
    "DetectorSource": "chiaroscuro.detectors",
    "Evidence": "chiaroscuro.evidence",
    "Explanation": "chiaroscuro.records",
    "FunctionDetector": "chiaroscuro.detectors",
    "MaskDesign": "chiaroscuro.masks",
    "Masks": "chiaroscuro.masks",
    "Progress": "chiaroscuro.evidence",
    "Proposals": "chiaroscuro.records",
    "Target": "chiaroscuro.records",
    "explain": "chiaroscuro.methods",
    "load_detector": "chiaroscuro.detectors",
    "mask_weights": "chiaroscuro.similarity",
    "observe": "chiaroscuro.evidence",
    "read_image": "chiaroscuro.data.images",
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
    "Progress",
    "Proposals",
    "Target",
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
    if name in ("boxes", "detectors", "errors", "methods", "metrics", "testing"):
        return importlib.import_module(f"chiaroscuro.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'chiaroscuro' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
