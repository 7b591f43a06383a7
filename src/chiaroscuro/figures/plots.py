"""Numbers to figures, for a page or a paper: curves with their spread."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from chiaroscuro.figures.colours import CURVES
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import SetCurve

_QUIET = "#6b7280"
_TICKS = (0, 1, 5, 10, 20, 40, 60, 80, 100)


def curves_figure(rows: Sequence[Mapping[str, Any]], ours: str, protocol: str) -> Figure:
    """Insertion and deletion of every map: the median over targets, and the middle half of ours.

    Of one target it is that target's curve, with no spread.

    Args:
        rows: one a picture, target, map and direction, with ``fraction`` and ``similarity``; of
            every map the same targets.
        ours: name of the map that is drawn bold, first.
        protocol: name of the protocol, for the title.
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
                linestyle="solid" if bold else (0, (4, 2)),
                label=f"{name} ({len(curves)})",
                zorder=3 if bold else 2,
            )
            if bold and len(curves) > 1:
                axes.fill_between(share, low, high, color=colour, alpha=0.15, linewidth=0)
        verb = "put into the blurred picture" if direction == "insertion" else "hidden"
        axes.set_title(f"{direction}: most salient pixels {verb}", loc="left", fontsize=10)
        axes.set_ylabel("IoU x score of the target")
        axes.set_ylim(0, 1)
        _share_axis(axes, "function")
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
        share = 100 * np.array(curve.fraction)
        axes.plot(
            share,
            curve.ap50,
            color=colour,
            linewidth=2.2,
            marker=".",
            label=f"{curve.direction}, AP50 (area {curve.ap50_area:z.3f})",
        )
        axes.plot(
            share,
            curve.ap,
            color=colour,
            linewidth=1.2,
            linestyle=(0, (4, 2)),
            label=f"{curve.direction}, AP (area {curve.area:z.3f})",
        )
    axes.set_ylim(0, 1)
    axes.set_ylabel("average precision of the set")
    axes.set_title(
        f"{insertion.n_pictures} pictures, {insertion.n_boxes} marked boxes, "
        f"protocol {insertion.protocol['name']}",
        loc="left",
        fontsize=10,
    )
    _share_axis(axes, "linear")
    axes.legend(frameon=False, fontsize=8)
    return figure


def collections_figure(runs: Mapping[str, Sequence[SetCurve]]) -> Figure:
    """AP50 of a set under insertion and deletion, for several detectors in one figure.

    Args:
        runs: by the detector's name, its curves.
    """
    figure, (axes,) = _figure(1)
    for (name, curves), colour in zip(runs.items(), cycle(CURVES), strict=False):
        for curve in curves:
            axes.plot(
                100 * np.array(curve.fraction),
                curve.ap50,
                color=colour,
                linewidth=2,
                marker=".",
                linestyle="solid" if curve.direction == "insertion" else (0, (4, 2)),
                label=f"{name}, {curve.direction} (area {curve.ap50_area:z.3f})",
            )
    axes.set_ylim(0, 1)
    axes.set_ylabel("AP50 of the set")
    protocol = next(iter(runs.values()))[0].protocol["name"]
    axes.set_title(f"Protocol {protocol}", loc="left", fontsize=10)
    _share_axis(axes, "linear")
    axes.legend(frameon=False, fontsize=8)
    return figure


def save(figure: Figure, path: AnyPath, *, dpi: int = 150) -> AnyPath:
    """Write PNG or SVG by the path's suffix, whole or not at all; the same figure, the same bytes.

    Text stays text in SVG.
    """
    stream = io.BytesIO()
    kind = path.suffix.lstrip(".")
    unchanging = {"Date": None} if kind == "svg" else {"Software": None}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "chiaroscuro"}):
        figure.savefig(stream, format=kind, dpi=dpi, metadata=unchanging)
    bundle.write_atomically(path, lambda file: file.write(stream.getvalue()))
    return path


def _figure(columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.4 * columns + 0.6, 4.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e5e7eb", linewidth=0.6)
        axes.tick_params(labelsize=8, colors=_QUIET)
    return figure, panels


def _share_axis(axes: Axes, scale: str) -> None:
    """Percent of pixels; as square roots where most happens within the first few percent."""
    if scale == "function":
        axes.set_xscale("function", functions=(_root, np.square))
        axes.set_xticks(_TICKS)
        axes.set_xticklabels([str(tick) for tick in _TICKS])
        axes.set_xlim(0, 100)
    axes.set_xlabel("most salient pixels, % of the picture")


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
