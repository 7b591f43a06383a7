"""RetinaFace from its photo-trained weights, our painting-trained ones, or a checkpoint."""

from pathlib import Path

from chiaroscuro.core.errors import CheckpointError, UnknownNameError
from chiaroscuro.detectors.adapters.retinaface.detector import (
    OnnxRetinaFace,
    RetinaFaceDetector,
    TorchRetinaFace,
)
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork
from chiaroscuro.detectors.adapters.retinaface.pretrained import onnx_weights, pretrained_network
from chiaroscuro.detectors.checkpoint import named_by_content, read_checkpoint
from chiaroscuro.detectors.commons.networks import pick_device
from chiaroscuro.detectors.commons.onnx_session import make_session, session_device
from chiaroscuro.detectors.commons.options import score_floor
from chiaroscuro.detectors.protocol import DetectorInfo

MIN_SCORE = 0.02
PAINTINGS = Path(__file__).parents[1] / "weights" / "retinaface-paintings.safetensors"
"""Trained further on tenebrist paintings; its model card lies beside it."""


def load(
    rest: str | RetinaFaceNetwork = "",
    *,
    form: str = "onnx",
    device: str = "auto",
    min_score: float | None = None,
) -> RetinaFaceDetector:
    """RetinaFace as a detector.

    Args:
        rest: empty for the photo-trained weights; the path of a checkpoint that
            ``save_checkpoint`` wrote; or a network of your own, which stays on its device unless
            ``device`` names another.
        form: ``"onnx"``, the faster on a CPU, or ``"torch"``, with gradients and layers; methods
            that need them use it in any case.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        min_score: lowest score reported, in [0, 1); 0.02 by default.

    Raises:
        MissingDependencyError: if the package of the weights is not installed.
        CheckpointError: if a checkpoint is damaged or of another architecture.
        InputError: if an option has another value.
    """
    floor = score_floor(min_score, MIN_SCORE)
    if isinstance(rest, RetinaFaceNetwork):
        network = rest if device == "auto" else rest.to(pick_device(device))
        return TorchRetinaFace(network, DetectorInfo(name="RetinaFaceNetwork", min_score=floor))
    if rest and Path(rest).suffix.lower() == ".safetensors":
        network = _from_checkpoint(Path(rest)).to(pick_device(device))
        info = DetectorInfo(name=named_by_content(rest), min_score=floor)
        return TorchRetinaFace(network, info)
    if rest:
        raise UnknownNameError("detector", f"retinaface/{rest}", ["retinaface"])
    if form == "torch":
        network = pretrained_network().to(pick_device(device))
        return TorchRetinaFace(network, DetectorInfo(name="retinaface", min_score=floor))
    if form != "onnx":
        raise UnknownNameError("form of retinaface", form, ["onnx", "torch"])
    session = make_session(onnx_weights(), device)
    where = session_device(session)
    return OnnxRetinaFace(session, DetectorInfo(name="retinaface", min_score=floor, device=where))


def load_paintings(
    rest: str = "", *, device: str = "auto", min_score: float | None = None
) -> RetinaFaceDetector:
    """RetinaFace trained further on tenebrist paintings, in torch; this package has its weights.

    Args:
        rest: empty.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        min_score: lowest score reported, in [0, 1); 0.02 by default.

    Raises:
        As ``load`` does.
    """
    if rest:
        raise UnknownNameError("detector", f"retinaface-paintings/{rest}", ["retinaface-paintings"])
    network = _from_checkpoint(PAINTINGS).to(pick_device(device))
    info = DetectorInfo(name="retinaface-paintings", min_score=score_floor(min_score, MIN_SCORE))
    return TorchRetinaFace(network, info)


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
