"""``chiaroscuro detect``."""

import typer

from chiaroscuro.cli.console import (
    AS_JSON,
    DETECTOR,
    DETECTOR_OPTIONS,
    DEVICE,
    MAX_PIXELS,
    MAX_SIDE,
    MIN_SCORE,
    PICTURES,
    errors_as_exit_status,
    note,
    open_detector,
    parse_options,
    print_json,
    report,
)


def detect(
    pictures: PICTURES,
    detector: DETECTOR = "centerface",
    min_score: MIN_SCORE = 0.3,
    detector_option: DETECTOR_OPTIONS = None,
    device: DEVICE = "auto",
    max_side: MAX_SIDE = 1280,
    max_pixels: MAX_PIXELS = 100_000_000,
    as_json: AS_JSON = False,
) -> None:
    """Print what a detector finds in pictures: boxes x1,y1,x2,y2 in pixels, scores, labels.

    Pictures that cannot be read are reported and skipped; the exit status is then 1.
    """
    with errors_as_exit_status():
        from chiaroscuro.core.errors import ChiaroscuroError
        from chiaroscuro.data.paths import as_source
        from chiaroscuro.results.explaining import detect_picture, open_picture

        model = open_detector(detector, parse_options(detector_option), device)
        names = model.info.class_names
        results, failed = [], False
        for path in pictures:
            try:
                picture = open_picture(
                    as_source(path), max_side=max_side or None, max_pixels=max_pixels
                )
                found = detect_picture(picture, model, min_score)
            except ChiaroscuroError as error:
                if len(pictures) == 1 and not as_json:
                    raise
                report(error)
                failed = True
                continue
            rows = [
                {
                    "box": [round(v / picture.scale, 2) for v in box],
                    "score": round(score, 4),
                    "label": label,
                    "class": names[label] if label < len(names) else str(label),
                }
                for box, score, label in zip(
                    found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
                )
            ]
            results.append({"picture": path, "detector": model.info.name, "detections": rows})
            if as_json:
                continue
            for row in rows:
                box = ",".join(f"{v:z.1f}" for v in row["box"])
                print(f"{path}  {row['class']}  {row['score']:z.3f}  {box}")
            if not rows:
                note(f"{path}: nothing with a score of {min_score:g} or more; try --min-score 0.1")
        if as_json:
            print_json(results)
        if failed:
            raise typer.Exit(1)
