"""Pictures for reports: a picture under one map or two, and the average of many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

from chiaroscuro.core.text import plural
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures import plots
from chiaroscuro.figures.colours import Scale
from chiaroscuro.figures.encode import data_uri
from chiaroscuro.figures.enlarge import enlarged
from chiaroscuro.figures.legends import (
    average_legend,
    difference_legend,
    difference_scale,
    map_legend,
)
from chiaroscuro.figures.look import DEFAULT_LOOK, TARGET_COLOUR, Look
from chiaroscuro.figures.overlay import boxed, overlay, pixels
from chiaroscuro.metrics.difference import map_difference, n_cells_of
from chiaroscuro.studies.averages import MARGIN, AverageMap


@dataclass(frozen=True, slots=True, eq=False)
class MapCard:
    """A picture under a map, ``height width 3``, and the legend of its colours."""

    pixels: npt.NDArray[np.uint8]
    legend: Mapping[str, Any]


def mapped(image: Tensor, of: Explanation, index: int, look: Look = DEFAULT_LOOK) -> MapCard:
    """A picture under one map of an explanation."""
    saliency, error = of.saliency[index], of.standard_error[index]
    scale = look.scale(saliency, error)
    return MapCard(overlay(image, saliency, error, scale=scale), map_legend(scale, of))


def closeup_cards(
    image: Tensor, of: Explanation, index: int, look: Look = DEFAULT_LOOK
) -> tuple[MapCard, MapCard] | None:
    """A close-up as painted, and under its map, both with the box; None where there is none."""
    closeup = of.closeup(index)
    if closeup is None:
        return None
    crop, alone = enlarged(image, closeup, of)
    (target,), card = alone.targets, mapped(crop, alone, 0, look)
    painted = MapCard(boxed(pixels(crop), target), {})
    return painted, MapCard(boxed(card.pixels, target), card.legend)


def compared(
    image: Tensor,
    maps: Sequence[Explanation],
    index: Sequence[int],
    names: Sequence[str],
    look: Look = DEFAULT_LOOK,
) -> dict[str, MapCard]:
    """A picture under two maps of one target, and under the difference of the two.

    The difference is in standard errors, and shown only where it is more than chance: see
    ``metrics.difference``. ``maps`` are two explanations, or one that holds both maps twice;
    ``index`` is that of the target in each, ``names`` those of the detectors.
    """
    (first, i), (second, j) = zip(maps, index, strict=True)
    difference = map_difference(
        first.saliency[i],
        second.saliency[j],
        first.standard_error[i],
        second.standard_error[j],
        n_cells_of(first.settings),
    )
    over = overlay(image, difference.in_errors, scale=difference_scale(difference))
    return {
        "map_first": mapped(image, first, i, look),
        "map_second": mapped(image, second, j, look),
        "difference": MapCard(over, difference_legend(difference, names)),
    }


@dataclass(frozen=True, slots=True, eq=False)
class AverageCard:
    """The average picture and map of many targets, ``side side 3``, with their box."""

    of: AverageMap
    face: npt.NDArray[np.uint8]
    map: npt.NDArray[np.uint8]
    scale: Scale

    @classmethod
    def make(cls, of: AverageMap) -> "AverageCard":
        """Draw an average."""
        side = of.saliency.shape[0]
        error = of.standard_error.clamp(max=1e30)
        scale = Scale.of(of.saliency, error)
        grey = torch.full((3, side, side), 0.5)
        under_map = _framed(overlay(grey, of.saliency, error, scale=scale))
        return cls(of, _framed(pixels(of.face.clamp(0, 1))), under_map, scale)

    def describe(self) -> dict[str, Any]:
        """Pictures as addresses, counts and the legend, for a page."""
        return {
            "n": self.of.n_targets,
            "n_empty": self.of.n_empty,
            "legend": average_legend(self.scale, self.of.n_targets),
            "face": data_uri(self.face),
            "map": data_uri(self.map),
        }

    def figure(self, title: str) -> Figure:
        """The same as a figure with a colour bar."""
        title = f"{title}: average of {plural(self.of.n_targets, 'target')}"
        return plots.average_figure(self.face, self.map, self.scale, title)


def _framed(square: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    side = 3 * square.shape[0]
    framed = Image.fromarray(square).resize((side, side))
    edge = side * MARGIN / (1 + 2 * MARGIN)
    box = [edge, edge, side - edge, side - edge]
    ImageDraw.Draw(framed).rectangle(box, outline=TARGET_COLOUR, width=2)
    return np.asarray(framed)
