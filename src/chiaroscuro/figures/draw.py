"""Figures of an explanation: one target's map, and a contact sheet of all."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from chiaroscuro.core.records import Proposals
from chiaroscuro.evidence.explanation import CloseUp, Explanation
from chiaroscuro.evidence.observe import usable_image
from chiaroscuro.figures import panels
from chiaroscuro.figures.enlarge import enlarged
from chiaroscuro.figures.look import DEFAULT_LOOK, Look
from chiaroscuro.figures.overlay import pixels

ORIGINS = {"found": "found", "drawn": "user-drawn box", "truth": "annotated box"}
"""What a target is, where it has no caption."""


def target_figure(
    image: Any,
    result: Explanation,
    index: int,
    proposals: Proposals | None = None,
    look: Look = DEFAULT_LOOK,
    captions: Sequence[str] = (),
) -> Figure:
    """One target's map over the picture, with the boxes and a colour bar of the real values.

    Beside it the close-up, where there is one.
    """
    image = usable_image(image)
    closeup = result.closeup(index)
    aspect = image.shape[1] / image.shape[2]
    if closeup is not None:  # of the same size, so that eyes and mouth are seen
        aspect = max(aspect, closeup.window.size[0] / closeup.window.size[1])
    figure, (axes, *beside) = panels.figure_of(1, 1 + (closeup is not None), aspect, look)
    panels.draw_map(axes, image, result, index, proposals, look)
    panels.entitle(axes, _title(result, index, captions), look)
    if closeup is not None:
        _draw_closeup(beside[0], image, result, closeup, look)
    panels.explain_colours(figure, result, look)
    return figure


def contact_sheet(
    image: Any,
    result: Explanation,
    proposals: Proposals | None = None,
    heading: str = "",
    look: Look = DEFAULT_LOOK,
    captions: Sequence[str] = (),
) -> Figure:
    """The picture with every box, then every target's map, on one sheet.

    Beside every map is the close-up, where there is one.
    """
    image = usable_image(image)
    height, width = image.shape[1:]
    figure, (first, *places) = _sheet(result, height / width, look, heading)
    first.imshow(pixels(image))
    panels.draw_proposals(first, proposals, result.targets)
    for number, target in enumerate(result.targets, start=1):
        panels.draw_box(first, target, label=str(number))
    title = "boxes: found (white), explained (green)" if len(result) else "nothing to explain"
    panels.entitle(first, title, look)
    free = iter(places)
    for index in range(len(result)):
        axes = next(free)
        panels.draw_map(axes, image, result, index, proposals, look)
        panels.entitle(axes, _title(result, index, captions), look)
        closeup = result.closeup(index)
        beside = next(free) if result.closeups else None
        if beside is not None and closeup is not None:
            _draw_closeup(beside, image, result, closeup, look)
    for axes in places:
        axes.set_visible(axes.has_data())
    if len(result):
        panels.explain_colours(figure, result, look)
    return figure


def _sheet(
    result: Explanation, aspect: float, look: Look, heading: str
) -> tuple[Figure, list[Axes]]:
    """An empty sheet, and its panels: of the picture, and one or two of every target.

    A map and its close-up are in one row; the picture then has the place of two.
    """
    most = 4 if aspect > 1 else 3
    if not result.closeups:
        columns = min(1 + len(result), most)
        rows = math.ceil((1 + len(result)) / columns)
        return panels.figure_of(rows, columns, aspect, look, heading)
    square = min(max(aspect, 0.5), 1.0)  # width of a close-up as high as the picture
    if len(result) == 1:
        return panels.figure_of(1, 3, aspect, look, heading, [1.0, 1.0, square])
    rows = math.ceil((1 + len(result)) / 2)
    figure, (first, spare, *places) = panels.figure_of(
        rows, 4, aspect, look, heading, [1.0, square] * 2
    )
    spare.set_visible(False)
    return figure, [first, *places]


def _draw_closeup(
    axes: Axes, image: Tensor, result: Explanation, closeup: CloseUp, look: Look
) -> None:
    """A close-up, enlarged."""
    crop, alone = enlarged(image, closeup, result)
    panels.draw_map(axes, crop, alone, 0, None, look)
    panels.entitle(axes, ", ".join(filter(None, ("close-up", alone.fidelity_text(0)))), look)


def _title(result: Explanation, index: int, captions: Sequence[str]) -> str:
    target = result.targets[index]
    score = "" if target.score is None else f" {target.score:z.2f}"
    title = f"{index + 1}: {captions[index] if captions else ORIGINS[target.origin]}{score}"
    method = result.settings.method
    return ", ".join(
        part
        for part in (title, "" if method == "drise" else method, result.fidelity_text(index))
        if part
    )
