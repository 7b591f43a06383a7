"""Parts of a figure of one explanation: a map, its boxes, its colour bar, its words.

What a colour means is decided in ``colours``. Figures are drawn with matplotlib's object interface,
so nothing global changes and no display is needed.
"""

import textwrap
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.core.text import printable
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures.colours import (
    LEGEND_GROUND,
    SUPPORTED,
    Scale,
    Sign,
    laid_over,
    sides,
    value_text,
)
from chiaroscuro.figures.look import GROUNDS, PROPOSAL_COLOUR, TARGET_COLOUR, Look
from chiaroscuro.figures.overlay import lifted_grey, overlay

_PANEL_INCHES, _DPI = 4.2, 110
_SAME_BOX = 0.95  # IoU from which a detection is the explained box, drawn already


def figure_of(
    rows: int,
    columns: int,
    aspect: float,
    look: Look,
    heading: str = "",
    widths: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """An empty figure for pictures of one aspect (height over width), and its panels by row.

    ``widths`` are those of the columns, in widths of such a picture.
    """
    widths = widths or [1.0] * columns
    high = _PANEL_INCHES * min(max(aspect, 0.4), 2.5) + 0.35
    figure = Figure(
        figsize=(_PANEL_INCHES * 1.16 * sum(widths), high * rows + (0.4 if heading else 0)),
        dpi=_DPI,
        facecolor=GROUNDS[look.ground].page,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False, width_ratios=widths).flat)
    for axes in panels:
        axes.set_axis_off()
    if heading:
        style = {"color": GROUNDS[look.ground].ink, "fontsize": 13, "parse_math": False}
        figure.suptitle(printable(heading), x=0.01, ha="left", **style)
    return figure, panels


def draw_map(
    axes: Axes,
    image: Tensor,
    result: Explanation,
    index: int,
    proposals: Proposals | None,
    look: Look,
) -> None:
    """A picture under one map, with the boxes and the colour bar."""
    saliency, target = result.saliency[index], result.targets[index]
    error = result.standard_error[index]
    scale = look.scale(saliency, error)
    if look.contours:
        axes.imshow(lifted_grey(image))
        _draw_contours(axes, scale, saliency, error)
    else:
        axes.imshow(overlay(image, saliency, error, scale=scale))
        draw_bar(axes, scale, look)
    draw_proposals(axes, proposals, [target])
    draw_box(axes, target)


def _draw_contours(axes: Axes, scale: Scale, saliency: Tensor, error: Tensor) -> None:
    most = max(scale.high, -scale.low)
    shown = np.where(scale.of_map(saliency, error)[..., 3] > 0, saliency.numpy(), 0.0)
    levels = [
        share * most
        for share in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75)
        if shown.min() < share * most < shown.max()
    ]
    if not levels or min(shown.shape) < 2:
        return
    styles = ["dashed" if level < 0 else "solid" for level in levels]
    for colour, width in (("black", 2.4), ("white", 1.0)):
        lines = axes.contour(
            shown, levels=levels, colors=colour, linewidths=width, linestyles=styles
        )
    axes.clabel(lines, fontsize=6, fmt=value_text)


def draw_bar(axes: Axes, scale: Scale, look: Look) -> None:
    """The scale in use beside a map, with its numbers and a line at zero."""
    ground = GROUNDS[look.ground]
    values, colours = scale.ramp()
    strip = ListedColormap(laid_over(np.array(to_rgb(LEGEND_GROUND)), colours))
    mappable = ScalarMappable(Normalize(values[0], values[-1]), strip)
    clipped = "min" if scale.below else "neither"
    bar = axes.figure.colorbar(mappable, ax=axes, fraction=0.04, pad=0.02, extend=clipped)
    bar.ax.tick_params(colors=ground.quiet, labelsize=7)
    bar.ax.yaxis.get_offset_text().set(color=ground.quiet, fontsize=7)
    bar.ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if values[0] < 0 < values[-1]:
        bar.ax.axhline(0, color=ground.ink, linewidth=1.0)
    bar.outline.set_visible(False)


def draw_box(axes: Axes, target: Target, label: str = "") -> None:
    """A target's box, dashed where the detector did not report it."""
    dashes = "solid" if target.origin == "found" else (0, (4, 2))
    for colour, width in (("black", 3.2), (TARGET_COLOUR, 1.6)):  # dark rim: readable on any ground
        _outline(axes, target.box, edgecolor=colour, linewidth=width, linestyle=dashes)
    if label:
        tag = axes.annotate(
            label,
            (float(target.box[0]) - 0.5, float(target.box[1]) - 0.5),
            xytext=(0, 2),
            textcoords="offset points",
            color="black",
            fontsize=8,
            fontweight="bold",
            bbox={"facecolor": TARGET_COLOUR, "edgecolor": "none", "pad": 1.5},
        )
        tag.set_in_layout(False)


def draw_proposals(axes: Axes, proposals: Proposals | None, targets: Sequence[Target]) -> None:
    """The boxes of detections that are no targets."""
    for box in () if proposals is None else unexplained(proposals, targets):
        for colour, width in (("black", 2.2), (PROPOSAL_COLOUR, 0.9)):
            _outline(axes, box, edgecolor=colour, linewidth=width)


def unexplained(proposals: Proposals, targets: Sequence[Target]) -> Tensor:
    """The boxes ``n 4`` of detections that are no targets."""
    if not len(proposals) or not targets:
        return proposals.boxes
    explained = torch.stack([target.box for target in targets])
    return proposals.boxes[boxes.iou(proposals.boxes, explained).max(dim=1).values < _SAME_BOX]


def _outline(axes: Axes, box: Tensor, **style: Any) -> None:
    """A box in an image's axes, whose pixel centres are whole numbers."""
    x1, y1, x2, y2 = box.tolist()
    corner = (x1 - 0.5, y1 - 0.5)
    axes.add_patch(Rectangle(corner, x2 - x1, y2 - y1, fill=False, **style))


def explain_colours(figure: Figure, result: Explanation, look: Look) -> None:
    """State under a figure what its colours and its numbers mean."""
    favour, against = sides(result.settings)
    errors = bool(result.standard_error.any())
    if look.contours:
        words = f"Solid lines: {favour}; dashed: {against}."
        if errors:
            words += f" None within {SUPPORTED:g} standard errors of zero."
    else:  # of several maps: without the numbers of one of them
        any_scale = Scale(name=look.colours, low=-1.0, high=1.0, sign=cast("Sign", look.sign))
        words = any_scale.words(favour, against, errors=errors)
        if look.threshold:
            words += f" Values under {look.threshold:z.0%} of the largest are clear too."
    if result.meaning:
        words += f" Numbers: {result.meaning}."
    width = int(18 * figure.get_figwidth())  # letters of this size
    style = {"color": GROUNDS[look.ground].quiet, "fontsize": 7, "parse_math": False}
    figure.supxlabel(printable(textwrap.fill(words, width)), x=0.01, ha="left", **style)


def entitle(axes: Axes, title: str, look: Look) -> None:
    """Set a panel's title. File names and captions stay as they are, dollar signs too."""
    ink = GROUNDS[look.ground].ink
    axes.set_title(printable(title), color=ink, fontsize=10, loc="left", parse_math=False)
