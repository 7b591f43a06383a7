"""A plain function, or a bare torch module, as a detector."""

from chiaroscuro.detectors.adapters.function.detector import FunctionDetector
from chiaroscuro.detectors.adapters.function.module import ModuleDetector

__all__ = ["FunctionDetector", "ModuleDetector"]
