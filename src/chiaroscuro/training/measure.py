"""Average precision of a detector on training pictures."""

from collections.abc import Sequence

from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.protocol import Detector, checked_detect
from chiaroscuro.images.resize import shrink
from chiaroscuro.metrics.average_precision import AveragePrecision, average_precision
from chiaroscuro.training.pictures import TrainingPicture


def precision(
    detector: Detector, pictures: Sequence[TrainingPicture], max_side: int
) -> AveragePrecision:
    """Average precision on pictures reduced to that longer side."""
    found, truth = [], []
    for picture in pictures:
        proposals, scale = detections(detector, picture, max_side)
        found.append(proposals)
        truth.append(picture.truth.scaled(scale))
    return average_precision(found, truth)


def detections(
    detector: Detector, picture: TrainingPicture, max_side: int
) -> tuple[Proposals, float]:
    """Detections in a picture reduced to that longer side, and the factor of the reduction."""
    image, scale = shrink(picture.image, max_side)
    return checked_detect(detector, image[None])[0].to("cpu"), scale
