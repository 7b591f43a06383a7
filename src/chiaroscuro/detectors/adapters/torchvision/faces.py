"""A Faster R-CNN for faces in few pictures: a small body, one class, pictures as they are.

Faster R-CNN: Ren et al., NeurIPS 2015, arXiv:1506.01497, as torchvision builds it. Its body is the
one that RetinaFace-MobileNet0.25 has, of strides 8, 16 and 32; region proposals and box head are
its own. 1.3 million parameters.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from chiaroscuro.detectors.adapters.torchvision.settings import AS_IT_IS
from chiaroscuro.detectors.commons.mobilenet025 import (
    CHANNELS,
    MEAN_BGR,
    Backbone,
    ContextModule,
    Pyramid,
)

ANCHORS = ((16, 32), (64, 128), (256, 512))  # sides in pixels, for each stride
HEIGHT_TO_WIDTH = 1.25

_POOLED = 7  # cells of a region's features, each way
_UNITS = 256  # of the box head
_DROPPED = 0.3


class FaceBody(nn.Module):
    """Features of strides 8, 16 and 32, 64 channels each, with their context."""

    out_channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.body = Backbone()
        self.pyramid = Pyramid()
        self.context = nn.ModuleList(ContextModule() for _ in ANCHORS)

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> "OrderedDict[str, Tensor]":
        """Features by level, of RGB in [0, 255] less its mean."""
        levels = self.pyramid(*self.body(images.flip(1)))
        seen = (module(level) for module, level in zip(self.context, levels, strict=True))
        return OrderedDict((str(i), one) for i, one in enumerate(seen))


class PicturesAsTheyAre(GeneralizedRCNNTransform):  # type: ignore[misc]
    """torchvision's transform, which resizes only where it is given a size."""

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        """The picture and its target, unchanged by default."""
        if self.fixed_size is None and self.min_size == AS_IT_IS:
            return image, target
        resized: tuple[Tensor, Any] = super().resize(image, target)
        return resized


def fasterrcnn_faces(n_outputs: int = 2) -> FasterRCNN:
    """The network with random weights; ``n_outputs`` counts the background class."""
    model = FasterRCNN(
        FaceBody(),
        rpn_anchor_generator=AnchorGenerator(ANCHORS, ((HEIGHT_TO_WIDTH,),) * len(ANCHORS)),
        rpn_head=RPNHead(CHANNELS, len(ANCHORS[0])),
        rpn_pre_nms_top_n_train=600,
        rpn_pre_nms_top_n_test=600,
        rpn_post_nms_top_n_train=300,
        rpn_post_nms_top_n_test=200,
        rpn_fg_iou_thresh=0.5,
        rpn_batch_size_per_image=128,
        box_roi_pool=MultiScaleRoIAlign([str(i) for i in range(len(ANCHORS))], _POOLED, 2),
        box_head=nn.Sequential(TwoMLPHead(CHANNELS * _POOLED**2, _UNITS), nn.Dropout(_DROPPED)),
        box_predictor=FastRCNNPredictor(_UNITS, n_outputs),
        box_batch_size_per_image=256,
        box_nms_thresh=0.4,
    )
    mean = [value / 255 for value in reversed(MEAN_BGR)]
    model.transform = PicturesAsTheyAre(AS_IT_IS, sys.maxsize, mean, [1 / 255] * 3)
    return model


BUILDERS: dict[str, Callable[[int], nn.Module]] = {"fasterrcnn_faces": fasterrcnn_faces}
