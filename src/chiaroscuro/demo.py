"""The demonstration: five tenebrist paintings of The Met, studied and compared.

One detector is studied: the faces it finds, its false positives and the faces it misses. Then the
photo-trained and the painting-trained RetinaFace are compared on the same paintings.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from chiaroscuro.core.plan import DetectorChoice, Plan, StudySettings
from chiaroscuro.core.progress import Report
from chiaroscuro.data.datasets import DataSet, open_data_set
from chiaroscuro.data.paths import folder_name
from chiaroscuro.data.samples import MET_FACES
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.report.comparison import Gallery, write_comparison_report
from chiaroscuro.report.study import write_study_report
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.compare import Comparison, compare, detector_names
from chiaroscuro.studies.completing import Completing
from chiaroscuro.studies.run import Run, study
from chiaroscuro.studies.summary import Summary, summarise

PAINTINGS = (435844, 436838, 436839, 439933, 437455)
MATCH_IOU = 0.4
COMPARED = "retinaface", "retinaface-paintings"  # photo-trained, and trained further on paintings

ShowProgress = Callable[[], AbstractContextManager[Report]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demo:
    """What the demonstration made.

    Attributes:
        report: the study's page, which links to the comparison.
        summary: what the study shows.
        comparison_report: the comparison's page.
        comparison: what it shows.
    """

    report: AnyPath
    summary: Summary
    comparison_report: AnyPath
    comparison: Comparison


def sample_set(paintings: Sequence[int] = PAINTINGS) -> DataSet:
    """The sample set ``met-faces``, reduced to the paintings of these object numbers."""
    data = open_data_set(MET_FACES)
    entries = tuple(entry for entry in data.entries if entry.about["id"] in paintings)
    return replace(data, entries=entries)


def run_demo(
    detector: Detector,
    out: Path,
    choice: DetectorChoice,
    plan: Plan,
    progress: ShowProgress,
    paintings: Sequence[int] = PAINTINGS,
) -> Demo:
    """Study the paintings, compare the two RetinaFaces on them, and write ``out/report.html``.

    Args:
        detector: which is studied.
        out: folder of the runs and reports; runs that are there are resumed.
        choice: what it was loaded with.
        plan: how pictures are explained.
        progress: opens a progress display.
        paintings: The Met's object numbers.
    """
    data = sample_set(paintings)

    def run_of(model: Detector, choice: DetectorChoice) -> Run:
        how = StudySettings(plan=plan, choice=choice, match_iou=MATCH_IOU)
        with progress() as show:
            return study(data, model, out / folder_name(model.info.name), how, progress=show)

    run = run_of(detector, choice)
    first, second = (
        run_of(load_detector(name), DetectorChoice(detector=name)) for name in COMPARED
    )
    passes = out / "comparison" / "passes"
    further = Completing.of(first, passes / "first"), Completing.of(second, passes / "second")
    gallery = Gallery(detector_names(first, second))
    with progress() as show:
        comparison = compare(first, second, each=gallery.add, progress=show, further=further)
    compared = write_comparison_report(
        first, second, comparison, gallery, out / "comparison" / "report.html"
    )
    summary = summarise(run)
    text = "What training on paintings changes: the two RetinaFace detectors compared"
    report = write_study_report(run, summary, out / "report.html", {text: compared})
    return Demo(report=report, summary=summary, comparison_report=compared, comparison=comparison)
