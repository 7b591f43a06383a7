"""Every error of the package, as one tree.

::

    ChiaroscuroError
    ├── InputError (ValueError)       what the caller handed over cannot be used
    │   ├── ImageError                a picture that cannot be read or is not usable
    │   ├── TargetError               a box to explain that is empty, NaN or outside the picture
    │   ├── ProposalsError            boxes, scores or labels of impossible shape or value
    │   ├── AnnotationError           annotations that cannot be read or do not fit
    │   ├── UndefinedMetricError      a metric that has no value for this map
    │   ├── UnknownNameError          a detector, estimator, fill ... of that name does not exist
    │   ├── UnsupportedMethodError    a method that this detector's architecture does not allow
    │   └── BundleError               a result folder or file that is incomplete, foreign or unsafe
    ├── MissingDependencyError (ImportError)   an optional package is not installed
    ├── TrainingError                 training that cannot begin or resume
    │   └── DivergedError             a loss or its gradient became NaN or infinite
    ├── CheckpointError               weights that cannot be loaded, safely or at all
    └── DetectorError                 a detector broke its promise
        └── DetectorFailedError       it failed; keeps the evidence observed so far
            └── DetectorOutputError   it returned something that is no detection

    ObservationInterrupted (KeyboardInterrupt)  Ctrl-C during ``observe``; keeps the evidence

Messages have one form: what was wanted, what came, how to fix it.
"""

import difflib
import math
from typing import Any


class ChiaroscuroError(Exception):
    """Base of every error that the package raises on purpose."""


class InputError(ChiaroscuroError, ValueError):
    """What the caller handed over cannot be used."""


class ImageError(InputError):
    """A picture that cannot be read, or has no usable pixels."""


class TargetError(InputError):
    """A box to explain that is empty, inverted, NaN or outside the picture."""


class ProposalsError(InputError):
    """Boxes, scores, labels or class probabilities of impossible shape or value."""


class BundleError(InputError):
    """A result file or folder that is incomplete, belongs to something else, or is unsafe."""


class AnnotationError(InputError):
    """The annotations of a data set cannot be read, or do not fit its pictures or the detector."""


class UndefinedMetricError(InputError):
    """A metric has no value for this map; to be counted, never averaged in."""


class UnknownNameError(InputError):
    """No detector, estimator or fill of that name; the message lists the names there are.

    Attributes:
        kind: what was looked up, such as ``"method"``.
        name: the name that does not exist.
        known: the names that do.
        near: of these, the ones that may have been meant, nearest first.
    """

    def __init__(self, kind: str, name: object, known: list[str]) -> None:
        self.kind, self.name, self.known = kind, name, known
        self.near = _near(name, known) if isinstance(name, str) else []
        meant = f" (did you mean {' or '.join(map(repr, self.near))}?)" if self.near else ""
        super().__init__(f"unknown {kind} {name!r}{meant}; known: {', '.join(sorted(known))}")


def _near(name: str, known: list[str]) -> list[str]:
    """Names that differ by a slip of the hand, by case, or by a separator."""
    by_sound: dict[str, str] = {}
    for candidate in known:
        by_sound.setdefault(_sound(candidate), candidate)
    found = difflib.get_close_matches(_sound(name), list(by_sound), n=3, cutoff=0.75)
    return [by_sound[sound] for sound in found]


def _sound(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")


class UnsupportedMethodError(InputError):
    """A method that looks into the network, of a detector that does not allow it.

    Attributes:
        method: its name.
        reason: what of the architecture is in the way.
    """

    def __init__(self, method: str, reason: str) -> None:
        self.method, self.reason = method, reason
        super().__init__(f"method {method}: {reason}")


class MissingDependencyError(ChiaroscuroError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""


class TrainingError(ChiaroscuroError):
    """Training cannot begin, or had to stop; the message says where and what to change."""


class DivergedError(TrainingError):
    """A loss or its gradient became NaN or infinite; the last good weights are kept.

    Attributes:
        step: of the loss, counted from 1.
        good_step: after which the weights that are kept were saved; 0 for the start.
        loss: what it was.
        learning_rate: the highest, of the settings.
    """

    def __init__(self, step: int, good_step: int, loss: float, learning_rate: float) -> None:
        self.step, self.good_step = step, good_step
        self.loss, self.learning_rate = loss, learning_rate
        what = "gradient became NaN or infinite" if math.isfinite(loss) else f"loss became {loss}"
        super().__init__(
            f"training: the {what} at step {step}; the last good weights, of step {good_step}, are "
            f"kept. Lower the learning rate (--learning-rate), now {learning_rate:g}; the same "
            "command then resumes"
        )


class CheckpointError(ChiaroscuroError):
    """Weights that cannot be loaded: damaged, of another architecture, or unsafe."""


class DetectorError(ChiaroscuroError):
    """A detector broke the promise of its protocol."""


class DetectorFailedError(DetectorError):
    """A detector raised, or returned what cannot be used.

    Attributes:
        evidence: what was observed before, or None if nothing was; it can be explained,
            saved and extended.
    """

    def __init__(self, message: str, evidence: Any = None) -> None:
        self.evidence = evidence
        super().__init__(message)


class DetectorOutputError(DetectorFailedError):
    """A detector returned something that cannot be read as detections."""


class ObservationInterrupted(KeyboardInterrupt):
    """Ctrl-C during an observation.

    Attributes:
        evidence: what was observed before, or None if nothing was; it can be explained,
            saved and extended.
    """

    def __init__(self, evidence: Any = None) -> None:
        self.evidence = evidence
        super().__init__("observation interrupted")
