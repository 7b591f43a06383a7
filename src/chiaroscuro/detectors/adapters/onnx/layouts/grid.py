"""Cells of a network's strides, and boxes relative to them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.detectors.adapters.onnx.layouts.file import File

_LARGEST_LOG_SIZE = 12.0  # exp(12) cells are over a million pixels: no raw size is larger


def cells(size: tuple[int, int], strides: Sequence[int] = (8, 16, 32)) -> list[int]:
    """Number of cells of each stride in an input of that height and width."""
    return [math.ceil(size[0] / stride) * math.ceil(size[1] / stride) for stride in strides]


def is_grid(rows: int, file: File, per_cell: int = 1) -> bool:
    """Whether an output has a row per cell of strides 8, 16, 32 (and 64)."""
    counts = [sum(cells(file.size, s)) * per_cell for s in ((8, 16, 32), (8, 16, 32, 64))]
    return rows > 0 and 0 not in file.size and rows in counts


def centres(size: tuple[int, int], strides: Sequence[int], per_cell: int = 1) -> Tensor:
    """Corner x, y and stride of every cell, ``n 3`` in pixels; row by row."""
    parts = []
    for stride in strides:
        height, width = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        part = torch.stack([x * stride, y * stride, torch.full_like(x, stride)], dim=2)
        parts.append(part.reshape(-1, 3).repeat_interleave(per_cell, dim=0))
    return torch.cat(parts).float()


def on_grid(raw: Tensor, size: tuple[int, int]) -> Tensor:
    """Offsets and logarithmic sizes as ``cx cy w h`` in pixels of the network's input."""
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
    """Whether sizes are logarithms: none of a box with a score is too large for one."""
    scored = boxes[scores > 0]
    return bool((scored[:, 2:] <= _LARGEST_LOG_SIZE).all())
