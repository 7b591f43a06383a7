"""What a layout is: which outputs play which part, how their numbers read, what pictures it needs.

A file states what its outputs are called and how large they are, not what they mean. Their meaning
is a :class:`Layout`: a small record and a function that decodes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Roles
from chiaroscuro.detectors.adapters.onnx.layouts.grid import on_grid
from chiaroscuro.detectors.commons.placement import corners, scaled_up
from chiaroscuro.detectors.commons.rows import Rows

ACTIVATIONS = ("none", "sigmoid", "softmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the numbers of the outputs read.

    Attributes:
        box_format: one of ``BOX_FORMATS``.
        normalised: whether boxes are in [0, 1] of the network's input instead of its pixels.
        scores: the activation that the scores still need, one of ``ACTIVATIONS``.
        grid_offsets: whether centres are offsets from cells of 8, 16 and 32 pixels and sizes are
            logarithms, as in raw YOLOX; None where the numbers decide.
        first_label: label, or column of the scores, of the first class: 1 where a background comes
            before it; None where it is unknown.
        no_object: whether the last column of the scores stands for "no object".
    """

    box_format: str = "xyxy"
    normalised: bool = False
    scores: str = "none"
    grid_offsets: bool | None = False
    first_label: int | None = 0
    no_object: bool = False

    @property
    def n_extra(self) -> int:
        """Columns of the scores that are not classes."""
        return (self.first_label or 0) + self.no_object


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """How a family of networks expects its pictures.

    Attributes:
        normalise: how pixels are scaled, a name of ``NORMALISATIONS``.
        channel_order: ``"rgb"`` or ``"bgr"``.
        letterbox: whether pictures get bars or are stretched.
        padding: where a picture lies between the bars: ``"centre"`` or ``"top-left"``.
        padding_colour: of the bars: a grey or red, green and blue in [0, 255], or ``"mean"`` for
            the colour that becomes 0.
        multiple: of which sides must be multiples, where a file leaves them open.
    """

    normalise: str = "unit"
    channel_order: str = "rgb"
    letterbox: bool = True
    padding: str = "centre"
    padding_colour: Any = 114
    multiple: int = 32

    def with_options(self, **options: Any) -> "Feeding":
        """This feeding with the user's options in its place; None keeps the default."""
        return replace(self, **{k: v for k, v in options.items() if v is not None})


Decode = Callable[[dict[str, Tensor], Scene], Rows]  # of one picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a family of exports means by its outputs, and how it expects its pictures.

    Attributes:
        summary: one line for messages.
        roles: which output plays which part; None where these outputs cannot be of this layout.
            The first of the roles holds the boxes.
        decode: outputs of one picture, by role, as rows.
        knows: whether names and shapes indicate this layout, where its roles do not suffice.
        reading: how the numbers read.
        feeding: how pictures are prepared.
        before_nms: whether non-maximum suppression is left to the caller.
        columns: number of columns of scores by the shapes, None while sides are open; None where
            rows carry labels.
        one_by_one: whether the outputs of several pictures are mixed.
        needs_format: whether the user must give the format of the boxes.
        class_names: where the family has classes of its own.
    """

    summary: str
    roles: Callable[[File], Roles | None]
    decode: Decode
    knows: Callable[[File, Roles], bool] = lambda file, roles: True
    reading: Reading = field(default_factory=Reading)
    feeding: Feeding = field(default_factory=Feeding)
    before_nms: bool = False
    columns: Callable[[Roles], int | None] | None = None
    one_by_one: bool = False
    needs_format: bool = False
    class_names: tuple[str, ...] = ()
