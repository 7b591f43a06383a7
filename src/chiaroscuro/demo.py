"""The demonstration: faces found, imagined and missed in five tenebrist paintings of The Met.

And what training on paintings changed: RetinaFace before and after, on the same five.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from chiaroscuro.core.plan import StudySettings
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import Proposals, Target, as_targets
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.samples import MET_FACES, SamplePainting, sample_painting
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.report.comparison import Gallery, write_comparison_report
from chiaroscuro.report.gallery import GalleryEntry, write_gallery
from chiaroscuro.results.explaining import explain_picture
from chiaroscuro.results.picture import Picture
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.compare import Comparison, compare, detector_names
from chiaroscuro.studies.matching import FALSE_ALARMS, match
from chiaroscuro.studies.run import study

PAINTINGS = (435844, 436838, 436839, 439933, 437455)
MATCH_IOU = 0.4
MODEL_1, MODEL_3 = "retinaface", "retinaface-paintings"
COMPARISON = "model1-and-model3"  # folder of the comparison

FOUND, FALSE_ALARM, MISSED = "face", "false alarm", "missed face"


def explain_sample(
    painting: SamplePainting,
    detector: Detector,
    out: Path,
    settings: Settings,
    progress: Callable[[Progress], None] | None = None,
) -> GalleryEntry:
    """Explain every face found, every false alarm and every missed face of a sample painting."""
    picture = Picture(source=str(painting.path), image=painting.read(), title=painting.title)
    found = detect_picture(picture, detector, settings.min_score)
    targets, captions = judge(found, painting)
    explained = explain_picture(
        picture, detector, targets, out, settings, captions=captions, progress=progress
    )
    return GalleryEntry(
        title=painting.title,
        byline=f"{painting.painter}, {painting.date}",
        url=painting.url,
        explained=explained,
        captions=captions,
    )


def judge(found: Proposals, painting: SamplePainting) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """What the detector found and missed, against the marked faces.

    A detection is a face if it has a marked one, with an IoU of at least 0.4, counted or not,
    and a false alarm otherwise; a marked face that counts and is overlapped by none is missed.

    Returns:
        Targets, and a word for each.
    """
    matches = match(found, painting.truth, MATCH_IOU)
    captions = [FALSE_ALARM if m.kind in FALSE_ALARMS else FOUND for m in matches.detections]
    missed = painting.truth.boxes[list(matches.missed)]
    targets = as_targets(found) + as_targets(missed, origin="truth")
    return targets, (*captions, *[MISSED] * len(missed))


def run_demo(
    detector: Detector,
    out: Path,
    settings: Settings,
    progress: Callable[[str], AbstractContextManager[Callable[[Progress], None]]],
    paintings: Sequence[int] = PAINTINGS,
) -> tuple[Path, list[GalleryEntry], Comparison]:
    """Explain the paintings, compare the models on them, and write ``out/index.html``.

    Args:
        detector: what is explained.
        out: folder of the results.
        settings: how.
        progress: makes a progress display from a painting's name.
        paintings: The Met's object numbers.

    Returns:
        The page's path, and what is on it and on the page of the comparison.
    """
    entries = []
    for painting_id in paintings:
        painting = sample_painting(painting_id)
        with progress(painting.title) as show:
            entries.append(explain_sample(painting, detector, out, settings, show))
    report, comparison = compare_models(out / COMPARISON, settings, progress, paintings)
    page = write_gallery(
        out / "index.html",
        "Faces in the dark",
        entries,
        detector=detector.info.name,
        links={"What did training on paintings change? Model1 and Model3 compared": report},
    )
    return page, entries, comparison


def compare_models(
    out: Path,
    settings: Settings,
    progress: Callable[[str], AbstractContextManager[Callable[[Progress], None]]],
    paintings: Sequence[int] = PAINTINGS,
) -> tuple[AnyPath, Comparison]:
    """Compare RetinaFace as trained on photographs and as trained further on paintings.

    Args:
        out: folder of both runs and of ``report.html``.
        settings: number of masks, seed and score.
        progress: makes a progress display from a model's name.
        paintings: The Met's object numbers.

    Returns:
        The report's path, and what it shows.
    """
    data = open_data_set(MET_FACES)
    wanted = [entry for entry in data.entries if entry.about["id"] in paintings]
    data = replace(data, entries=tuple(wanted))
    runs = []
    for name in (MODEL_1, MODEL_3):
        asked = StudySettings(explain=replace(settings, detector=name))
        with progress(name) as show:
            run = study(
                data,
                load_detector(name),
                out / name,
                asked,
                progress=_within(show),
            )
        runs.append(run)
    gallery = Gallery(detector_names(*runs))
    comparison = compare(runs[0], runs[1], each=gallery.add)
    report = write_comparison_report(runs[0], runs[1], comparison, gallery, out / "report.html")
    return report, comparison


def _within(show: Callable[[Progress], None]) -> Callable[[str, int, int, Progress | None], None]:
    """The progress within a picture alone."""

    def shown(_name: str, _done: int, _total: int, inner: Progress | None) -> None:
        if inner is not None:
            show(inner)

    return shown
