"""RetinaFace-MobileNet0.25 as a torch module.

RetinaFace: Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild", CVPR
2020, arXiv:1905.00641. Its body is that of ``commons.mobilenet025``.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiaroscuro.detectors.commons.mobilenet025 import (
    CHANNELS,
    Backbone,
    ContextModule,
    Pyramid,
    normalise,
)

_ANCHORS_PER_CELL = 2


class RetinaFaceOutput(NamedTuple):
    """The network's values for every anchor, in the order of ``make_anchors``."""

    regression: Float[Tensor, "n anchors 4"]  # offset of the centre, log ratio of the size
    logits: Float[Tensor, "n anchors 2"]  # background and face


class RetinaFaceNetwork(nn.Module):
    """RetinaFace-MobileNet0.25, trainable; random weights until a state dict is loaded.

    Its parts, for freezing by name and for Grad-CAM: ``backbone.stage1`` to ``backbone.stage3``
    (strides 8, 16, 32), ``pyramid``, ``context.0`` to ``context.2`` and, one for each stride,
    ``class_head``, ``box_head`` and ``landmark_head``. The weights have the last one too; it does
    not run, since nothing reads landmarks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.pyramid = Pyramid()
        self.context = nn.ModuleList(ContextModule() for _ in range(3))
        self.class_head = _heads(2)
        self.box_head = _heads(4)
        self.landmark_head = _heads(10)

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> RetinaFaceOutput:
        """Raw outputs for every anchor of RGB images in [0, 1], with gradients."""
        features = self.pyramid(*self.backbone(normalise(images)))
        seen = [module(feature) for module, feature in zip(self.context, features, strict=True)]
        return RetinaFaceOutput(
            regression=_by_anchor(self.box_head, seen),
            logits=_by_anchor(self.class_head, seen),
        )


def _heads(values: int) -> nn.ModuleList:
    """One 1 x 1 convolution per stride, ``values`` numbers per anchor."""
    return nn.ModuleList(nn.Conv2d(CHANNELS, _ANCHORS_PER_CELL * values, 1) for _ in range(3))


def _by_anchor(heads: nn.ModuleList, features: list[Tensor]) -> Float[Tensor, "n anchors values"]:
    maps = [head(feature) for head, feature in zip(heads, features, strict=True)]
    return torch.cat(
        [m.permute(0, 2, 3, 1).reshape(len(m), -1, m.shape[1] // _ANCHORS_PER_CELL) for m in maps],
        dim=1,
    )
