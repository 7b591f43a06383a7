"""What a layout is: which outputs play which part, how their numbers read, what the pictures need.

A file says what its outputs are called and how large they are, not what they mean. What they mean
is a :class:`Layout`: a small record and a function that decodes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.detectors.frames import Frame
from chiaroscuro.detectors.rows import Rows

BOX_FORMATS = ("xyxy", "yxyx", "xywh", "cxcywh")
ACTIVATIONS = ("none", "sigmoid", "softmax")
_LARGEST_LOG_SIZE = 12.0  # exp(12) cells are over a million pixels: no raw size is larger


class Output(NamedTuple):
    """One output of a file; a side of 0 may be any."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float(self) -> bool:
        """Whether it holds floats of any width."""
        return "float" in self.dtype or "double" in self.dtype

    @property
    def key(self) -> str:
        """Its name in lower case, without the number that TensorFlow puts behind it."""
        return self.name.lower().removesuffix(":0")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What is known of a file before its outputs are understood.

    Attributes:
        outputs: as the file declares them, or as they were measured.
        size: height and width that the shapes belong to; 0 where unknown.
        n_classes: number of classes, where it is known from elsewhere.
        hint: any text that may name the architecture, such as the file's name.
        inputs: names of the inputs beside the picture.
        on_blank: values of an output for a blank picture, or None where the file does not run.
    """

    outputs: Sequence[Output]
    size: tuple[int, int] = (0, 0)
    n_classes: int | None = None
    hint: str = ""
    inputs: frozenset[str] = frozenset()
    on_blank: Callable[[str], Any] = lambda _: None

    @property
    def words(self) -> str:
        """The hint in one spelling."""
        return self.hint.lower().replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the numbers of the outputs read.

    Attributes:
        box_format: one of ``BOX_FORMATS``.
        normalised: whether boxes are in [0, 1] of the network's input instead of its pixels.
        scores: what is still to be done to the scores, one of ``ACTIVATIONS``.
        grid_offsets: whether centres are offsets from cells of 8, 16 and 32 pixels and sizes are
            logarithms, as YOLOX leaves them; None where the numbers tell.
        first_label: label, or column of the scores, of the first class: 1 where a background comes
            before it; None where the file does not tell.
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
        """Columns of the scores that are no class."""
        return (self.first_label or 0) + self.no_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """What a family of networks is fed with, by habit.

    Attributes:
        normalise: how pixels are scaled, a name of ``NORMALISATIONS``.
        channel_order: ``"rgb"`` or ``"bgr"``.
        letterbox: whether pictures get bars or are stretched.
        padding: where a picture lies between its bars: ``"centre"`` or ``"top-left"``.
        padding_colour: of the bars: a grey or red, green and blue in [0, 255], or ``"mean"`` for
            what becomes 0.
        multiple: what sides must be a multiple of, where a file leaves them open.
    """

    normalise: str = "unit"
    channel_order: str = "rgb"
    letterbox: bool = True
    padding: str = "centre"
    padding_colour: Any = 114
    multiple: int = 32


class Scene(NamedTuple):
    """What outputs are decoded by: how the picture lay, how many classes, how numbers read."""

    frame: Frame
    n_classes: int
    reading: Reading

    def boxes(self, raw: Tensor) -> Tensor:
        """Boxes ``n 4`` as ``x1 y1 x2 y2`` in pixels of the network's input."""
        reading = self.reading
        if reading.grid_offsets:
            return corners(on_grid(raw, self.frame.size), "cxcywh")
        boxes = corners(raw, reading.box_format)
        height, width = self.frame.size
        sides = boxes.new_tensor([width, height, width, height])
        return boxes * sides if reading.normalised else boxes

    def activated(self, raw: Tensor) -> Tensor:
        """Scores as probabilities; of softmax, the classes are the last axis."""
        if self.reading.scores == "softmax":
            return raw.softmax(dim=-1)
        return raw.sigmoid() if self.reading.scores == "sigmoid" else raw

    def classes(self, raw: Tensor) -> Tensor:
        """Scores ``n columns`` as probabilities of the classes alone, without background."""
        first = self.reading.first_label or 0
        return self.activated(raw)[:, first : first + self.n_classes]

    def listed(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Rows:
        """Rows that carry their label.

        Raises:
            DetectorOutputError: if labels are no whole numbers.
        """
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


Roles = dict[str, Output]  # which output plays which part in a layout
Decode = Callable[[dict[str, Tensor], Scene], Rows]  # of one picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a family of exports means by its outputs, and how it wants its pictures.

    Attributes:
        summary: one line for messages.
        roles: which output plays which part; None where these outputs cannot be of this layout.
            The first of the roles holds the boxes.
        knows: whether names and shapes speak for this layout.
        decode: outputs of one picture, by role, as rows.
        reading: how the numbers read.
        feeding: how pictures are prepared.
        before_nms: whether non-maximum suppression is left to the caller.
        columns: how many columns of scores the shapes speak of, None while sides are open; None
            where rows carry labels.
        one_by_one: whether the outputs of several pictures could not be told apart.
        ask_format: whether the format of the boxes differs from file to file.
        class_names: where the family has classes of its own.
    """

    summary: str
    roles: Callable[[File], Roles | None]
    knows: Callable[[File, Roles], bool]
    decode: Decode
    reading: Reading = Reading()
    feeding: Feeding = Feeding()
    before_nms: bool = False
    columns: Callable[[Roles], int | None] | None = None
    one_by_one: bool = False
    ask_format: bool = False
    class_names: tuple[str, ...] = ()


def only(outputs: Sequence[Output], wanted: Callable[[Output], bool]) -> Output | None:
    """The one output that is wanted; None if there is none, or more."""
    found = [output for output in outputs if wanted(output)]
    return found[0] if len(found) == 1 else None


def item(tensor: Tensor, n_dims: int) -> Tensor:
    """One picture's part of an output, without leading sides of 1.

    Raises:
        DetectorOutputError: if it is of several pictures.
    """
    while tensor.ndim > n_dims and len(tensor) == 1:
        tensor = tensor[0]
    if tensor.ndim != n_dims:
        raise DetectorOutputError(
            f"ONNX detector: wanted {n_dims} sides in an output for one picture, got shape "
            f"{tuple(tensor.shape)}; export it with a batch size of 1"
        )
    return tensor


def corners(boxes: Tensor, box_format: str) -> Tensor:
    """Boxes ``n 4`` of a format as ``x1 y1 x2 y2``."""
    if box_format == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    first, second = boxes[:, :2], boxes[:, 2:]
    if box_format == "xywh":
        return torch.cat([first, first + second], dim=1)
    if box_format == "cxcywh":
        return torch.cat([first - second / 2, first + second / 2], dim=1)
    return boxes


def cells(size: tuple[int, int], strides: Sequence[int] = (8, 16, 32)) -> list[int]:
    """Number of cells of each stride in an input of that height and width."""
    return [math.ceil(size[0] / stride) * math.ceil(size[1] / stride) for stride in strides]


def is_grid(rows: int, file: File, per_cell: int = 1) -> bool:
    """Whether an output has a row a cell of strides 8, 16, 32 (and 64)."""
    counts = [sum(cells(file.size, s)) * per_cell for s in ((8, 16, 32), (8, 16, 32, 64))]
    return rows > 0 and 0 not in file.size and rows in counts


def centres(size: tuple[int, int], strides: Sequence[int], per_cell: int = 1) -> Tensor:
    """Of every cell: x, y of its corner and its stride, ``n 3`` in pixels; rows before columns."""
    parts = []
    for stride in strides:
        height, width = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        part = torch.stack([x * stride, y * stride, torch.full_like(x, stride)], dim=2)
        parts.append(part.reshape(-1, 3).repeat_interleave(per_cell, dim=0))
    return torch.cat(parts).float()


def on_grid(raw: Tensor, size: tuple[int, int]) -> Tensor:
    """Offsets and logarithmic sizes as ``cx cy w h`` in pixels of the network's input.

    Raises:
        DetectorOutputError: if there is not one row a cell.
    """
    for strides in ((8, 16, 32), (8, 16, 32, 64)):
        grid = centres(size, strides)
        if len(grid) == len(raw):
            places = raw[:, :2] * grid[:, 2:] + grid[:, :2]
            return torch.cat([places, raw[:, 2:].exp() * grid[:, 2:]], dim=1)
    raise DetectorOutputError(
        f"ONNX detector: wanted a row for each of {len(centres(size, (8, 16, 32)))} cells of 8, 16 "
        f"and 32 pixels in an input of {size}, got {len(raw)}; give grid_offsets=False"
    )


def looks_raw(boxes: Tensor, scores: Tensor) -> bool:
    """Whether sizes are logarithms: among boxes that count, none is too large for one."""
    counting = boxes[scores > 0]
    return bool((counting[:, 2:] <= _LARGEST_LOG_SIZE).all())
