"""Pictures to learn from, read into memory; what is left out is said."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from chiaroscuro.core.errors import AnnotationError, ImageError, TrainingError
from chiaroscuro.core.records import Truth
from chiaroscuro.data.datasets import DataSet
from chiaroscuro.images.read import read_image
from chiaroscuro.images.resize import shrink
from chiaroscuro.training.notes import Tell, warn

_KEPT_SIDE = 1600  # longer side of the pictures kept in memory; no crop is drawn at a larger scale
_SPARE = 0.5  # pixels by which a box may reach past its picture without a word: it was rounded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingPicture:
    """A picture to learn from.

    Attributes:
        name: for messages.
        image: ``3 height width``, uint8.
        truth: its marks, in its pixels, with the detector's labels.
    """

    name: str
    image: Tensor
    truth: Truth


def training_pictures(
    data: DataSet, labels: Mapping[int, int], tell: Tell = warn
) -> list[TrainingPicture]:
    """Read a data set into memory, pictures reduced to a longer side of 1600 pixels.

    Pictures that cannot be read, or whose annotations are for another size, are left out; so are
    boxes of classes that the detector does not have, and boxes outside their picture. Boxes that
    reach past it are cut.

    Args:
        data: with marks.
        labels: the detector's label of every class of the data set.
        tell: gets a sentence for each kind of thing left out or cut; a warning by default.

    Raises:
        TrainingError: if the data set has no marks, or no picture that can be read has a box to
            learn.
    """
    pictures: list[TrainingPicture] = []
    unusable: list[str] = []
    foreign: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    past: Counter[str] = Counter()
    for entry in data.entries:
        if entry.truth is None:
            raise TrainingError(f"{data.source} has no marks; wanted a data set with boxes")
        try:
            image = read_image(entry.path)
            entry.check(width=image.shape[2], height=image.shape[1])
        except (ImageError, AnnotationError) as error:
            unusable.append(str(error))
            continue
        image, scale = shrink(image, _KEPT_SIDE)
        for label in entry.truth.labels.tolist():
            if label not in labels:
                foreign[data.class_names[label]] += 1
        truth = entry.truth.relabelled(labels).scaled(scale)
        inside, outside[entry.name], past[entry.name] = _inside(truth, image)
        pictures.append(TrainingPicture(name=entry.name, image=image, truth=inside))
    if unusable:
        tell(f"{len(unusable)} pictures cannot be used and are left out: {unusable[0]}")
    if foreign:
        names = ", ".join(foreign)
        tell(f"{foreign.total()} boxes of classes that the detector has not are left out: {names}")
    _tell_boxes(outside, "lie outside their picture and are left out", tell)
    _tell_boxes(past, "reach past their picture and are cut to it", tell)
    n_without = sum(bool(picture.truth.ignore.all()) for picture in pictures)
    if n_without == len(pictures):
        n_ignored = sum(len(picture.truth) for picture in pictures)
        raise TrainingError(
            f"{data.source}: wanted at least one box to learn from, got none in the "
            f"{len(pictures)} pictures that can be read; {n_ignored} boxes are marked to be ignored"
        )
    if n_without:
        tell(f"{n_without} pictures have no box to be found; they are judged, not learned from")
    return pictures


def _tell_boxes(counts: Counter[str], what: str, tell: Tell) -> None:
    if counts.total():
        (name, _), *_ = counts.most_common(1)
        tell(f"{counts.total()} boxes {what}, such as in {name}")


def _inside(truth: Truth, image: Tensor) -> tuple[Truth, int, int]:
    """Marks cut to the picture, how many lay outside it, and how many were cut."""
    height, width = image.shape[1:]
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    cut = torch.minimum(truth.boxes.clamp(min=0), limits)
    kept = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
    past = kept & ((cut - truth.boxes).abs() > _SPARE).any(dim=1)
    inside = Truth(
        boxes=cut[kept],
        labels=truth.labels[kept],
        ignore=truth.ignore[kept],
        crowd=truth.crowd[kept],
    )
    return inside, int((~kept).sum()), int(past.sum())
