"""``chiaroscuro demo``."""

from pathlib import Path
from typing import Annotated

import typer

from chiaroscuro.cli.console import (
    DETECTOR,
    errors_as_exit_status,
    note,
    open_detector,
    picture_progress,
)
from chiaroscuro.core.text import plural


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path(
        "demo"
    ),
    detector: DETECTOR = "centerface",
    n_masks: Annotated[int, typer.Option(min=10, help="Detector passes per painting.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same maps.")] = 0,
) -> None:
    """Study the faces found, false positives and missed faces in five paintings of The Met.

    Then compares the photo-trained RetinaFace (the seed paper's Model1) and the painting-trained
    one (its Model3) on the same paintings under the same masks.

    Takes two or three minutes. A second run on the same folder resumes the first one.
    """
    with errors_as_exit_status():
        from chiaroscuro.demo import run_demo
        from chiaroscuro.results.explaining import Settings

        model = open_detector(detector, {}, "auto")
        settings = Settings(detector=detector, n_masks=n_masks, seed=seed)
        try:
            made = run_demo(model, out, settings, picture_progress)
        except KeyboardInterrupt as stopped:
            note(f"stopped; complete results are kept in {out}. Run the same command to resume.")
            raise typer.Exit(1) from stopped
        figures, names = made.summary.figures, made.comparison.names
        targets, faces = figures["targets"], made.comparison.figures["faces"]
        print(
            f"{model.info.name}, {plural(figures['pictures'], 'painting')}: "
            f"{plural(targets.get('hit', 0), 'face')} found, "
            f"{plural(targets.get('false alarm', 0), 'false positive')}, "
            f"{plural(targets.get('missed', 0), 'missed face')}"
        )
        print(
            f"{names[0]} and {names[1]}: {plural(faces.get('both', 0), 'face')} found by both, "
            f"{faces.get('only first', 0)} only by {names[0]}, "
            f"{faces.get('only second', 0)} only by {names[1]}, "
            f"{faces.get('neither', 0)} by neither"
        )
        print(f"open {made.report.resolve()}")
        print(f"open {made.comparison_report.resolve()}")
