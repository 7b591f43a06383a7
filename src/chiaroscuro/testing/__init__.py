"""For your own tests: a suite for detectors, and a detector with known evidence."""

from chiaroscuro.testing.checks import detector_checks
from chiaroscuro.testing.planted import PlantedDetector

__all__ = ["PlantedDetector", "detector_checks"]
