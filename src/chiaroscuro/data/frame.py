"""The one place that brings annotated boxes into the pixels of a picture as it is read.

A data set states the width and height that its boxes are drawn in, or none; the picture's file has
a size of its own, and perhaps an EXIF orientation, which ``read_image`` applies. Where the two
sizes are equal, boxes are used as they are. Where they differ, boxes are brought over only if the
stated size explains how; the data set's notes then say so. Else the picture is refused with both
sizes.

A stated size with width and height exchanged has two explanations: boxes of the upright picture
under the size of its header, or boxes of the picture as it is stored. Boxes that reach past one of
the two frames tell which; what one picture tells holds for those of its set that tell nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from chiaroscuro.core.records import Truth
from chiaroscuro.data.annotations import AnnotatedBox, AnnotatedPicture, truth_of
from chiaroscuro.images.header import PictureSize

Frame = Literal["upright", "stored"]

_Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """Annotations of one picture, in its own pixels.

    Attributes:
        truth: the boxes, upright as ``read_image`` gives the picture; empty where it is refused.
        refused: why the picture cannot be used, or ``""``.
        notes: boxes that were left out, in sentences.
    """

    truth: Truth
    refused: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
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
        """Whether no box reaches past the frame by more than people's hands do."""
        width, height = self.size
        x, y = max(2.0, width * 0.02), max(2.0, height * 0.02)
        return all(
            box.box[0] >= -x
            and box.box[1] >= -y
            and box.box[2] <= width + x
            and box.box[3] <= height + y
            for box in boxes
            if box.usable
        )

    def upright(self, box: _Box) -> _Box:
        """A box of this frame in the upright picture's pixels."""
        x, y = self.to[0] / self.size[0], self.to[1] / self.size[1]
        scaled = (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
        return _turned(scaled, *self.to, self.orientation)


def place_all(
    pictures: Sequence[tuple[AnnotatedPicture, PictureSize | None]], frame: Frame | None = None
) -> tuple[list[Placed], list[str]]:
    """Bring the boxes of a data set's pictures into the pixels of the pictures as they are read.

    Args:
        pictures: each with its size; None for a picture that cannot be read, whose boxes do not
            matter.
        frame: whether boxes are in the picture as it is read (``"upright"``) or as it is stored,
            before its EXIF orientation is applied (``"stored"``). By default it is found out.

    Returns:
        One for every picture, in their order; and what was decided, in sentences for the whole set.
    """
    options = [
        _readings(picture, size, frame) if size is not None else [] for picture, size in pictures
    ]
    chosen = _chosen(pictures, options)
    placed = [
        _placed(picture, size, possible, reading)
        for (picture, size), possible, reading in zip(pictures, options, chosen, strict=True)
    ]
    return placed, _decisions(pictures, chosen)


def _readings(picture: AnnotatedPicture, size: PictureSize, frame: Frame | None) -> list[_Reading]:
    """Every explanation of the stated size; none where it fits the picture in no way."""
    upright, stored = (size.width, size.height), size.stored
    turned = frame == "stored" and size.orientation != 1
    whole, orientation = (stored, size.orientation) if turned else (upright, 1)
    kind: Literal["stored", "as read"] = "stored" if turned else "as read"
    if picture.unit:
        return [_Reading(kind=kind, size=(1, 1), to=whole, orientation=orientation)]
    stated, exchanged = (picture.width, picture.height), (picture.height, picture.width)
    if 0 in stated:
        return [_Reading(kind=kind, size=whole, to=whole, orientation=orientation)]
    if turned:
        same = _same_shape(stated, stored)
        return [_Reading(kind=kind, size=stated, to=stored, orientation=orientation)] * same
    if stated == upright:
        return [_Reading(kind="as read", size=stated, to=upright)]
    if exchanged != upright and _same_shape(stated, upright):
        copy = _Reading(kind="copy", size=stated, to=upright)
        full = _Reading(kind="as read", size=upright, to=upright)
        contradicted = full.fits(picture.boxes) and not copy.fits(picture.boxes)
        return [] if contradicted else [copy]
    if not _same_shape(exchanged, upright):
        return []
    as_drawn = _Reading(kind="exchanged", size=exchanged, to=upright)
    if frame == "upright":
        return [as_drawn]
    if size.orientation >= 5:
        other = _Reading(kind="stored", size=stated, to=stored, orientation=size.orientation)
    else:
        other = _Reading(kind="turned", size=stated, to=upright)
    return [as_drawn, other]


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


def _chosen(
    pictures: Sequence[tuple[AnnotatedPicture, PictureSize | None]],
    options: Sequence[Sequence[_Reading]],
) -> list[_Reading | None]:
    """The explanation that holds for each picture; None where none does, or several."""
    kinds = [tuple(reading.kind for reading in possible) for possible in options]
    fitting = [
        [reading for reading in possible if len(possible) == 1 or reading.fits(picture.boxes)]
        for (picture, _), possible in zip(pictures, options, strict=True)
    ]
    votes: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for kind, left in zip(kinds, fitting, strict=True):
        if len(left) == 1:
            votes[kind][left[0].kind] += 1
    chosen: list[_Reading | None] = []
    for (picture, _), kind, left in zip(pictures, kinds, fitting, strict=True):
        agreed = [reading for reading in left if [reading.kind] == list(votes[kind])]
        if len(left) > 1 and not picture.boxes:
            agreed = left[:1]
        decided = left if len(left) == 1 else agreed
        chosen.append(decided[0] if decided and decided[0].kind != "turned" else None)
    return chosen


def _placed(
    picture: AnnotatedPicture,
    size: PictureSize | None,
    possible: Sequence[_Reading],
    reading: _Reading | None,
) -> Placed:
    if size is None:
        return Placed(truth=truth_of([]))
    if reading is None:
        return Placed(truth=truth_of([]), refused=_refusal(picture, size, possible))
    kept, notes = [], []
    for box in picture.boxes:
        numbers = ",".join(f"{value:g}" for value in box.box)
        moved = replace(box, box=reading.upright(box.box))
        x1, y1, x2, y2 = moved.box
        where = f"{picture.file_name}, {box.where}: the box {numbers}"
        if not (box.usable and moved.usable):
            notes.append(f"{where} has no area and is left out")
        elif x1 >= size.width or y1 >= size.height or x2 <= 0 or y2 <= 0:
            notes.append(
                f"{where} lies outside the picture, which is {size.width} x {size.height}, and is "
                "left out"
            )
        else:
            kept.append(moved)
    return Placed(truth=truth_of(kept), notes=tuple(notes))


def _refusal(picture: AnnotatedPicture, size: PictureSize, possible: Sequence[_Reading]) -> str:
    sizes = (
        f"{picture.file_name}: its annotations are for a picture of {picture.width} x "
        f"{picture.height} pixels (width x height), and the picture as it is read has "
        f"{size.width} x {size.height}"
    )
    if size.orientation != 1:
        sizes += (
            f" (stored as {size.stored[0]} x {size.stored[1]}, turned by its EXIF orientation "
            f"{size.orientation})"
        )
    if len(possible) < 2:
        return (
            f"{sizes}; correct the size in the annotations, or give the pictures that they were "
            "made for"
        )
    if size.orientation >= 5:
        return (
            f"{sizes}; its boxes could be of the upright picture or of the stored one: say which "
            "with --frame upright or --frame stored"
        )
    return (
        f"{sizes}; if its boxes are of the picture as it is read, say so with --frame upright; "
        "otherwise give the pictures that they were made for"
    )


_SAID = {
    "copy": "boxes are scaled",
    "exchanged": "boxes are taken as drawn on the picture as it is read",
    "stored": "boxes are turned by the picture's EXIF orientation",
}


def _decisions(
    pictures: Sequence[tuple[AnnotatedPicture, PictureSize | None]],
    chosen: Sequence[_Reading | None],
) -> list[str]:
    """A sentence for every kind of frame that had to be converted."""
    notes = []
    for kind, what in _SAID.items():
        of_kind = [
            (picture, size)
            for (picture, size), reading in zip(pictures, chosen, strict=True)
            if reading is not None and size is not None and reading.kind == kind
        ]
        if not of_kind:
            continue
        picture, size = of_kind[0]
        stated = f"for {picture.width} x {picture.height} pixels"
        if picture.unit or 0 in (picture.width, picture.height):
            stated = "without a size"
        notes.append(
            f"{picture.file_name}: annotations {stated}, picture as it is read "
            f"{size.width} x {size.height}; {what}"
            + (f" (and in {len(of_kind) - 1} more pictures)" if len(of_kind) > 1 else "")
        )
    return notes


def _turned(box: _Box, width: int, height: int, orientation: int) -> _Box:
    """A box of a stored picture of that size, in the picture turned by an EXIF orientation."""
    x1, y1, x2, y2 = box
    if orientation in (2, 3, 7, 8):  # the stored x axis runs backwards
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4, 6, 7):  # the stored y axis does
        y1, y2 = height - y2, height - y1
    return (y1, x1, y2, x2) if orientation >= 5 else (x1, y1, x2, y2)
