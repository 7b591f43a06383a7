"""Annotated boxes in the pixels of the picture as it is read, or the reason why not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chiaroscuro.core.records import Truth
from chiaroscuro.core.text import plural
from chiaroscuro.data.annotations import AnnotatedPicture, truth_of
from chiaroscuro.data.frame import Frame, Reading, Sized, choose, readings
from chiaroscuro.images.header import PictureSize

_DECISIONS = {
    "copy": "boxes are scaled",
    "exchanged": "boxes are used as those of the upright picture",
    "stored": "boxes are turned by the picture's EXIF orientation",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """Annotations of one picture, in its own pixels.

    Attributes:
        truth: the boxes, upright as ``read_image`` returns the picture; empty where it is refused.
        refused: why the picture cannot be used, or ``""``.
        notes: boxes that were left out, in sentences.
    """

    truth: Truth
    refused: str = ""
    notes: tuple[str, ...] = ()


def place_all(pictures: Sized, frame: Frame | None = None) -> tuple[list[Placed], list[str]]:
    """Convert the boxes of a data set's pictures to the pixels of the pictures as they are read.

    Args:
        pictures: each with its size; None for a picture that cannot be read, whose boxes do not
            matter.
        frame: whether boxes are in the picture as it is read (``"upright"``) or as it is stored,
            before its EXIF orientation is applied (``"stored"``). By default it is detected.

    Returns:
        One entry per picture, in their order; and what was decided, in sentences for the whole set.
    """
    options = [
        readings(picture, size, frame) if size is not None else [] for picture, size in pictures
    ]
    chosen = choose(pictures, options)
    placed = [
        _placed(picture, size, len(possible) > 1, reading)
        for (picture, size), possible, reading in zip(pictures, options, chosen, strict=True)
    ]
    return placed, _decisions(pictures, chosen)


def _placed(
    picture: AnnotatedPicture, size: PictureSize | None, unclear: bool, reading: Reading | None
) -> Placed:
    if size is None:
        return Placed(truth=truth_of([]))
    if reading is None:
        return Placed(truth=truth_of([]), refused=_refusal(picture, size, unclear))
    kept, notes = [], []
    for box in picture.boxes:
        moved = replace(box, box=reading.upright(box.box))
        x1, y1, x2, y2 = moved.box
        if not (box.usable and moved.usable):
            problem = "has no area"
        elif x1 >= size.width or y1 >= size.height or x2 <= 0 or y2 <= 0:
            problem = f"lies outside the picture of {size.width} x {size.height} pixels"
        else:
            kept.append(moved)
            continue
        where, numbers = f"{picture.file_name}, {box.where}", ",".join(f"{v:g}" for v in box.box)
        notes.append(f"{where}: the box {numbers} {problem}; it is left out")
    return Placed(truth=truth_of(kept), notes=tuple(notes))


def _refusal(picture: AnnotatedPicture, size: PictureSize, unclear: bool) -> str:
    stored = f"{size.stored[0]} x {size.stored[1]}"
    turned = f" (stored as {stored}, turned by its EXIF orientation {size.orientation})"
    if not unclear:
        remedy = "correct the size in the annotations, or use the pictures that they were made for"
    elif size.orientation >= 5:
        remedy = (
            "its boxes could be of the upright picture or of the stored one: set which with "
            "--frame upright or --frame stored"
        )
    else:
        remedy = (
            "if its boxes are of the picture as it is read, add --frame upright; otherwise use the "
            "pictures that they were made for"
        )
    return (
        f"{picture.file_name}: its annotations are for a picture of {picture.width} x "
        f"{picture.height} pixels (width x height), and the picture as it is read has "
        f"{size.width} x {size.height}{turned * (size.orientation != 1)}; {remedy}"
    )


def _decisions(pictures: Sized, chosen: Sequence[Reading | None]) -> list[str]:
    """A sentence for every kind of frame that was converted."""
    notes = []
    for kind, decision in _DECISIONS.items():
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
        others = plural(len(of_kind) - 1, "other picture")
        notes.append(
            f"{picture.file_name}: annotations {stated}, picture as it is read "
            f"{size.width} x {size.height}; {decision}"
            + f" (also in {others})"
            * (len(of_kind) > 1)
        )
    return notes
