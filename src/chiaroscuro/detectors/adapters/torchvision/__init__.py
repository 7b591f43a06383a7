"""Detectors of torchvision: R-CNNs, RetinaNet, FCOS, SSD.

By the name of a builder (``torchvision/fasterrcnn_resnet50_fpn``), from a file of weights, or from
a model of the caller; and our own Faster R-CNN for faces, with its weights.
"""

from torch import nn

from chiaroscuro.detectors.adapters.torchvision.checkpoints import save_checkpoint
from chiaroscuro.detectors.adapters.torchvision.detector import TorchvisionDetector
from chiaroscuro.detectors.adapters.torchvision.loading import SUFFIXES, load, shipped
from chiaroscuro.detectors.adapters.torchvision.settings import is_rcnn
from chiaroscuro.detectors.source import DetectorSource

__all__ = [
    "TorchvisionDetector",
    "bright_source",
    "faces_source",
    "load",
    "save_checkpoint",
    "source",
]


def _is_detector(module: nn.Module) -> bool:
    from torchvision.models import detection

    kinds = (detection.RetinaNet, detection.FCOS, detection.ssd.SSD)
    return isinstance(module, kinds) or is_rcnn(module)


faces_source = DetectorSource(
    name="fasterrcnn-faces",
    summary="Faster R-CNN, faces, trained on paintings, tenebrist ones among them",
    load=shipped("fasterrcnn-faces"),
    examples=("fasterrcnn-faces",),
)

bright_source = DetectorSource(
    name="fasterrcnn-faces-bright",
    summary="the same, trained on paintings without tenebrism",
    load=shipped("fasterrcnn-faces-bright"),
    examples=("fasterrcnn-faces-bright",),
)

source = DetectorSource(
    name="torchvision",
    summary="torchvision's detectors: published weights, your checkpoint, or your model",
    load=load,
    examples=(
        "torchvision/fasterrcnn_resnet50_fpn",
        "torchvision/fasterrcnn_resnet50_fpn_v2",
        "torchvision/fasterrcnn_mobilenet_v3_large_fpn",
        "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn",
        "torchvision/retinanet_resnet50_fpn",
        "torchvision/retinanet_resnet50_fpn_v2",
        "torchvision/fcos_resnet50_fpn",
        "torchvision/ssd300_vgg16",
        "torchvision/ssdlite320_mobilenet_v3_large",
    ),
    suffixes=SUFFIXES,
    wraps=_is_detector,
)
