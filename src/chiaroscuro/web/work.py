"""What jobs do: observe detectors while maps form, and measure curves."""

import time
from collections.abc import Callable, Sequence

import attrs
from torch import Tensor

from chiaroscuro import metrics
from chiaroscuro.core.plan import AUTO, Plan
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.detectors import Detector
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.observe import observe
from chiaroscuro.web.jobs import Job, Stopped
from chiaroscuro.web.painting import Painting

_REFRESH_S = 0.7  # how often a forming map is computed again

Work = Callable[[Job], None]


def observation(
    painting: Painting, names: Sequence[str], targets: Sequence[Target], plan: Plan
) -> Work:
    """Work that observes detectors one after the other and reports how the maps form."""

    def work(job: Job) -> None:
        for name in names:
            _observe(job, painting, name, targets, plan)

    return work


def curves(painting: Painting, name: str, target: Target) -> Work:
    """Work that measures insertion and deletion of one target's map."""

    def work(job: Job) -> None:
        saliency = painting.explain(name, target).saliency[0]
        detector, made = _Stoppable(painting.detector(name), job), {}
        for direction in metrics.DIRECTIONS:
            (curve,) = metrics.curves(
                painting.picture.image, detector, [target], [saliency], direction
            )
            made[direction] = curve.describe()
            job.update(curves=dict(made))

    return work


def _observe(
    job: Job, painting: Painting, name: str, targets: Sequence[Target], plan: Plan
) -> None:
    earlier = painting.observed.get(name)
    resume = earlier if earlier is not None and earlier.seed == plan.seed else None
    if resume is not None and plan.n_passes != AUTO:
        plan = attrs.evolve(plan, n_passes=max(plan.n_passes, resume.n_masks))
    reported_at = 0.0

    def progress(now: Progress) -> None:
        nonlocal reported_at
        if now.evidence is not None and time.monotonic() - reported_at > _REFRESH_S:
            _report(job, painting, name, now.evidence(), targets)
            reported_at = time.monotonic()
        job.update(
            detector=name,
            done=now.done,
            total=now.total,
            seconds_left=now.seconds_left,
            passes_per_second=now.pace,
        )
        job.check()

    job.update(detector=name, done=0, total=0, seconds_left=None)
    try:
        evidence = observe(
            painting.picture.image,
            painting.detector(name),
            plan=plan,
            targets=painting.classed(name, targets)[0],
            progress=progress,
            resume=resume,
        )
    except Stopped as stopped:
        if stopped.evidence is not None:
            _report(job, painting, name, stopped.evidence, targets)
        raise
    _report(job, painting, name, evidence, targets)


def _report(
    job: Job, painting: Painting, name: str, evidence: Evidence, targets: Sequence[Target]
) -> None:
    """Keep evidence, and report what it says about the targets."""
    earlier = painting.observed.get(name)
    same = earlier is not None and earlier.seed == evidence.seed
    painting.observed[name] = evidence.joined(earlier) if same and earlier else evidence
    results = [painting.result(name, target) for target in targets]
    job.update(answers={**job.state.get("answers", {}), name: results})


class _Stoppable:
    """A detector that checks before every call whether its job is to stop."""

    def __init__(self, detector: Detector, job: Job) -> None:
        self._detector, self._job = detector, job
        self.info = detector.info

    def detect(self, images: Tensor) -> Sequence[Proposals]:
        self._job.check()
        return self._detector.detect(images)
