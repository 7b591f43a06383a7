"""``chiaroscuro demo``."""

from pathlib import Path
from typing import Annotated

import typer

from chiaroscuro.cli.console import (
    DETECTOR,
    errors_as_exit_status,
    mask_progress,
    note,
    open_detector,
)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path(
        "demo"
    ),
    detector: DETECTOR = "centerface",
    n_masks: Annotated[int, typer.Option(min=10, help="Detector passes a painting.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same maps.")] = 0,
) -> None:
    """Explain faces found, imagined and missed in five tenebrist paintings of The Met.

    Then compares RetinaFace as trained on photographs (the seed paper's Model1) and as trained
    further on paintings (its Model3) on the same paintings under the same masks.

    Takes two or three minutes; a second run on the same folder goes on where the first one stopped.
    """
    with errors_as_exit_status():
        from chiaroscuro.demo import FALSE_ALARM, MISSED, run_demo

        model = open_detector(detector, {}, "auto")
        settings = Settings(detector=detector, n_masks=n_masks, seed=seed)
        try:
            page, entries, comparison = run_demo(model, out, settings, mask_progress)
        except KeyboardInterrupt as stopped:
            note(f"stopped; what is done is kept in {out}. The same command goes on from there.")
            raise typer.Exit(1) from stopped
        captions = [caption for entry in entries for caption in entry.captions]
        print(
            f"{len(captions)} targets in {len(entries)} paintings: "
            f"{captions.count(FALSE_ALARM)} false alarms, {captions.count(MISSED)} missed faces"
        )
        for entry in entries:
            print(f"  {entry.title}: {entry.explained.sheet}")
        faces = comparison.figures["faces"]
        print(
            f"{' and '.join(comparison.names)} compared: {faces.get('both', 0)} faces found by "
            f"both, {faces.get('only second', 0)} only after training on paintings, "
            f"{faces.get('only first', 0)} only before, {faces.get('neither', 0)} by neither"
        )
        print(f"open {page.resolve()}")
