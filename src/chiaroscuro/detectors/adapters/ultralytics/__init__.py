"""Detectors of Ultralytics: YOLO11, YOLO26, YOLOv8 and others, RT-DETR.

From a file of weights, by the name of published weights, from a description (``.yaml``, random
weights), or a ``YOLO`` or ``DetectionModel`` of the caller. Ultralytics is licensed under the
AGPL-3.0.
"""

from chiaroscuro.detectors.adapters.ultralytics.detector import UltralyticsDetector
from chiaroscuro.detectors.adapters.ultralytics.loading import is_missing, load
from chiaroscuro.detectors.source import DetectorSource, is_of_package

__all__ = ["UltralyticsDetector", "source"]

source = DetectorSource(
    name="ultralytics",
    summary="detectors of Ultralytics: YOLO11, YOLO26, YOLOv8 and others, RT-DETR",
    load=load,
    missing=is_missing,
    examples=("ultralytics/yolo11n.pt", "ultralytics/best.pt"),
    wraps=lambda module: is_of_package(module, "ultralytics", "DetectionModel|Model"),
)
