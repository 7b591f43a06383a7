"""``chiaroscuro demo``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chiaroscuro.cli.console import note
from chiaroscuro.cli.options import DetectorOptions, command
from chiaroscuro.cli.progress import progress
from chiaroscuro.core.plan import Plan
from chiaroscuro.core.text import plural


@command
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path(
        "demo"
    ),
    detector_options: DetectorOptions,
    n_passes: Annotated[int, typer.Option(min=10, help="Detector passes per painting.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same maps.")] = 0,
) -> None:
    """Study the faces found, false positives and missed faces in five paintings of The Met.

    Then compares the photo-trained RetinaFace and the painting-trained one on the same paintings
    under the same masks.

    Takes four to six minutes. A second run on the same folder resumes the first one.
    """
    from chiaroscuro.demo import run_demo

    detector = detector_options.load()
    plan = Plan(n_passes=n_passes, seed=seed, closeup=True)
    try:
        made = run_demo(detector, out, detector_options.choice, plan, progress)
    except KeyboardInterrupt as stopped:
        note(f"stopped; what is done is kept in {out}. The same command resumes from there.")
        raise typer.Exit(1) from stopped
    _print(detector.info.name, made)


def _print(name: str, made: Any) -> None:
    figures, names = made.summary.figures, made.comparison.names
    targets, faces = figures["targets"], made.comparison.figures["faces"]
    print(
        f"{name}, {plural(figures['pictures'], 'painting')}: "
        f"{plural(targets.get('hit', 0), 'face')} found, "
        f"{plural(targets.get('false positive', 0), 'false positive')}, "
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
