"""Which frame the boxes of a picture are in: what the size that a data set states explains.

A data set states the width and height that its boxes refer to, or none. The picture's file has
a size of its own, and perhaps an EXIF orientation, which ``read_image`` applies. Where the two
sizes are equal, boxes are used unchanged. Where they differ, boxes are converted only if the stated
size explains how. Otherwise the picture is refused.

A stated size with width and height exchanged has two explanations: boxes of the upright picture
under the size of its header, or boxes of the picture as it is stored. Boxes that reach past one of
the two frames decide it; where one picture of a set decides, all of the same kind follow it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chiaroscuro.data.annotations import AnnotatedBox, AnnotatedPicture
from chiaroscuro.data.reading import Box
from chiaroscuro.images.header import PictureSize

Frame = Literal["upright", "stored"]
Sized = Sequence[tuple[AnnotatedPicture, PictureSize | None]]


@dataclass(frozen=True, slots=True)
class Reading:
    """One explanation of a stated size.

    Attributes:
        kind: ``"as read"``, ``"copy"`` (of another size), ``"exchanged"`` (width and height),
            ``"stored"`` (before the orientation is applied) or ``"turned"`` (some other way).
        size: width and height of the frame that boxes are in, in their own units.
        to: width and height of that frame in the file's pixels.
        orientation: how that frame is turned upright, 1 to 8.
    """

    kind: Literal["as read", "copy", "exchanged", "stored", "turned"]
    size: tuple[int, int]
    to: tuple[int, int]
    orientation: int = 1

    def fits(self, boxes: Sequence[AnnotatedBox]) -> bool:
        """Whether no box reaches past the frame by more than imprecise annotation explains."""
        width, height = self.size
        x, y = max(2.0, width * 0.02), max(2.0, height * 0.02)
        return all(
            x1 >= -x and y1 >= -y and x2 <= width + x and y2 <= height + y
            for x1, y1, x2, y2 in (box.box for box in boxes if box.usable)
        )

    def upright(self, box: Box) -> Box:
        """A box of this frame in the upright picture's pixels."""
        width, height = self.to
        x, y = width / self.size[0], height / self.size[1]
        x1, y1, x2, y2 = box[0] * x, box[1] * y, box[2] * x, box[3] * y
        if self.orientation in (2, 3, 7, 8):  # the stored x axis is reversed
            x1, x2 = width - x2, width - x1
        if self.orientation in (3, 4, 6, 7):  # the stored y axis is
            y1, y2 = height - y2, height - y1
        return (y1, x1, y2, x2) if self.orientation >= 5 else (x1, y1, x2, y2)


def readings(picture: AnnotatedPicture, size: PictureSize, frame: Frame | None) -> list[Reading]:
    """Every explanation of the stated size; none where it does not fit the picture."""
    upright, stored = (size.width, size.height), size.stored
    turned = frame == "stored" and size.orientation != 1
    whole, orientation = (stored, size.orientation) if turned else (upright, 1)
    kind: Literal["stored", "as read"] = "stored" if turned else "as read"
    stated, exchanged = (picture.width, picture.height), (picture.height, picture.width)
    if picture.unit or 0 in stated:
        return [Reading(kind, (1, 1) if picture.unit else whole, whole, orientation)]
    if turned:
        return [Reading(kind, stated, stored, orientation)] * _same_shape(stated, stored)
    if stated == upright:
        return [Reading("as read", stated, upright)]
    if exchanged != upright and _same_shape(stated, upright):
        copy, full = Reading("copy", stated, upright), Reading("as read", upright, upright)
        contradicted = full.fits(picture.boxes) and not copy.fits(picture.boxes)
        return [] if contradicted else [copy]
    if not _same_shape(exchanged, upright):
        return []
    swapped = Reading("exchanged", exchanged, upright)
    if frame == "upright":
        return [swapped]
    if size.orientation >= 5:
        return [swapped, Reading("stored", stated, stored, size.orientation)]
    return [swapped, Reading("turned", stated, upright)]


def _same_shape(stated: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether one factor, and whole pixels rounded in one way, make one size of the other."""
    for least in (-0.5, 0.0, -1.0):  # to the nearest, down, up
        factors = [
            ((side + least) / real, (side + least + 1) / real)
            for side, real in zip(stated, size, strict=True)
        ]
        if max(low for low, _ in factors) < min(high for _, high in factors):
            return True
    return False


def choose(pictures: Sized, options: Sequence[Sequence[Reading]]) -> list[Reading | None]:
    """The explanation that holds for each picture, of its readings; None for none or several."""
    kinds = [tuple(reading.kind for reading in possible) for possible in options]
    fitting = [
        [reading for reading in possible if len(possible) == 1 or reading.fits(picture.boxes)]
        for (picture, _), possible in zip(pictures, options, strict=True)
    ]
    votes: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for kind, left in zip(kinds, fitting, strict=True):
        if len(left) == 1:
            votes[kind][left[0].kind] += 1
    chosen: list[Reading | None] = []
    for (picture, _), kind, left in zip(pictures, kinds, fitting, strict=True):
        if len(left) > 1 and picture.boxes:
            left = [reading for reading in left if [reading.kind] == list(votes[kind])]
        chosen.append(left[0] if left and left[0].kind != "turned" else None)
    return chosen
