"""The anchors of RetinaFace, boxes relative to them, and the loss of each.

RetinaFace (Deng et al. 2020, arXiv:1905.00641, section 3.1), with the matching and hard negatives
of SSD (Liu et al. 2016, arXiv:1512.02325, section 2.2). Without landmarks: our data has none.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from chiaroscuro.core import boxes
from chiaroscuro.core.records import Truth
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork
from chiaroscuro.detectors.commons.placement import corners

ANCHOR_SIZES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}

"""Sides in pixels of the anchors at every cell, by stride."""

CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
MATCH_IOU = 0.35
IGNORED_SHARE = 0.5  # of an anchor inside a box to ignore, from which it is no negative
NEGATIVES = 3  # the hardest, per positive
BOX_WEIGHT = 2.0
FACE, BACKGROUND, LEFT_OUT = 1, 0, -1


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


def losses(
    network: RetinaFaceNetwork, images: Float[Tensor, "n 3 height width"], truth: Sequence[Truth]
) -> dict[str, Tensor]:
    """The parts of the loss of a batch of RGB crops in [0, 1], each a mean per match.

    ``"class"`` is the cross entropy of the matched anchors and of three hard negatives per match;
    ``"box"`` the smooth L1 of the offsets of the matched anchors.
    """
    output = network(images)
    anchors = make_anchors(images.shape[2], images.shape[3], images.device)
    class_loss = box_loss = images.new_zeros(())
    n_matched = 0
    for i, annotations in enumerate(truth):
        wanted, index = assign(anchors, annotations)
        positive = wanted == FACE
        entropy = F.cross_entropy(output.logits[i], wanted.clamp(min=0), reduction="none")
        n_positive = int(positive.sum())
        n_matched += n_positive
        negative = entropy.detach().masked_fill(wanted != BACKGROUND, -1.0)
        n_negative = min(NEGATIVES * max(n_positive, 1), int((wanted == BACKGROUND).sum()))
        hardest = negative.topk(n_negative).indices
        class_loss = class_loss + entropy[positive].sum() + entropy[hardest].sum()
        if n_positive:
            faces = annotations.boxes.to(anchors)[index[positive]]
            offsets = encode_boxes(faces, anchors[positive])
            box_loss = box_loss + F.smooth_l1_loss(
                output.regression[i][positive], offsets, reduction="sum"
            )
    n = max(1, n_matched)
    return {"class": class_loss / n, "box": BOX_WEIGHT * box_loss / n}


def assign(
    anchors: Float[Tensor, "anchors 4"], truth: Truth
) -> tuple[Int64[Tensor, " anchors"], Int64[Tensor, " anchors"]]:
    """``FACE``, ``BACKGROUND`` or ``LEFT_OUT`` of every anchor, and the number of a face.

    An anchor is matched to the face that it overlaps most, from an IoU of 0.35; every face has at
    least the anchor that overlaps it most. Anchors in boxes to ignore are left out.
    """
    wanted = torch.full((len(anchors),), BACKGROUND, dtype=torch.int64, device=anchors.device)
    index = torch.zeros_like(wanted)
    regions, annotated = corners(anchors, "cxcywh"), truth.boxes.to(anchors)
    ignore = truth.ignore.to(anchors.device)
    if bool(ignore.any()):
        wanted[boxes.share_inside(regions, annotated[ignore]).amax(dim=1) >= IGNORED_SHARE] = (
            LEFT_OUT
        )
    faces = (~ignore).nonzero()[:, 0]
    if len(faces):
        overlap = boxes.iou(regions, annotated[faces])
        best, which = overlap.max(dim=1)
        wanted[best >= MATCH_IOU] = FACE
        nearest = overlap.argmax(dim=0)
        which[nearest] = torch.arange(len(faces), device=which.device)
        wanted[nearest] = FACE
        index = faces[which]
    return wanted, index
