"""Detectors: the protocol, the registry, and one package per framework in ``adapters``."""

from chiaroscuro.detectors.adapters.function import FunctionDetector
from chiaroscuro.detectors.protocol import Detector, DetectorInfo
from chiaroscuro.detectors.registry import load_detector, sources
from chiaroscuro.detectors.source import DetectorSource
from chiaroscuro.detectors.tiled import TiledDetector

__all__ = [
    "Detector",
    "DetectorInfo",
    "DetectorSource",
    "FunctionDetector",
    "TiledDetector",
    "load_detector",
    "sources",
]
