"""``chiaroscuro compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiaroscuro.cli.console import note, print_json
from chiaroscuro.cli.options import AS_JSON, command
from chiaroscuro.cli.progress import progress
from chiaroscuro.core.text import plural

if TYPE_CHECKING:
    from chiaroscuro.store.bundle import AnyPath
    from chiaroscuro.studies.compare import Further
    from chiaroscuro.studies.run import Run


@command
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run folder of study.")],
    second: Annotated[
        str, typer.Argument(metavar="RUN", help="Another: same pictures, seed and settings.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report and the table.")],
    passes: Annotated[
        bool,
        typer.Option(
            help="Ask each detector about the boxes that only the other run explained, such as its "
            "false positives; without, their second map is from what that run has, and faint."
        ),
    ] = True,
    device: Annotated[str, typer.Option(help="For these passes: auto, cpu, cuda or cuda:1.")] = (
        "auto"
    ),
    as_json: AS_JSON = False,
) -> None:
    """Compare what two detectors look at, on the same pictures under the same masks.

    Needs two runs of [bold]chiaroscuro study[/], and passes only for boxes that one of them did
    not explain; these are kept in OUT/passes. Writes report.html, one file with paired maps, their
    differences, average maps and context shares; pairs.parquet; and comparison.json. Where both
    runs were evaluated with annotations, their curves are plotted together.
    """
    from chiaroscuro.report.comparison import Gallery, write_comparison_report
    from chiaroscuro.store.bundle import write_json
    from chiaroscuro.studies.compare import check_comparable, compare, detector_names
    from chiaroscuro.studies.export import write_table
    from chiaroscuro.studies.run import Run

    runs = Run.load(first), Run.load(second)
    check_comparable(*runs)
    further = _further(runs, out, device) if passes else None
    gallery = Gallery(detector_names(*runs))
    with progress() as show:
        comparison = compare(*runs, each=gallery.add, progress=show, further=further)
    out.mkdir(parents=True, exist_ok=True)
    report = write_comparison_report(*runs, comparison, gallery, out / "report.html")
    write_table(out / "pairs.parquet", comparison.rows)
    figures = {"detectors": list(comparison.names), **comparison.figures}
    write_json(out / "comparison.json", figures)
    if as_json:
        print_json({"report": str(report), **figures})
    else:
        _print(figures, report)


def _further(runs: "tuple[Run, Run]", out: Path, device: str) -> "Further | None":
    """What asks the detectors further; None, with a note, where they cannot be loaded."""
    from chiaroscuro.core.errors import ChiaroscuroError
    from chiaroscuro.studies.completing import Completing

    try:
        one, other = (
            Completing.of(run, out / "passes" / which, device)
            for run, which in zip(runs, ("first", "second"), strict=True)
        )
    except ChiaroscuroError as error:
        note(f"{error}; boxes that only one run explained are compared from the passes there are")
        return None
    return one, other


def _print(figures: dict[str, Any], report: "AnyPath") -> None:
    names = dict(zip(("first", "second"), figures["detectors"], strict=True))
    for kind in ("faces", "false_positives"):
        counts = ", ".join(
            f"{n} {status.replace('first', names['first']).replace('second', names['second'])}"
            for status, n in figures[kind].items()
        )
        print(f"{kind.replace('_', ' ')}: {counts or 'none'}")
    if figures["average_precision"]:
        for which, name in names.items():
            of = figures["average_precision"][which]
            print(f"{name}: AP50 {of['ap50']:z.3f}, AP {of['ap']:z.3f}")
    further = figures["further_passes"] or {}
    for which, name in names.items():
        if further.get(which, {}).get("boxes"):
            of = further[which]
            boxes = plural(of["boxes"], "box", "boxes")
            print(f"{name}: asked about {boxes} of the other run, for {of['cost']:z.0f} passes")
    n = figures["context"]["n"]
    over = "1 face" if n == 1 else f"mean over {n} faces"
    for part in ("in_box", "in_ring", "beyond") if n else ():
        of = figures["context"][part]
        low_high = of["difference"]["interval"]
        spread = f" ({low_high[0]:+z.3f} to {low_high[1]:+z.3f})" if low_high else ""
        print(
            f"evidence {part.replace('_', ' the ' if part != 'beyond' else ' ')}: "
            f"{of['first']['value']:z.3f} and {of['second']['value']:z.3f}, "
            f"difference {of['difference']['value']:+z.3f}{spread}, {over}"
        )
    print(f"open {report}")
