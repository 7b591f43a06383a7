"""``chiaroscuro compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiaroscuro.cli.console import print_json
from chiaroscuro.cli.options import AS_JSON, command
from chiaroscuro.cli.progress import progress

if TYPE_CHECKING:
    from chiaroscuro.store.bundle import AnyPath


@command
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run folder of study.")],
    second: Annotated[
        str, typer.Argument(metavar="RUN", help="Another: same pictures, seed and settings.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report and the table.")],
    as_json: AS_JSON = False,
) -> None:
    """Compare what two detectors look at, on the same pictures under the same masks.

    Needs two runs of [bold]chiaroscuro study[/] and no detector pass. Writes report.html, one file
    with paired maps, their differences, average maps and context shares; pairs.parquet; and
    comparison.json. Where both runs were evaluated with annotations, their curves are plotted
    together.
    """
    from chiaroscuro.report.comparison import Gallery, write_comparison_report
    from chiaroscuro.store.bundle import write_json
    from chiaroscuro.studies.compare import compare, detector_names
    from chiaroscuro.studies.export import write_table
    from chiaroscuro.studies.run import Run

    runs = Run.load(first), Run.load(second)
    gallery = Gallery(detector_names(*runs))
    with progress() as show:
        comparison = compare(*runs, each=gallery.add, progress=show)
    out.mkdir(parents=True, exist_ok=True)
    report = write_comparison_report(*runs, comparison, gallery, out / "report.html")
    write_table(out / "pairs.parquet", comparison.rows)
    figures = {"detectors": list(comparison.names), **comparison.figures}
    write_json(out / "comparison.json", figures)
    if as_json:
        print_json({"report": str(report), **figures})
    else:
        _print(figures, report)


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
