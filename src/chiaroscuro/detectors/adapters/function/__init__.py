"""A plain function, or a bare torch module, as a detector."""

from chiaroscuro.detectors.adapters.function.detector import FunctionDetector, ModuleDetector

__all__ = ["FunctionDetector", "ModuleDetector"]
