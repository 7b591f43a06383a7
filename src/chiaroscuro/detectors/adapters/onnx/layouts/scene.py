"""Numbers of an output as boxes, scores and labels."""

from typing import NamedTuple

import torch
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.detectors.adapters.onnx.layouts.grid import on_grid
from chiaroscuro.detectors.adapters.onnx.layouts.reading import Reading
from chiaroscuro.detectors.commons.box_formats import corners
from chiaroscuro.detectors.commons.placement import scaled_up
from chiaroscuro.detectors.commons.rows import Rows


class Scene(NamedTuple):
    """What outputs are decoded with.

    Attributes:
        size: height, width of the network's input.
        n_classes: number of class names.
        reading: how the numbers read.
    """

    size: tuple[int, int]
    n_classes: int
    reading: Reading

    def boxes(self, raw: Tensor) -> Tensor:
        """Boxes ``n 4`` as ``x1 y1 x2 y2`` in pixels of the network's input."""
        reading = self.reading
        if reading.grid_offsets:
            return corners(on_grid(raw, self.size), "cxcywh")
        boxes = corners(raw, reading.box_format)
        return scaled_up(boxes, self.size) if reading.normalised else boxes

    def activated(self, raw: Tensor) -> Tensor:
        """Scores as probabilities; for softmax, classes are the last axis."""
        if self.reading.scores == "softmax":
            return raw.softmax(dim=-1)
        return raw.sigmoid() if self.reading.scores == "sigmoid" else raw

    def classes(self, raw: Tensor) -> Tensor:
        """Scores ``n columns`` as probabilities of the classes alone, without background."""
        first = self.reading.first_label or 0
        return self.activated(raw)[:, first : first + self.n_classes]

    def listed(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Rows:
        """Rows that carry their label."""
        scores = torch.where(torch.isfinite(labels), self.activated(scores), torch.nan)
        whole = labels.nan_to_num(0, 0, 0).round()
        split = (labels - whole).abs()[scores > 0]
        if len(split) and float(split.max()) > 0.01:
            raise DetectorOutputError(
                "ONNX detector: wanted whole numbers as labels, got "
                f"{float(labels[scores > 0][split.argmax()]):z.4g}; scores and labels may be "
                "swapped: give another layout=, or outputs="
            )
        return Rows(self.boxes(boxes), scores, whole.long() - (self.reading.first_label or 0))


def item(tensor: Tensor, n_dims: int) -> Tensor:
    """One picture's part of an output, without leading sides of 1."""
    while tensor.ndim > n_dims and len(tensor) == 1:
        tensor = tensor[0]
    if tensor.ndim != n_dims:
        raise DetectorOutputError(
            f"ONNX detector: wanted {n_dims} sides in an output for one picture, got shape "
            f"{tuple(tensor.shape)}; export it with a batch size of 1"
        )
    return tensor
