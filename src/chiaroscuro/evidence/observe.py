"""Observe a detector through random masks: the only detector passes that D-RISE makes.

Passes are made on the whole picture, or, where that is cheaper and a certificate allows it, in
windows round the targets. The first passes on the whole picture serve the certificates of all.
"""

from typing import Any, Unpack

from torch import Tensor

from chiaroscuro.core.checks import function, maybe
from chiaroscuro.core.errors import (
    DetectorError,
    DetectorFailedError,
    DetectorOutputError,
    ObservationInterrupted,
)
from chiaroscuro.core.pixels import checked_pixels
from chiaroscuro.core.plan import AUTO, Plan, PlanSettings, planned
from chiaroscuro.core.progress import Report
from chiaroscuro.core.records import TargetsLike, as_targets
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.detectors.protocol import unsuppressed
from chiaroscuro.evidence.evidence import EVIDENCE, Evidence
from chiaroscuro.evidence.observation import Observation
from chiaroscuro.evidence.recording import Recorder
from chiaroscuro.evidence.targets import find
from chiaroscuro.images.read import read_image


def observe(
    image: Any,
    detector: Any,
    *,
    plan: Plan | None = None,
    targets: TargetsLike | None = None,
    progress: Report | None = None,
    resume: Evidence | None = None,
    **settings: Unpack[PlanSettings],
) -> Evidence:
    """Observe a detector under many random masks: the only detector passes.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        detector: a detector, or anything ``load_detector`` takes.
        plan: how; with ``n_passes="auto"``, until every target has reached ``fidelity``, judged by
            its ``estimator``; with ``windows``, in windows round the targets where that is cheaper
            and a certificate allows it.
        targets: what ``"auto"`` judges, the detections of score 0.3 and more when not given; their
            proposals are kept however many others the detector reports. Without any, all passes are
            on the whole picture, for boxes that are named later.
        progress: called after every batch.
        resume: evidence of the same picture, detector, seed and design to continue. The result is
            that of a fresh start; only evidence of many passes on the whole picture is continued
            without windows.
        settings: fields of ``plan`` to change, such as ``n_passes=400``.

    Raises:
        ImageError: if the picture cannot be used.
        InputError: on values out of range, or if ``resume`` belongs to something else.
        DetectorFailedError: if the detector raises or breaks its promise; its ``evidence`` holds
            what was done.
        ObservationInterrupted: on Ctrl-C; its ``evidence`` holds what was done.
        Exception: whatever else ends it, such as ``progress``, as it was raised, with what was done
            as its attribute ``evidence``.
    """
    picture, detector, plan = usable_image(image), load_detector(detector), planned(plan, settings)
    resume, progress = maybe(EVIDENCE)("resume", resume), maybe(function)("progress", progress)
    if targets is None and plan.n_passes == AUTO:
        targets = find(picture, detector)
    wanted = () if targets is None else as_targets(targets)
    judged = tuple(target.inside(*picture.shape[1:]) for target in wanted)
    under_way = Observation(picture, detector, plan, judged, progress, resume)
    try:
        return under_way.run()
    except KeyboardInterrupt as error:
        raise ObservationInterrupted(under_way.so_far()) from error
    except DetectorOutputError as error:
        error.evidence = under_way.so_far()
        raise
    except DetectorError as error:
        reason = error.__cause__ if isinstance(error, DetectorFailedError) else error
        raise DetectorFailedError(
            f"detector {detector.info.name} failed after {under_way.n_passes} masks: "
            f"{type(reason).__name__}: {reason}",
            under_way.so_far(),
        ) from reason
    except Exception as error:
        error.evidence = under_way.so_far()  # type: ignore[attr-defined]
        raise


def no_evidence(image: Tensor, detector: Detector, plan: Plan | None = None) -> Evidence:
    """Evidence of no mask at all: the picture, and what would be observed."""
    plan = plan or Plan()
    return Recorder(image, unsuppressed(detector), plan.seed, plan.design).evidence()


def usable_image(image: Any) -> Tensor:
    """A picture as ``3 height width``: uint8, or float32 in [0, 1]; paths and arrays are read.

    Raises:
        ImageError: if it cannot be used.
    """
    return checked_pixels("image", image if isinstance(image, Tensor) else read_image(image))
