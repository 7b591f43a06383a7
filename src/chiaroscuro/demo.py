"""The demonstration: faces found, imagined and missed in five tenebrist paintings of The Met."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from chiaroscuro.data.samples import SamplePainting, sample_painting
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.evidence import Progress
from chiaroscuro.records import Proposals, Target, as_targets
from chiaroscuro.report.gallery import GalleryEntry, write_gallery
from chiaroscuro.study.matching import FALSE_ALARMS, match
from chiaroscuro.workflow import Picture, Settings, detect_picture, explain_picture

PAINTINGS = (435844, 436838, 436839, 439933, 437455)
MATCH_IOU = 0.4

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
) -> tuple[Path, list[GalleryEntry]]:
    """Explain the paintings and write ``out/index.html``.

    Args:
        detector: what is explained.
        out: folder of the results.
        settings: how.
        progress: makes a progress display from a painting's name.
        paintings: The Met's object numbers.

    Returns:
        The page's path, and what is on it.
    """
    entries = []
    for painting_id in paintings:
        painting = sample_painting(painting_id)
        with progress(painting.title) as show:
            entries.append(explain_sample(painting, detector, out, settings, show))
    page = write_gallery(
        out / "index.html", "Faces in the dark", entries, detector=detector.info.name
    )
    return page, entries
