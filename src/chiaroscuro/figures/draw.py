"""Maps over their pictures, and figures with boxes, titles and legends.

What a colour means is decided in ``colours``. Figures are drawn with matplotlib's object interface,
so nothing global changes and no display is needed.
"""

import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import usable_image
from chiaroscuro.figures.colours import (
    LEGEND_GROUND,
    SIGNED,
    SIGNS,
    SUPPORTED,
    Scale,
    Sign,
    check_colours,
    greyed,
    laid_over,
    sides,
    value_text,
)
from chiaroscuro.metrics.maps import usable_map
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import printable

TARGET_COLOUR = "#39ff14"
PROPOSAL_COLOUR = "#f2f2f2"  # no colour, since blue and vermilion are the maps'
_PANEL_INCHES = 4.2
_DARK_MEAN = 0.35  # mean brightness to which darker pictures are lifted under a map


@dataclass(frozen=True, slots=True)
class Ground:
    """Colours of a figure around its pictures."""

    page: str
    ink: str
    quiet: str


GROUNDS = {
    "dark": Ground("#16181c", "#f2f2f2", "#a9adb5"),
    "light": Ground("#ffffff", "#15171a", "#555b66"),
}
GROUND = "dark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How figures look.

    Attributes:
        colours: ``"signed"`` (blue against, vermilion in favour), ``"paper"`` (the seed paper's
            blue to red), or a colour map of matplotlib.
        ground: ``"dark"``, or ``"light"`` for papers.
        contours: lines at a quarter, half and three quarters of the scale in place of colours, for
            print: solid in favour, dashed against.
        sign: which evidence is shown: ``"all"``, ``"positive"`` or ``"negative"``.
        threshold: share of the largest absolute value shown, in [0, 1], below which a pixel is
            clear.

    Raises:
        UnknownNameError: on colours, a ground or a sign of another name.
    """

    colours: str = SIGNED
    ground: str = GROUND
    contours: bool = False
    sign: str = "all"
    threshold: float | int = 0.0

    def __post_init__(self) -> None:
        check_colours(self.colours)
        if self.ground not in GROUNDS:
            raise UnknownNameError("ground", self.ground, list(GROUNDS))
        if self.sign not in SIGNS:
            raise UnknownNameError("sign", self.sign, list(SIGNS))

    def scale(self, saliency: Any, standard_error: Any = None) -> Scale:
        """The scale of a map in this look.

        Args:
            saliency: ``height width``, raw values: a tensor, a NumPy array or lists.
            standard_error: of the values; None, or 0 everywhere, for a method that knows none.

        Raises:
            InputError: on what is no map.
        """
        return Scale.of(
            usable_map(saliency),
            None if standard_error is None else usable_map(standard_error),
            self.colours,
            sign=cast("Sign", self.sign),
            threshold=self.threshold,
        )


USUAL = Look()


def overlay(
    image: Any,
    saliency: Any,
    standard_error: Any = None,
    colours: str = SIGNED,
    *,
    scale: Scale | None = None,
) -> npt.NDArray[np.uint8]:
    """A map in colour over its picture, which is shown in grey.

    A dark picture is lifted first, so that its forms stay readable under the colours. Values that
    do not stand out from their standard error are clear.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        saliency: ``height width``, raw values: a tensor, a NumPy array or lists.
        standard_error: of the values; None, or 0 everywhere, for a method that knows none.
        colours: as of ``Look``.
        scale: in place of the map's own.

    Returns:
        ``height width 3``.

    Raises:
        UnknownNameError: on colours that matplotlib does not have.
        InputError: on a map of another size than the picture.
    """
    image = usable_image(image)
    size = (image.shape[1], image.shape[2])
    saliency = usable_map(saliency, size)
    errors = None if standard_error is None else usable_map(standard_error, size)
    scale = scale or Scale.of(saliency, errors, colours)
    ground = greyed(_lifted(_pixels(image)))
    blend = laid_over(ground, scale.of_map(saliency, errors))
    return (blend.clip(0, 1) * 255).round().astype(np.uint8)


def target_figure(
    image: Any,
    result: Explanation,
    index: int,
    proposals: Proposals | None = None,
    look: Look = USUAL,
    captions: Sequence[str] = (),
) -> Figure:
    """One target's map over the picture, with the boxes and a colour bar of the real values."""
    image = usable_image(image)
    height, width = image.shape[1:]
    figure, (axes,) = _figure(1, 1, height / width, look)
    _draw_map(axes, image, result, index, proposals, look)
    _entitle(axes, _title(result, index, captions), look)
    _explain_colours(figure, result, look)
    return figure


