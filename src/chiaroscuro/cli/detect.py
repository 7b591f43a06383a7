"""``chiaroscuro detect``."""

from typing import Any

import typer

from chiaroscuro.cli.console import note, print_json, report
from chiaroscuro.cli.options import AS_JSON, PICTURES, DetectorOptions, command
from chiaroscuro.core.plan import TILES, Selection, TiledReading


@command
def detect(
    pictures: PICTURES,
    detector_options: DetectorOptions,
    reading: TiledReading,
    selection: Selection,
    as_json: AS_JSON = False,
) -> None:
    """Print what a detector finds in pictures: boxes x1,y1,x2,y2 in pixels, scores, labels.

    Unreadable pictures are reported and skipped; the exit status is then 1.
    """
    from chiaroscuro.core.errors import ChiaroscuroError
    from chiaroscuro.data.paths import as_source
    from chiaroscuro.evidence.targets import find, of_class
    from chiaroscuro.results.parts import needs_parts, search
    from chiaroscuro.results.picture import open_picture

    detector = detector_options.load()
    results, failed = [], False
    for path in pictures:
        try:
            picture = open_picture(as_source(path), reading)
            if reading.max_side == TILES and needs_parts(picture.image):
                found = search(picture.image, detector, selection).proposals
            else:
                found = find(picture.image, detector, selection.min_score)
                found = of_class(found, detector, selection)
        except ChiaroscuroError as error:
            if len(pictures) == 1 and not as_json:
                raise
            report(error)
            failed = True
            continue
        rows = _rows(found, detector, picture.scale)
        results.append({"picture": path, "detector": detector.info.name, "detections": rows})
        if not as_json:
            _print(path, rows, selection.min_score)
    if as_json:
        print_json(results)
    if failed:
        raise typer.Exit(1)


def _rows(found: Any, detector: Any, scale: float) -> list[dict[str, Any]]:
    names = detector.info.class_names
    columns = (found.boxes.tolist(), found.scores.tolist(), found.labels.tolist())
    return [
        {
            "box": [round(v / scale, 2) for v in box],
            "score": round(score, 4),
            "label": label,
            "class": names[label] if label < len(names) else str(label),
        }
        for box, score, label in zip(*columns, strict=True)
    ]


def _print(path: str, rows: list[dict[str, Any]], min_score: float) -> None:
    for row in rows:
        box = ",".join(f"{v:z.1f}" for v in row["box"])
        print(f"{path}  {row['class']}  {row['score']:z.3f}  {box}")
    if not rows:
        note(f"{path}: nothing with a score of {min_score:g} or more; try --min-score 0.1")
