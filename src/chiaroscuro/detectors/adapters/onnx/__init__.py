"""Any ONNX detector, run by ONNX Runtime."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

from chiaroscuro.core.errors import InputError
from chiaroscuro.detectors.adapters.onnx.detector import OnnxDetector
from chiaroscuro.detectors.checkpoint import named_by_content
from chiaroscuro.detectors.source import DetectorSource, needs

__all__ = ["OnnxDetector", "source"]


def _load(path: str, **options: Any) -> OnnxDetector:
    if not path:
        raise InputError("onnx: wanted the path of a file, such as onnx/model.onnx")
    detector = OnnxDetector(path, **{"name": Path(path).name, **options})
    if "name" not in options:
        detector.info = replace(detector.info, name=named_by_content(path))
    return detector


_load.__signature__ = inspect.signature(OnnxDetector)  # type: ignore[attr-defined]

source = DetectorSource(
    name="onnx",
    summary="any ONNX detector: YOLO, DETR, RT-DETR, torchvision and similar exports",
    load=_load,
    missing=needs("onnxruntime", "needs ONNX Runtime: pip install onnxruntime"),
    examples=("model.onnx",),
    suffixes=(".onnx", ".ort"),
)
