"""Maps to pictures: the only place where a saliency map is scaled.

Figures are drawn with matplotlib's object interface, so nothing global changes and no display is
needed.
"""

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from chiaroscuro import boxes, bundle
from chiaroscuro.bundle import printable
from chiaroscuro.errors import UnknownNameError
from chiaroscuro.evidence import usable_image
from chiaroscuro.metrics.maps import usable_map
from chiaroscuro.records import Explanation, Proposals, Target
from chiaroscuro.threads import PROCESS_WIDE

COLOURS = "jet"  # blue low to red high, as in the seed paper
UNIFORM_COLOURS = "viridis"
DIVERGING_COLOURS = ("coolwarm", "bwr", "seismic", "RdBu_r")
TARGET_COLOUR = "#39ff14"
PROPOSAL_COLOUR = "#4da3ff"
_PANEL_INCHES = 4.2
_GROUND, _INK, _QUIET_INK = "#16181c", "#f2f2f2", "#a9adb5"
_DARK_MEAN = 0.35  # mean brightness to which darker pictures are lifted under a map


def value_range(saliency: Any, colours: str = COLOURS) -> tuple[float, float]:
    """Values at the two ends of the colour scale of a map ``height width``.

    Zero is always on it. On a diverging colour map it is in the middle, and positive and negative
    evidence weigh the same. On any other the high end is the map's highest value, and the low end
    reaches no further below zero than a quarter of it: lower values take the lowest colour.
    """
    saliency = usable_map(saliency)
    low, high = min(float(saliency.min()), 0.0), max(float(saliency.max()), 0.0)
    if colours in DIVERGING_COLOURS:
        low, high = -max(high, -low), max(high, -low)
    elif high > 0:
        low = max(low, -high / 4)
    return (low, high) if high > low else (0.0, 1.0)


def overlay(
    image: Any,
    saliency: Any,
    standard_error: Any = None,
    colours: str = COLOURS,
    opacity: float = 0.6,
) -> npt.NDArray[np.uint8]:
    """A map in colour over its picture.

    A dark picture is lifted first, so that its forms stay readable under the colours. Where a value
    cannot be told from zero by its standard error, its colour is faint.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        saliency: ``height width``, raw values: a tensor, a NumPy array or lists.
        standard_error: of the values; every colour is strong when not given or 0
            everywhere, as of a method that knows none.
        colours: a matplotlib colour map.
        opacity: of the strongest colours, in [0, 1].

    Returns:
        ``height width 3``.

    Raises:
        UnknownNameError: on a colour map that matplotlib does not have.
        InputError: on a map of another size than the picture.
    """
    image = usable_image(image)
    size = (image.shape[1], image.shape[2])
    saliency = usable_map(saliency, size)
    picture = _lifted(_pixels(image))
    scaled = Normalize(*value_range(saliency, colours), clip=True)(saliency.numpy())
    tint = np.asarray(_colour_map(colours)(scaled))[..., :3]
    sure = np.ones(saliency.shape)
    errors = None if standard_error is None else usable_map(standard_error, size)
    if errors is not None and bool(errors.any()):
        noise = errors.numpy().clip(min=1e-12)
        sure = ((np.abs(saliency.numpy()) / noise - 1) / 3).clip(0, 1)
    alpha = opacity * (0.5 + 0.5 * sure[..., None])
    blend = picture * (1 - alpha) + tint * alpha
    return (blend.clip(0, 1) * 255).round().astype(np.uint8)


def target_figure(
    image: Any,
    result: Explanation,
    index: int,
    proposals: Proposals | None = None,
    colours: str = COLOURS,
    captions: Sequence[str] = (),
) -> Figure:
    """One target's map over the picture, with the boxes and a colour bar of the real values."""
    image = usable_image(image)
    height, width = image.shape[1:]
    figure, (axes,) = _figure(1, 1, height / width, bar=True)
    _draw_map(axes, image, result, index, proposals, colours)
    _set_title(axes, _title(result, index, captions))
    return figure


def contact_sheet(
    image: Any,
    result: Explanation,
    proposals: Proposals | None = None,
    heading: str = "",
    colours: str = COLOURS,
    captions: Sequence[str] = (),
) -> Figure:
    """The picture with every box, then every target's map, on one sheet."""
    image = usable_image(image)
    height, width = image.shape[1:]
    n_panels = 1 + len(result)
    columns = min(n_panels, 4 if height > width else 3)
    rows = math.ceil(n_panels / columns)
    figure, panels = _figure(rows, columns, height / width, bar=True, heading=bool(heading))
    if heading:
        text = printable(heading)
        figure.suptitle(text, color=_INK, fontsize=13, x=0.01, ha="left", parse_math=False)
    first = panels[0]
    first.imshow(_pixels(image))
    _draw_proposals(first, proposals, result.targets)
    for number, target in enumerate(result.targets, start=1):
        _draw_box(first, target, label=str(number))
    title = "what was found (blue) and explained (green)" if len(result) else "nothing to explain"
    _set_title(first, title)
    for index in range(len(result)):
        axes = panels[1 + index]
        _draw_map(axes, image, result, index, proposals, colours)
        _set_title(axes, _title(result, index, captions))
    for axes in panels[n_panels:]:
        axes.set_visible(False)
    return figure


