"""Detectors: the protocol, the registry, and one module an adapter."""

from chiaroscuro.detectors.adapters.function import FunctionDetector
from chiaroscuro.detectors.protocol import Detector, DetectorInfo
from chiaroscuro.detectors.registry import DetectorSource, load_detector, sources

__all__ = [
    "Detector",
    "DetectorInfo",
    "DetectorSource",
    "FunctionDetector",
    "load_detector",
    "sources",
]
