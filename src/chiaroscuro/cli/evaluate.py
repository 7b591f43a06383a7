"""``chiaroscuro evaluate``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiaroscuro.cli.console import (
    AS_JSON,
    CLASS_MAP,
    DETECTOR_OPTIONS,
    DEVICE,
    FRAME,
    IMAGES,
    errors_as_exit_status,
    n_masks_or_auto,
    note,
    open_detector,
    parse_class_map,
    parse_frame,
    parse_options,
    print_json,
    step_progress,
    tell_notes,
)

if TYPE_CHECKING:
    from chiaroscuro.data.annotations import Annotations
    from chiaroscuro.evaluation.evaluate import Evaluation

SHOWN = (
    "insertion",
    "deletion",
    "overall",
    "pointing_game",
    "energy_pointing_game",
    "map_iou",
)


def evaluate(
    results: Annotated[
        str,
        typer.Argument(
            metavar="RESULTS",
            help="The --out folder of [bold]chiaroscuro explain[/], or one picture's folder in it.",
        ),
    ],
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            "-p",
            help="How curves are made: chiaroscuro (blur grows with the box), painting (blur "
            "51/50), rise, xplique, vxcode or odam. Figures of two protocols cannot be compared.",
        ),
    ] = "chiaroscuro",
    annotations: Annotated[
        str | None,
        typer.Option(
            "--annotations",
            "-a",
            metavar="DATA",
            help="Annotated boxes, as [bold]chiaroscuro study[/] takes them: adds the insertion "
            "and deletion of the whole set's average precision. Pictures are matched by file name.",
        ),
    ] = None,
    images: IMAGES = None,
    class_map: CLASS_MAP = None,
    frame: FRAME = None,
    baselines: Annotated[
        bool,
        typer.Option(
            help="Score the box itself, a centred blob, edges and noise beside every map, at five "
            "times the passes."
        ),
    ] = True,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            "-m",
            metavar="NAME,NAME,...|all",
            help="Make maps of the same targets by other methods too, and score them beside; see "
            "[bold]chiaroscuro explain --method[/]. One that the detector does not allow is named "
            "with the reason.",
        ),
    ] = None,
    passes: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Detector passes of each of them for a picture; auto is as many as the saved map "
            "took for those that only ask (for each target, where targets cannot share them), and "
            "what the others usually take.",
        ),
    ] = "auto",
    stability: Annotated[
        bool,
        typer.Option(
            "--stability",
            help="Compare with maps of another seed, other fills, other grids: five explanations "
            "more.",
        ),
    ] = False,
    randomisation: Annotated[
        bool,
        typer.Option(
            "--randomisation",
            help="Compare with maps of the detector with shuffled weights: four explanations more. "
            "Needs a torch network, such as -d retinaface.",
        ),
    ] = False,
    detector: Annotated[
        str | None,
        typer.Option(
            "--detector", "-d", help="What was explained. [dim]default: as the results say[/]"
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", "-o", help="Folder of the tables. [dim]default: RESULTS/evaluation-PROTOCOL[/]"
        ),
    ] = None,
    detector_option: DETECTOR_OPTIONS = None,
    device: DEVICE = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures a detector call; chosen when not given.")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace figures of other settings or maps in the folder."
        ),
    ] = False,
    as_json: AS_JSON = False,
) -> None:
    """Measure how true saved maps are: insertion, deletion, localisation, stability, sanity.

    Pixels are put in and hidden, the most salient first, and the detector is asked again; maps that
    explain nothing are scored beside, so that a good-looking number can be doubted. Writes
    scores.parquet, curves.parquet, figures as PNG and SVG, and evaluation.json.

    What was measured earlier stays in the tables, whatever the options are now. After Ctrl-C, the
    same command resumes.
    """
    with errors_as_exit_status():
        from chiaroscuro.evaluation.evaluate import EvaluationSettings, evaluate_folder
        from chiaroscuro.metrics.protocols import protocol_named
        from chiaroscuro.results.folder import explained_detector, saved_results
        from chiaroscuro.store.bundle import as_path

        protocol_named(protocol)
        marks = _annotations(annotations, images, parse_class_map(class_map))
        place = as_path(results)
        folders = saved_results(place)
        asked = explained_detector(folders)
        options = parse_options(detector_option)
        model = open_detector(
            detector or asked.spec, options if detector else {**asked.options, **options}, device
        )
        folder = as_path(out) if out else place / f"evaluation-{protocol}"
        try:
            with step_progress("pictures") as progress:
                evaluation = evaluate_folder(
                    place,
                    model,
                    EvaluationSettings(
                        protocol=protocol,
                        baselines=baselines,
                        methods=_methods(methods),
                        passes=n_masks_or_auto(passes, "--passes"),
                        stability=stability,
                        randomisation=randomisation,
                        batch_size=batch_size,
                        overwrite=overwrite,
                    ),
                    folder,
                    annotations=marks,
                    frame=parse_frame(frame),
                    progress=progress,
                )
        except KeyboardInterrupt as stopped:
            note(f"stopped; what is done is kept in {folder}. The same command goes on from there.")
            raise typer.Exit(1) from stopped
        tell_notes(evaluation.notes)
        for left_out in evaluation.left_out:
            where = " ".join(
                f"{key} {left_out[key]}" for key in ("picture", "target", "map") if key in left_out
            )
            note(f"left out: {where}: {left_out['reason']}")
        if as_json:
            print_json(_as_json(evaluation))
        else:
            _print(evaluation, protocol)
        if not evaluation.scores:
            raise typer.Exit(1)


def _methods(text: str | None) -> tuple[str, ...]:
    from chiaroscuro.methods import METHODS

    if text == "all":
        return tuple(METHODS)
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def _annotations(
    spec: str | None, images: Path | None, class_map: dict[str, str]
) -> "Annotations | None":
    from chiaroscuro.core.errors import AnnotationError
    from chiaroscuro.data.formats import read_annotations

    if spec is None:
        return None
    found = read_annotations(spec, images)
    if found is None:
        raise AnnotationError(f"--annotations {spec}: wanted a data set, got pictures alone")
    return replace(found, class_map=class_map)


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
    described = _as_json(evaluation)
    for name, figures in described["methods"].items():
        passes, times = figures["passes"]["median"], figures["times_a_pass"]["median"]
        print(
            f"{name}: {passes:z.0f} passes a picture, {times:z.0f} times one pass of the detector"
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
            over = "1 target" if n == 1 else f"{n} targets"
            linear, rank = _cell(kinds["linear"]), _cell(kinds["rank"])
            print(f"{title} {what}: linear {linear}, rank {rank}; {over}")
    for curve in evaluation.collection:
        print(
            f"whole set, {curve.direction}: area {curve.area:z.3f} under AP, "
            f"{curve.ap50_area:z.3f} under AP50 "
            f"({curve.n_pictures} pictures, {curve.n_boxes} boxes)"
        )
    print(f"\n{evaluation.folder / 'scores.parquet'}")


def _cell(figures: dict[str, Any], name: str = "", told: int = 0) -> str:
    undefined = ""
    if figures["undefined"] != told:
        undefined = f" [{figures['undefined']} left out]"
    if not figures["n"]:
        return f"-{undefined}"
    if name.startswith("pointing_game"):  # hits: a share says more than a median
        return f"{figures['mean']:z.3f}{undefined}"
    spread = f" ({figures['low']:z.2f}-{figures['high']:z.2f})" if figures["n"] > 1 else ""
    return f"{figures['median']:z.3f}{spread}{undefined}"
