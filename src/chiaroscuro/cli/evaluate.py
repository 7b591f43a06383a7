"""``chiaroscuro evaluate``."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from chiaroscuro.cli.console import note, note_all, print_json
from chiaroscuro.cli.options import AS_JSON, DataOptions, LoadOptions, command
from chiaroscuro.cli.progress import progress
from chiaroscuro.core.checks import anything
from chiaroscuro.core.declared import setting
from chiaroscuro.core.plan import DetectorChoice, EvaluationSettings
from chiaroscuro.core.text import plural

if TYPE_CHECKING:
    from chiaroscuro.data.annotations import Annotations
    from chiaroscuro.detectors import Detector
    from chiaroscuro.evaluation.evaluate import Evaluation
    from chiaroscuro.store.bundle import AnyPath

SHOWN = ("insertion", "deletion", "overall", "pointing_game", "energy_pointing_game", "map_iou")


@attrs.frozen(kw_only=True)
class EvaluateOptions:
    """What is evaluated with what, and where the tables go."""

    annotations: str | None = setting(
        anything,
        None,
        flags=("--annotations", "-a"),
        metavar="DATA",
        help="Annotated boxes, as [bold]chiaroscuro study[/] takes them: adds the insertion and "
        "deletion of the whole set's average precision. Pictures are matched by file name.",
    )
    methods: str | None = setting(
        anything,
        None,
        flags=("--methods", "-m"),
        metavar="NAME,NAME,...|all",
        help="Make maps of the same targets by other methods too, and score them beside; see "
        "[bold]chiaroscuro explain --method[/]. One that the detector does not allow is named "
        "with the reason.",
    )
    detector: str | None = setting(
        anything,
        None,
        flags=("--detector", "-d"),
        help="What was explained. [dim]default: as the results say[/]",
    )
    out: str | None = setting(
        anything,
        None,
        flags=("--out", "-o"),
        help="Folder of the tables. [dim]default: RESULTS/evaluation-PROTOCOL[/]",
    )


@command
def evaluate(
    results: Annotated[
        str,
        typer.Argument(
            metavar="RESULTS",
            help="The --out folder of [bold]chiaroscuro explain[/], or one picture's folder in it.",
        ),
    ],
    *,
    options: EvaluateOptions,
    data_options: DataOptions,
    settings: EvaluationSettings,
    loading: LoadOptions,
    as_json: AS_JSON = False,
) -> None:
    """Check the maps' faithfulness: insertion, deletion, localisation, stability, sanity.

    Pixels are inserted and hidden, the most salient first, and the detector is run again; maps that
    explain nothing are scored beside, so that a good figure can be compared with theirs. Writes
    scores.parquet, curves.parquet, figures as PNG and SVG, and evaluation.json.

    What was measured earlier stays in the tables, whatever the options are now. After Ctrl-C, the
    same command resumes.
    """
    from chiaroscuro.evaluation.evaluate import evaluate_folder
    from chiaroscuro.metrics.protocols import protocol_named
    from chiaroscuro.store.bundle import as_path

    protocol_named(settings.protocol)
    annotated = _annotations(options.annotations, data_options)
    place = as_path(results)
    model = _detector(place, options.detector, loading)
    folder = as_path(options.out) if options.out else place / f"evaluation-{settings.protocol}"
    settings = attrs.evolve(settings, methods=_methods(options.methods))
    frame = data_options.checked_frame
    try:
        with progress() as show:
            evaluation = evaluate_folder(
                place, model, settings, folder, annotations=annotated, frame=frame, progress=show
            )
    except KeyboardInterrupt as stopped:
        note(f"stopped; what is done is kept in {folder}. The same command resumes from there.")
        raise typer.Exit(1) from stopped
    note_all(evaluation.notes)
    for one in evaluation.left_out:
        where = " ".join(f"{key} {one[key]}" for key in ("picture", "target", "map") if key in one)
        note(f"left out: {where}: {one['reason']}")
    if as_json:
        print_json(_as_json(evaluation))
    else:
        _print(evaluation, settings.protocol)
    if not evaluation.scores:
        raise typer.Exit(1)


def _detector(place: "AnyPath", name: str | None, loading: LoadOptions) -> "Detector":
    """The detector that is typed, or the one that the results say."""
    from chiaroscuro.results.folder import explained_detector, result_paths

    _, choice = explained_detector(result_paths(place))
    if name:
        return loading.load(DetectorChoice(detector=name, options=loading.keywords))
    return loading.load(attrs.evolve(choice, options={**choice.options, **loading.keywords}))


def _methods(text: str | None) -> tuple[str, ...]:
    from chiaroscuro.methods import METHODS

    if text == "all":
        return tuple(METHODS)
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def _annotations(spec: str | None, options: DataOptions) -> "Annotations | None":
    from chiaroscuro.core.errors import AnnotationError
    from chiaroscuro.data.formats import read_annotations

    if spec is None:
        return None
    found = read_annotations(spec, options.images)
    if found is None:
        raise AnnotationError(f"--annotations {spec}: wanted a data set, got pictures alone")
    return replace(found, class_map=options.classes)


def _as_json(evaluation: "Evaluation") -> dict[str, Any]:
    from chiaroscuro.store.bundle import read_json

    return {"folder": str(evaluation.folder), **read_json(evaluation.folder / "evaluation.json")}


def _print(evaluation: "Evaluation", protocol: str) -> None:
    """The table: medians over targets, the middle half after them; of one target, its figures.

    A cell says how many targets are left out where it is not as many as in the column.
    """
    n = max((figures["insertion"]["n"] for figures in evaluation.summary.values()), default=0)
    over = (
        "1 target" if n == 1 else "median over targets (middle half); pointing_game: share of hits"
    )
    print(f"protocol {protocol}; {over}\n")
    header = ["map", "targets", "left out", *SHOWN]
    lines = [header]
    for what, figures in evaluation.summary.items():
        lines.append(
            [
                what,
                *(str(figures["insertion"][count]) for count in ("n", "undefined")),
                *(_cell(figures[name], name, figures["insertion"]["undefined"]) for name in SHOWN),
            ]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))
    _print_steadiness(_as_json(evaluation))
    for curve in evaluation.collection:
        print(
            f"whole set, {curve.direction}: area {curve.area:z.3f} under AP, "
            f"{curve.ap50_area:z.3f} under AP50 "
            f"({plural(curve.n_pictures, 'picture')}, {plural(curve.n_boxes, 'box', 'boxes')})"
        )
    print(f"\n{evaluation.folder / 'scores.parquet'}")


def _print_steadiness(described: dict[str, Any]) -> None:
    """What other methods took, and how similar maps are to those made again."""
    for name, figures in described["methods"].items():
        passes, times = figures["n_passes"]["median"], figures["times_a_pass"]["median"]
        print(
            f"{name}: {passes:z.0f} passes per picture, {times:z.0f} times one pass of the detector"
        )
        for kind in ("stability", "randomisation"):
            for what, correlations in figures[kind].items():
                where = f"stage {what}" if kind == "randomisation" else what
                print(f"{name}, {kind}, {where}: linear {_cell(correlations['linear'])}")
    for name, title in (
        ("stability", "correlation with the map of"),
        ("randomisation", "correlation with the map after shuffling weights, stage"),
    ):
        for what, kinds in described[name].items():
            n = kinds["linear"]["n"]
            linear, rank = _cell(kinds["linear"]), _cell(kinds["rank"])
            print(f"{title} {what}: linear {linear}, rank {rank}; {plural(n, 'target')}")


def _cell(figures: dict[str, Any], name: str = "", stated: int = 0) -> str:
    undefined = ""
    if figures["undefined"] != stated:
        undefined = f" [{figures['undefined']} left out]"
    if not figures["n"]:
        return f"-{undefined}"
    if name.startswith("pointing_game"):  # hits: a share says more than a median
        return f"{figures['mean']:z.3f}{undefined}"
    spread = f" ({figures['low']:z.2f}-{figures['high']:z.2f})" if figures["n"] > 1 else ""
    return f"{figures['median']:z.3f}{spread}{undefined}"
