"""Detectors of torchvision: R-CNNs, RetinaNet, FCOS, SSD.

By the name of a builder (``torchvision/fasterrcnn_resnet50_fpn``), from a file of weights, or from
a model of the caller.
"""

from torch import nn

from chiaroscuro.detectors.adapters.torchvision.checkpoints import save_checkpoint
from chiaroscuro.detectors.adapters.torchvision.detector import TorchvisionDetector
from chiaroscuro.detectors.adapters.torchvision.loading import SUFFIXES, load
from chiaroscuro.detectors.adapters.torchvision.settings import is_rcnn
from chiaroscuro.detectors.source import DetectorSource

__all__ = ["TorchvisionDetector", "load", "save_checkpoint", "source"]


def _is_detector(module: nn.Module) -> bool:
    from torchvision.models import detection

    kinds = (detection.RetinaNet, detection.FCOS, detection.ssd.SSD)
    return isinstance(module, kinds) or is_rcnn(module)


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
