"""The losses of RetinaFace: anchors matched to faces, and the loss of each.

RetinaFace (Deng et al. 2020, arXiv:1905.00641, section 3.1), with the matching and hard negatives
of SSD (Liu et al. 2016, arXiv:1512.02325, section 2.2). Without landmarks: our data has none.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from chiaroscuro.core import boxes
from chiaroscuro.core.records import Truth
from chiaroscuro.detectors.adapters.retinaface.anchors import encode_boxes, make_anchors
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork
from chiaroscuro.detectors.commons.placement import corners

MATCH_IOU = 0.35
IGNORED_SHARE = 0.5  # of an anchor inside a box to ignore, from which it is no negative
NEGATIVES = 3  # the hardest, per positive
BOX_WEIGHT = 2.0
FACE, BACKGROUND, LEFT_OUT = 1, 0, -1


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
