"""MobileNet0.25 with feature pyramid and context modules: the body that our face detectors share.

Backbone: MobileNetV1 of width 0.25 (Howard et al., arXiv:1704.04861). Pyramid: Lin et al., CVPR
2017. Context modules: SSH (Najibi et al., arXiv:1708.03979). As RetinaFace-MobileNet0.25 has them.

The batch norms of its photo-trained weights are fused into the convolutions, so every convolution
here has a bias and the body computes the same in training and evaluation mode.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

MEAN_BGR = (104.0, 117.0, 127.0)
"""Subtracted from blue, green and red in [0, 255]."""

CHANNELS = 64  # of the pyramid and of the context modules


def normalise(images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
    """RGB in [0, 1] as the body's input: BGR in [0, 255] less its mean."""
    mean = images.new_tensor(MEAN_BGR)[:, None, None]
    return images.flip(1).mul_(255).sub_(mean)  # in the copy that flip made: a third of the memory


class Convolution(nn.Sequential):
    """A convolution that keeps the size (over ``stride``), with leaky ReLU by default."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups)
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
        if activate:
            layers["activation"] = nn.LeakyReLU(0.1)
        super().__init__(layers)


class SeparableConvolution(nn.Sequential):
    """One 3 x 3 filter per channel, then a 1 x 1 convolution over the channels."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            OrderedDict(
                depthwise=Convolution(inputs, inputs, stride=stride, groups=inputs),
                pointwise=Convolution(inputs, outputs, kernel=1),
            )
        )


class Backbone(nn.Module):
    """MobileNetV1 of width 0.25: features of strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            Convolution(3, 8, stride=2),
            SeparableConvolution(8, 16),
            SeparableConvolution(16, 32, stride=2),
            SeparableConvolution(32, 32),
            SeparableConvolution(32, 64, stride=2),
            SeparableConvolution(64, 64),
        )
        self.stage2 = nn.Sequential(
            SeparableConvolution(64, 128, stride=2),
            *(SeparableConvolution(128, 128) for _ in range(5)),
        )
        self.stage3 = nn.Sequential(
            SeparableConvolution(128, 256, stride=2),
            SeparableConvolution(256, 256),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features ``n 64``, ``n 128`` and ``n 256`` of strides 8, 16 and 32."""
        fine = self.stage1(images)
        middle = self.stage2(fine)
        return fine, middle, self.stage3(middle)


class Pyramid(nn.Module):
    """Feature pyramid: coarse features are added to the finer ones (Lin et al., CVPR 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(Convolution(c, CHANNELS, kernel=1) for c in (64, 128, 256))
        self.merge_middle = Convolution(CHANNELS, CHANNELS)
        self.merge_fine = Convolution(CHANNELS, CHANNELS)

    def forward(
        self, fine: Tensor, middle: Tensor, coarse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features of the same sizes, 64 channels each."""
        lateral_fine, lateral_middle, lateral_coarse = self.lateral
        coarse = lateral_coarse(coarse)
        middle = self.merge_middle(_add_coarser(lateral_middle(middle), coarse))
        fine = self.merge_fine(_add_coarser(lateral_fine(fine), middle))
        return fine, middle, coarse


class ContextModule(nn.Module):
    """SSH context: 3 x 3, 5 x 5 and 7 x 7 pixels of context, side by side.

    The larger two are built of 3 x 3 convolutions and share the first of them.
    """

    def __init__(self) -> None:
        super().__init__()
        quarter = CHANNELS // 4
        self.conv3x3 = Convolution(CHANNELS, CHANNELS // 2, activate=False)
        self.shared = Convolution(CHANNELS, quarter)
        self.conv5x5 = Convolution(quarter, quarter, activate=False)
        self.conv7x7 = nn.Sequential(
            Convolution(quarter, quarter), Convolution(quarter, quarter, activate=False)
        )
        self.activation = nn.ReLU()

    def forward(self, features: Float[Tensor, "n 64 h w"]) -> Float[Tensor, "n 64 h w"]:
        """Features with their context."""
        shared = self.shared(features)
        parts = [self.conv3x3(features), self.conv5x5(shared), self.conv7x7(shared)]
        activated: Tensor = self.activation(torch.cat(parts, dim=1))
        return activated


def _add_coarser(fine: Tensor, coarse: Tensor) -> Tensor:
    return fine + F.interpolate(coarse, size=fine.shape[2:], mode="nearest")
