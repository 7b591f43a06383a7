"""Figures of numbers, for a page or a paper: curves, shares of the evidence, average maps."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from chiaroscuro.core.text import plural, printable
from chiaroscuro.figures.colours import CURVES, Scale
from chiaroscuro.figures.look import Look
from chiaroscuro.figures.panels import draw_bar
from chiaroscuro.store.schema import SetCurve

PARTS = {"in_box": "in the box", "in_ring": "in the ring around it", "beyond": "beyond"}
PART_COLOURS = ("#d9a441", "#8a6f3b", "#4b4a46")  # of box, ring and beyond, as on the pages
_QUIET, _DPI = "#6b7280", 150
_TICKS = (0, 1, 5, 10, 20, 40, 60, 80, 100)
_DASHES = (0, (4, 2))


def curves_figure(rows: Sequence[Mapping[str, Any]], ours: str, protocol: str) -> Figure:
    """Insertion and deletion of every map: the median over targets, and the middle half of ours.

    For one target it is that target's curve, with no spread. ``rows`` are those of the curves'
    table, of the same targets for every map; ``ours`` is the map that is plotted bold, first.
    """
    figure, panels = _figure(2)
    for axes, direction in zip(panels, ("insertion", "deletion"), strict=True):
        here = [row for row in rows if row["direction"] == direction]
        names = sorted({row["map"] for row in here}, key=lambda name: (name != ours, name))
        for name, colour in zip(names, cycle(CURVES), strict=False):
            curves = [row for row in here if row["map"] == name]
            share, values = _on_one_grid(curves)
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
            bold = name == ours
            axes.plot(
                share,
                middle,
                color=colour,
                linewidth=2.2 if bold else 1.2,
                linestyle="solid" if bold else _DASHES,
                label=f"{name} ({len(curves)})",
                zorder=3 if bold else 2,
            )
            if bold and len(curves) > 1:
                axes.fill_between(share, low, high, color=colour, alpha=0.15, linewidth=0)
        verb = "put into the blurred picture" if direction == "insertion" else "hidden"
        axes.set_title(f"{direction}: most salient pixels {verb}", loc="left", fontsize=10)
        axes.set_xscale("function", functions=(_root, np.square))  # most happens early
        axes.set_xticks(_TICKS)
        axes.set_xticklabels([str(tick) for tick in _TICKS])
        axes.set_xlim(0, 100)
        axes.set_ylabel("IoU x score of the target")
    panels[1].legend(
        loc="upper right", frameon=False, fontsize=8, title="map (targets)", title_fontsize=8
    )
    n = len({(row["picture"], row["target"]) for row in rows})
    what = "1 target" if n == 1 else f"median over {n} targets, middle half shaded"
    figure.suptitle(f"Protocol {protocol}; {what}", x=0.01, ha="left")
    return figure


def collection_figure(insertion: SetCurve, deletion: SetCurve) -> Figure:
    """Average precision of a whole set as its pixels are put in and hidden."""
    figure, (axes,) = _figure(1)
    for curve, colour in zip((insertion, deletion), CURVES, strict=False):
        share, direction = 100 * np.array(curve.fraction), curve.direction
        ap50 = f"{direction}, AP50 (area {curve.ap50_area:z.3f})"
        ap = f"{direction}, AP (area {curve.area:z.3f})"
        style: dict[str, Any] = {"color": colour, "linewidth": 2.2, "marker": "."}
        axes.plot(share, curve.ap50, label=ap50, **style)
        style = {"color": colour, "linewidth": 1.2, "linestyle": _DASHES}
        axes.plot(share, curve.ap, label=ap, **style)
    boxes = plural(insertion.n_boxes, "annotated box", "annotated boxes")
    axes.set_ylabel("average precision of the set")
    axes.set_title(
        f"{plural(insertion.n_pictures, 'picture')}, {boxes}, "
        f"protocol {insertion.protocol['name']}",
        loc="left",
        fontsize=10,
    )
    axes.legend(frameon=False, fontsize=8)
    return figure


def collections_figure(runs: Mapping[str, Sequence[SetCurve]]) -> Figure:
    """AP50 of a set under insertion and deletion: curves by detector's name, in one figure."""
    figure, (axes,) = _figure(1)
    for (name, curves), colour in zip(runs.items(), cycle(CURVES), strict=False):
        for curve in curves:
            axes.plot(
                100 * np.array(curve.fraction),
                curve.ap50,
                color=colour,
                linewidth=2,
                marker=".",
                linestyle="solid" if curve.direction == "insertion" else _DASHES,
                label=f"{name}, {curve.direction} (area {curve.ap50_area:z.3f})",
            )
    protocol = next(iter(runs.values()))[0].protocol["name"]
    axes.set_ylabel("AP50 of the set")
    axes.set_title(f"Protocol {protocol}", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return figure


def shares_figure(rows: Sequence[tuple[str, Mapping[str, float]]], title: str) -> Figure:
    """Shares of the evidence in box, ring and beyond, in [0, 1]: a bar per row, with its label."""
    figure = Figure(
        figsize=(7, 1.4 + 0.45 * len(rows)), dpi=_DPI, layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    labels, left = [printable(label) for label, _ in rows], np.zeros(len(rows))
    for (part, text), colour in zip(PARTS.items(), PART_COLOURS, strict=True):
        shares = np.array([100 * of[part] for _, of in rows])
        axes.barh(range(len(rows)), shares, left=left, color=colour, height=0.6, label=text)
        left += shares
    axes.set_yticks(range(len(rows)), labels=labels, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of the supported positive evidence, %")
    axes.set_title(printable(title), loc="left", fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    figure.legend(loc="outside lower left", ncols=len(PARTS), frameon=False, fontsize=8)
    return figure


def average_figure(
    face: UInt8[npt.NDArray[np.uint8], "side side 3"],
    under_map: UInt8[npt.NDArray[np.uint8], "side side 3"],
    scale: Scale,
    title: str,
) -> Figure:
    """An average picture beside its average map, with the colour bar."""
    figure = Figure(figsize=(6.4, 3.4), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for axes, pixels in zip(figure.subplots(1, 2), (face, under_map), strict=True):
        axes.imshow(pixels)
        axes.set_axis_off()
    draw_bar(axes, scale, Look(ground="light"))
    figure.suptitle(printable(title), x=0.01, ha="left", fontsize=10, parse_math=False)
    return figure


def _figure(columns: int) -> tuple[Figure, list[Axes]]:
    size = (5.4 * columns + 0.6, 4.2)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(1, columns, squeeze=False).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e5e7eb", linewidth=0.6)
        axes.tick_params(labelsize=8, colors=_QUIET)
        axes.set_ylim(0, 1)
        axes.set_xlabel("most salient pixels, % of the picture")
    return figure, panels


def _root(values: Any) -> Any:
    return np.sqrt(np.clip(values, 0, None))


def _on_one_grid(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Curves at the same shares, in percent: their own where they share them, else 201 points."""
    shares = [tuple(row["fraction"]) for row in rows]
    end = min(share[-1] for share in shares)
    same = len(set(shares)) == 1
    grid = np.array(shares[0]) if same else end * np.linspace(0, 1, 201) ** 2
    values = [np.interp(grid, row["fraction"], row["similarity"]) for row in rows]
    return 100 * grid, np.array(values)
