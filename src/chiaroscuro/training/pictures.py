"""Pictures to learn from, read into memory; notes state what is left out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from chiaroscuro.core.errors import AnnotationError, ImageError, TrainingError
from chiaroscuro.core.log import LOG
from chiaroscuro.core.records import Truth
from chiaroscuro.core.text import plural
from chiaroscuro.data.datasets import DataSet
from chiaroscuro.images.read import read_image
from chiaroscuro.images.resize import shrink

_KEPT_SIDE = 1600  # longer side of the pictures kept in memory; no crop is drawn at a larger scale
_SPARE = 0.5  # pixels by which a box may extend past its picture without a note: it was rounded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingPicture:
    """A picture to learn from.

    Attributes:
        name: for messages.
        image: ``3 height width``, uint8.
        truth: its annotations, in its pixels, with the detector's labels.
    """

    name: str
    image: Tensor
    truth: Truth


def training_pictures(data: DataSet, labels: Mapping[int, int]) -> list[TrainingPicture]:
    """Read a data set into memory, pictures reduced to a longer side of 1600 pixels.

    Unreadable pictures, and those whose annotations are for another size, are left out; so are
    boxes of classes that the detector does not have, and boxes outside their picture. Boxes that
    extend past it are cut.

    Args:
        data: with annotations.
        labels: the detector's label of every class of the data set.

    Raises:
        TrainingError: if the data set has no annotations, or no readable picture has a box to
            learn from.
    """
    pictures: list[TrainingPicture] = []
    unusable: list[str] = []
    foreign: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    past: Counter[str] = Counter()
    for entry in data.entries:
        if entry.truth is None:
            raise TrainingError(f"{data.source} has no annotations; wanted a data set with boxes")
        try:
            image = read_image(entry.path)
            entry.check(width=image.shape[2], height=image.shape[1])
        except (ImageError, AnnotationError) as error:
            unusable.append(str(error))
            continue
        image, scale = shrink(image, _KEPT_SIDE)
        mine = entry.truth.labels.tolist()
        foreign.update(data.class_names[label] for label in mine if label not in labels)
        truth = entry.truth.relabelled(labels).scaled(scale)
        inside, outside[entry.name], past[entry.name] = _inside(truth, image)
        pictures.append(TrainingPicture(name=entry.name, image=image, truth=inside))
    if unusable:
        LOG.warning(f"left out: {plural(len(unusable), 'unusable picture')}, such as {unusable[0]}")
    if foreign:
        n, names = _boxes(foreign.total()), ", ".join(foreign)
        LOG.warning(f"left out: {n} of classes that the detector lacks: {names}")
    _note_boxes(outside, "left out: {} outside the picture")
    _note_boxes(past, "cut to the picture: {} that extended past it")
    n_without = sum(bool(picture.truth.ignore.all()) for picture in pictures)
    if n_without == len(pictures):
        n_ignored = sum(len(picture.truth) for picture in pictures)
        raise TrainingError(
            f"{data.source}: wanted at least one box to learn from, got none in the "
            f"{plural(len(pictures), 'readable picture')} ({_boxes(n_ignored)} to ignore)"
        )
    if n_without:
        n = plural(n_without, "picture")
        LOG.warning(f"{n} without a box to find: learned from with --backgrounds only")
    return pictures


def _note_boxes(counts: Counter[str], what: str) -> None:
    if counts.total():
        (name, _), *_ = counts.most_common(1)
        LOG.warning(f"{what.format(_boxes(counts.total()))}, such as in {name}")


def _boxes(n: int) -> str:
    return plural(n, "box", "boxes")


def _inside(truth: Truth, image: Tensor) -> tuple[Truth, int, int]:
    """Annotations cut to the picture, how many were outside it, and how many were cut."""
    height, width = image.shape[1:]
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    cut = torch.minimum(truth.boxes.clamp(min=0), limits)
    kept = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
    past = kept & ((cut - truth.boxes).abs() > _SPARE).any(dim=1)
    labels, ignore, crowd = truth.labels[kept], truth.ignore[kept], truth.crowd[kept]
    inside = Truth(boxes=cut[kept], labels=labels, ignore=ignore, crowd=crowd)
    return inside, int((~kept).sum()), int(past.sum())
