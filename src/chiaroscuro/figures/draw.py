"""Figures of an explanation: one target's map, and a contact sheet of all."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from chiaroscuro.core.records import Proposals
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import usable_image
from chiaroscuro.figures import panels
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
    """One target's map over the picture, with the boxes and a colour bar of the real values."""
    image = usable_image(image)
    height, width = image.shape[1:]
    figure, (axes,) = panels.figure_of(1, 1, height / width, look)
    panels.draw_map(axes, image, result, index, proposals, look)
    panels.entitle(axes, _title(result, index, captions), look)
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
    """The picture with every box, then every target's map, on one sheet."""
    image = usable_image(image)
    height, width = image.shape[1:]
    n_panels = 1 + len(result)
    columns = min(n_panels, 4 if height > width else 3)
    rows = math.ceil(n_panels / columns)
    figure, (first, *rest) = panels.figure_of(rows, columns, height / width, look, heading)
    first.imshow(pixels(image))
    panels.draw_proposals(first, proposals, result.targets)
    for number, target in enumerate(result.targets, start=1):
        panels.draw_box(first, target, label=str(number))
    title = "boxes: found (white), explained (green)" if len(result) else "nothing to explain"
    panels.entitle(first, title, look)
    for index in range(len(result)):
        panels.draw_map(rest[index], image, result, index, proposals, look)
        panels.entitle(rest[index], _title(result, index, captions), look)
    for axes in rest[len(result) :]:
        axes.set_visible(False)
    if len(result):
        panels.explain_colours(figure, result, look)
    return figure


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
