"""The anchors of RetinaFace, and boxes relative to them."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.detectors.commons.placement import corners

ANCHOR_SIZES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
"""Sides in pixels of the anchors at every cell, by stride."""
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # the cached tensor must serve training too
def make_anchors(
    height: int, width: int, device: torch.device | None = None
) -> Float[Tensor, "anchors 4"]:
    """Centre x, y, width and height of a picture's anchors, shared between callers.

    By stride, then by cell in rows, then by size. A cell that the picture fills in part counts.
    """
    grids = []
    for stride, sizes in ANCHOR_SIZES.items():
        y = (torch.arange(-(-height // stride), dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(-(-width // stride), dtype=torch.float32) + 0.5) * stride
        side = torch.tensor(sizes, dtype=torch.float32)
        grid_y, grid_x, grid_side = torch.meshgrid(y, x, side, indexing="ij")
        grids.append(torch.stack([grid_x, grid_y, grid_side, grid_side], dim=-1).reshape(-1, 4))
    return torch.cat(grids).to(device)


def decode_boxes(
    regression: Float[Tensor, "*n 4"], anchors: Float[Tensor, "*n 4"]
) -> Float[Tensor, "*n 4"]:
    """Boxes ``x1 y1 x2 y2`` in pixels from the regression relative to the anchors.

    ``centre = anchor centre + 0.1 * offset * anchor size``;
    ``size = anchor size * exp(0.2 * log ratio)``.
    """
    centre = anchors[..., :2] + CENTRE_VARIANCE * regression[..., :2] * anchors[..., 2:]
    size = anchors[..., 2:] * torch.exp(SIZE_VARIANCE * regression[..., 2:])
    return corners(torch.cat([centre, size], dim=-1), "cxcywh")


def encode_boxes(
    faces: Float[Tensor, "*n 4"], anchors: Float[Tensor, "*n 4"]
) -> Float[Tensor, "*n 4"]:
    """The regression for boxes ``x1 y1 x2 y2``: the inverse of ``decode_boxes``."""
    centre, size = (faces[..., :2] + faces[..., 2:]) / 2, faces[..., 2:] - faces[..., :2]
    offset = (centre - anchors[..., :2]) / (CENTRE_VARIANCE * anchors[..., 2:])
    ratio = (size.clamp(min=1e-3) / anchors[..., 2:]).log() / SIZE_VARIANCE
    return torch.cat([offset, ratio], dim=-1)