def contact_sheet(
    image: Any,
    result: Explanation,
    proposals: Proposals | None = None,
    heading: str = "",
    look: Look = USUAL,
    captions: Sequence[str] = (),
) -> Figure:
    """The picture with every box, then every target's map, on one sheet."""
    image = usable_image(image)
    height, width = image.shape[1:]
    n_panels = 1 + len(result)
    columns = min(n_panels, 4 if height > width else 3)
    rows = math.ceil(n_panels / columns)
    figure, panels = _figure(rows, columns, height / width, look, heading=bool(heading))
    if heading:
        figure.suptitle(
            printable(heading),
            color=GROUNDS[look.ground].ink,
            fontsize=13,
            x=0.01,
            ha="left",
            parse_math=False,
        )
    first = panels[0]
    first.imshow(_pixels(image))
    _draw_proposals(first, proposals, result.targets)
    for number, target in enumerate(result.targets, start=1):
        _draw_box(first, target, label=str(number))
    title = "boxes: found (white), explained (green)" if len(result) else "nothing to explain"
    _entitle(first, title, look)
    for index in range(len(result)):
        axes = panels[1 + index]
        _draw_map(axes, image, result, index, proposals, look)
        _entitle(axes, _title(result, index, captions), look)
    for axes in panels[n_panels:]:
        axes.set_visible(False)
    if len(result):
        _explain_colours(figure, result, look)
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
    rows: int, columns: int, aspect: float, look: Look, *, heading: bool = False
) -> tuple[Figure, list[Axes]]:
    wide = _PANEL_INCHES * 1.16
    high = _PANEL_INCHES * min(max(aspect, 0.4), 2.5) + 0.35
    figure = Figure(
        figsize=(wide * columns, high * rows + (0.4 if heading else 0)),
        facecolor=GROUNDS[look.ground].page,
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
    look: Look,
) -> None:
    saliency, target = result.saliency[index], result.targets[index]
    error = result.standard_error[index]
    scale = look.scale(saliency, error)
    if look.contours:
        axes.imshow(greyed(_lifted(_pixels(image))))
        _draw_contours(axes, scale, saliency, error)
    else:
        axes.imshow(overlay(image, saliency, error, scale=scale))
    _draw_proposals(axes, proposals, [target])
    _draw_box(axes, target)
    if not look.contours:
        _draw_legend(axes, scale, look)


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


def _draw_legend(axes: Axes, scale: Scale, look: Look) -> None:
    """The scale in use, with its numbers, and zero marked."""
    ground = GROUNDS[look.ground]
    values, colours = scale.ramp()
    strip = ListedColormap(laid_over(np.array(to_rgb(LEGEND_GROUND)), colours))
    mappable = ScalarMappable(Normalize(values[0], values[-1]), strip)
    clipped = "min" if scale.below else "neither"
    bar = axes.figure.colorbar(mappable, ax=axes, fraction=0.04, pad=0.02, extend=clipped)
    bar.ax.tick_params(colors=ground.quiet, labelsize=7)
    bar.ax.yaxis.get_offset_text().set_color(ground.quiet)
    bar.ax.yaxis.get_offset_text().set_fontsize(7)
    bar.ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if values[0] < 0 < values[-1]:
        bar.ax.axhline(0, color=ground.ink, linewidth=1.0)
    bar.outline.set_visible(False)


def _explain_colours(figure: Figure, result: Explanation, look: Look) -> None:
    """What the colours and the numbers mean, under a figure."""
    if look.contours:
        favour, against = sides(result.settings)
        words = f"Solid lines: {favour}; dashed: {against}."
        if bool(result.standard_error.any()):
            words += f" None within {SUPPORTED:g} standard errors of zero."
    else:
        words = _words(result, look)
    if result.meaning:
        words += f" Numbers: {result.meaning}."
    width = int(18 * figure.get_figwidth())  # letters of this size
    figure.supxlabel(
        printable(textwrap.fill(words, width)),
        color=GROUNDS[look.ground].quiet,
        fontsize=7,
        x=0.01,
        ha="left",
        parse_math=False,
    )


def _words(result: Explanation, look: Look) -> str:
    """The scales of several maps in one sentence: without the numbers of one of them."""
    any_scale = Scale(name=look.colours, low=-1.0, high=1.0, sign=cast("Sign", look.sign))
    favour, against = sides(result.settings)
    words = any_scale.words(favour, against, errors=bool(result.standard_error.any()))
    if look.threshold:
        words += f" Values under {look.threshold:z.0%} of the largest are clear too."
    return words


def _entitle(axes: Axes, title: str, look: Look) -> None:
    """Names of files and captions as they are: no formulas between dollar signs."""
    ink = GROUNDS[look.ground].ink
    axes.set_title(printable(title), color=ink, fontsize=10, loc="left", parse_math=False)


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
        for colour, width in (("black", 2.2), (PROPOSAL_COLOUR, 0.9)):
            _outline(axes, box, edgecolor=colour, linewidth=width)


def _outline(axes: Axes, box: Tensor, **style: Any) -> None:
    """A box in an image's axes, whose pixel centres are whole numbers."""
    x1, y1, x2, y2 = box.tolist()
    corner = (x1 - 0.5, y1 - 0.5)
    axes.add_patch(Rectangle(corner, x2 - x1, y2 - y1, fill=False, **style))


def _title(result: Explanation, index: int, captions: Sequence[str]) -> str:
    target = result.targets[index]
    words = {"found": "found", "drawn": "drawn box", "truth": "true box"}
    what = captions[index] if captions else words[target.origin]
    score = "" if target.score is None else f" {target.score:z.2f}"
    named = f"{index + 1}: {what}{score}"
    method = result.settings.get("method", "drise")
    if method != "drise":
        named += f", {method}"
    fidelity = result.fidelity_text(index)
    return f"{named}, {fidelity}" if fidelity else named


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
