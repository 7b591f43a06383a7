"""Further passes for boxes that only one of two compared runs explained.

A study explains what its own detector found or missed. A false positive of one detector is a box
that the other was never asked about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from chiaroscuro.core.errors import BundleError, InputError
from chiaroscuro.core.plan import Plan
from chiaroscuro.core.progress import Report
from chiaroscuro.core.records import Target
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.detectors.registry import load_detector
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.observe import no_evidence, observe
from chiaroscuro.studies.run import Run


@dataclass(slots=True, kw_only=True, eq=False)
class Completing:
    """One detector, asked about boxes of the other run.

    Attributes:
        detector: as its run has it.
        plan: of its run.
        folder: keeps the passes, a file per picture, for the next time.
        boxes: asked about so far, of those for which the run's own passes were not enough.
        cost: of the further passes, in passes on the whole picture; passes kept from before count.
    """

    detector: Detector
    plan: Plan
    folder: Path
    boxes: int = field(default=0, init=False)
    cost: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, run: Run, folder: Path, device: str = "auto") -> "Completing":
        """The detector of a run, loaded as it was for the run.

        Raises:
            ChiaroscuroError: if it cannot be loaded, or is another now.
        """
        settings = run.record.settings
        choice = settings.choice
        detector = load_detector(choice.detector, device=device, **choice.options)
        if detector.info.name != run.record.detector:
            raise BundleError(
                f"{run.folder} is of detector {run.record.detector}; {choice.detector} is "
                f"{detector.info.name} now"
            )
        return cls(detector=detector, plan=settings.plan, folder=folder)

    def observe(
        self,
        name: str,
        image: Tensor,
        earlier: Evidence | None,
        targets: Sequence[Target],
        progress: Report | None = None,
    ) -> Evidence:
        """The evidence of a picture's run, extended for further targets as its plan says.

        Raises:
            DetectorFailedError: if the detector fails; what was done is kept, as on Ctrl-C.
        """
        before = 0.0 if earlier is None else earlier.cost
        file = self.folder / f"{name}.npz"
        resume = self._kept(file, image, earlier)
        try:
            seen = observe(
                image,
                self.detector,
                plan=self.plan,
                targets=targets,
                resume=resume,
                progress=progress,
            )
        except (Exception, KeyboardInterrupt) as stopped:
            done = getattr(stopped, "evidence", None)
            if isinstance(done, Evidence) and done.cost:
                done.save(file)
            raise
        everything = seen if resume is None else seen.joined(resume)
        if resume is None or everything.cost > resume.cost:
            everything.save(file)
        if everything.cost > before:  # else the run's own passes tell already
            self.boxes += len(targets)
            self.cost += everything.cost - before
        return everything

    def _kept(self, file: Path, image: Tensor, earlier: Evidence | None) -> Evidence | None:
        """What was observed for an earlier comparison, with the run's own evidence."""
        if not file.exists():
            return earlier
        try:
            kept = Evidence.load(file)
            kept.check_of(no_evidence(image, self.detector, self.plan))
            return kept if earlier is None else kept.joined(earlier)
        except (BundleError, InputError):  # of runs that have changed since
            return earlier
