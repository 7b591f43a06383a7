"""Detectors that can be trained."""

from typing import Any

from chiaroscuro.core.errors import TrainingError
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.detectors.registry import load_detector


def open_trainable(spec: Any, device: str = "auto", **options: Any) -> Trainable:
    """Load a detector in a form that can be trained; ``"retinaface"`` means its torch form.

    Arguments are those of ``load_detector``.

    Raises:
        TrainingError: if it cannot be trained; or as ``load_detector`` does.
    """
    if spec == "retinaface":
        options.setdefault("form", "torch")
    detector = load_detector(spec, device=device, **options)
    if not isinstance(detector, Trainable):
        raise TrainingError(
            f"{detector.info.name} cannot be trained; retinaface, its checkpoints and "
            "torchvision's detectors can"
        )
    return detector
