"""Object detectors of Hugging Face Transformers: the DETR family, YOLOS, RT-DETR, D-FINE, LW-DETR.

By the name of a model on the hub, by a folder that ``save_pretrained`` wrote, or a model of the
caller. Pictures are prepared by the model's own image processor.
"""

from chiaroscuro.detectors.adapters.transformers.detector import TransformersDetector
from chiaroscuro.detectors.adapters.transformers.loading import is_missing, load
from chiaroscuro.detectors.source import DetectorSource, is_of_package

__all__ = ["TransformersDetector", "source"]

source = DetectorSource(
    name="transformers",
    summary="object detectors of Hugging Face Transformers: DETR, RT-DETR, YOLOS, D-FINE, LW-DETR",
    load=load,
    missing=is_missing,
    examples=("transformers/facebook/detr-resnet-50", "transformers/PekingU/rtdetr_r50vd"),
    wraps=lambda module: is_of_package(module, "transformers", ".*ForObjectDetection"),
)
