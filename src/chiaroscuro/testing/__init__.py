"""For tests of your own: a suite for detectors, and detectors whose evidence is known."""

from chiaroscuro.testing.checks import detector_checks
from chiaroscuro.testing.planted import PlantedDetector

__all__ = ["PlantedDetector", "detector_checks"]