def save_figure(figure: Figure, path: Path, *, dpi: int = 110) -> Path:
    """Write a PNG, whole or not at all."""
    stream = io.BytesIO()
    with PROCESS_WIDE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks
        figure.savefig(stream, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    bundle.write_atomically(path, lambda file: file.write(stream.getvalue()))
    return path


def _figure(
    rows: int, columns: int, aspect: float, *, bar: bool, heading: bool = False
) -> tuple[Figure, list[Axes]]:
    wide = _PANEL_INCHES * (1.16 if bar else 1)
    high = _PANEL_INCHES * min(max(aspect, 0.4), 2.5) + 0.35
    figure = Figure(
        figsize=(wide * columns, high * rows + (0.4 if heading else 0)),
        facecolor=_GROUND,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = [axes for row in grid for axes in row]
    for axes in panels:
        axes.set_axis_off()
    return figure, panels


def _draw_map(
    axes: Axes,
    image: Tensor,
    result: Explanation,
    index: int,
    proposals: Proposals | None,
    colours: str,
) -> None:
    saliency, target = result.saliency[index], result.targets[index]
    axes.imshow(overlay(image, saliency, result.standard_error[index], colours))
    _draw_proposals(axes, proposals, [target])
    _draw_box(axes, target)
    low, high = value_range(saliency, colours)
    scale = ScalarMappable(Normalize(low, high), _colour_map(colours))
    clipped = "min" if float(saliency.min()) < low else "neither"
    bar = axes.figure.colorbar(scale, ax=axes, fraction=0.04, pad=0.02, extend=clipped)
    bar.ax.tick_params(colors=_QUIET_INK, labelsize=7)
    bar.ax.yaxis.get_offset_text().set_color(_QUIET_INK)
    bar.ax.yaxis.get_offset_text().set_fontsize(7)
    bar.ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if low < 0 < high:
        bar.ax.axhline(0, color=_INK, linewidth=0.8)
    bar.outline.set_visible(False)


def _draw_box(axes: Axes, target: Target, label: str = "") -> None:
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


def _draw_proposals(axes: Axes, proposals: Proposals | None, targets: Sequence[Target]) -> None:
    if proposals is None or not len(proposals):
        return
    others = proposals.boxes
    if targets:
        explained = torch.stack([target.box for target in targets])
        others = others[boxes.iou(others, explained).max(dim=1).values < 0.95]
    for box in others:
        _outline(axes, box, edgecolor=PROPOSAL_COLOUR, linewidth=0.9)


def _outline(axes: Axes, box: Tensor, **style: Any) -> None:
    """A box in an image's axes, whose pixel centres are whole numbers."""
    x1, y1, x2, y2 = box.tolist()
    corner = (x1 - 0.5, y1 - 0.5)
    axes.add_patch(Rectangle(corner, x2 - x1, y2 - y1, fill=False, **style))


def _set_title(axes: Axes, text: str) -> None:
    """Names of files and captions as they are: no formulas between dollar signs."""
    axes.set_title(printable(text), color=_INK, fontsize=10, loc="left", parse_math=False)


def _title(result: Explanation, index: int, captions: Sequence[str]) -> str:
    target = result.targets[index]
    words = {"found": "found", "drawn": "drawn box", "truth": "true box"}
    what = captions[index] if captions else words[target.origin]
    score = "" if target.score is None else f" {target.score:z.2f}"
    named = f"{index + 1}: {what}{score}"
    method = result.settings.get("method", "drise")
    if method != "drise":
        named += f", {method}"
    if bool(result.fidelity[index].isnan()):
        return named
    fidelity = math.floor(100 * float(result.fidelity[index])) / 100  # .997 is not 1.00
    return f"{named}, fidelity {fidelity:z.2f}"


def pixels(image: Any) -> npt.NDArray[np.uint8]:
    """A picture, in any form that ``cs.explain`` takes, as uint8 ``height width 3``."""
    image = usable_image(image)
    levels = image if image.dtype == torch.uint8 else (image * 255).round().byte()
    array: npt.NDArray[np.uint8] = np.ascontiguousarray(levels.permute(1, 2, 0).numpy())
    return array


def _pixels(image: Tensor) -> npt.NDArray[np.float32]:
    floats = image.float() / 255 if image.dtype == torch.uint8 else image
    pixels: npt.NDArray[np.float32] = floats.permute(1, 2, 0).numpy()
    return pixels


def _lifted(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Shadows lifted by a gamma curve until the mean brightness reaches ``_DARK_MEAN``."""
    mean = float(pixels.mean())
    if mean >= _DARK_MEAN:
        return pixels
    gamma = max(0.4, math.log(_DARK_MEAN) / math.log(max(mean, 1e-3)))
    lifted: npt.NDArray[np.float32] = pixels**gamma
    return lifted


def check_colours(name: str) -> None:
    """Raise UnknownNameError if there is no colour map of that name."""
    _colour_map(name)


def _colour_map(name: str) -> matplotlib.colors.Colormap:
    if name not in matplotlib.colormaps:
        raise UnknownNameError("colour map", name, [COLOURS, UNIFORM_COLOURS, *DIVERGING_COLOURS])
    return matplotlib.colormaps[name]
