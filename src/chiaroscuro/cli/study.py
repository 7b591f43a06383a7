"""``chiaroscuro study``."""

from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from chiaroscuro.cli.console import note, note_all, print_json
from chiaroscuro.cli.options import AS_JSON, DataOptions, DetectorOptions, command
from chiaroscuro.cli.progress import progress
from chiaroscuro.core.checks import anything, maybe, number, whole
from chiaroscuro.core.declared import setting
from chiaroscuro.core.plan import StudySettings
from chiaroscuro.core.text import plural

if TYPE_CHECKING:
    from chiaroscuro.store.bundle import AnyPath
    from chiaroscuro.studies.run import Run


DATA = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A COCO .json file, a folder in the layout of Pascal VOC or YOLO, YOLO's "
        "data.yaml, or met-faces, the sample set; without annotations, a folder of pictures, "
        "one picture or its http:// address, or a .txt file with a path or address per line.",
    ),
]


@attrs.frozen(kw_only=True)
class RayOptions:
    """Workers that share the pictures."""

    ray: str | None = setting(
        anything,
        None,
        metavar="local|ADDRESS",
        help="Share the pictures among workers: on this machine, or on a Ray cluster. Needs the "
        "extra scale.",
    )
    workers: int | None = setting(
        maybe(whole(1)), None, help="With --ray: how many. [dim]default: as many as fit[/]"
    )
    cpus: int = setting(whole(1), 1, help="With --ray: threads per worker.")
    gpus: float = setting(
        number(0), 0.0, help="With --ray: graphics cards per worker, such as 0.5."
    )


@attrs.frozen(kw_only=True)
class ExportOptions:
    """What else is written."""

    fiftyone: bool = setting(
        anything,
        False,
        flags=("--fiftyone",),
        help="Also write fiftyone/: boxes, heat maps and a script that makes a FiftyOne data set "
        "of them.",
    )


@command
def study(
    data: DATA,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="The run folder, or its address for fsspec, such as s3://bucket/run; an earlier "
            "run in it is resumed.",
        ),
    ],
    data_options: DataOptions,
    detector_options: DetectorOptions,
    settings: StudySettings,
    ray_options: RayOptions,
    export_options: ExportOptions,
    as_json: AS_JSON = False,
) -> None:
    """Run a detector over a data set and explain every hit, false positive and miss.

    Writes a run folder: maps and evidence of every picture, tables (targets.parquet,
    pictures.parquet), COCO results (detections.json), average maps, and report.html, one file to
    read or send.

    After Ctrl-C, SIGTERM, a crash or a power cut, the same command resumes. Pictures that cannot be
    studied are reported, skipped and tried again next time; the exit status is then 1.
    """
    from chiaroscuro.core.errors import ObservationInterrupted
    from chiaroscuro.report.study import write_study_report
    from chiaroscuro.studies.export import export
    from chiaroscuro.studies.summary import summarise

    settings = attrs.evolve(settings, choice=detector_options.choice)
    try:
        run = _studied(data, out, data_options, detector_options, settings, ray_options)
    except (KeyboardInterrupt, ObservationInterrupted) as stopped:
        note(f"stopped; what is done is kept in {out}. The same command resumes from there.")
        raise typer.Exit(1) from stopped
    for name, reason in run.failed().items():
        note(f"{name}: {reason}")
    summary = summarise(run)
    files = export(run, summary)
    if export_options.fiftyone:
        from chiaroscuro.studies.fiftyone import export_fiftyone

        files.append(export_fiftyone(run) / "load.py")
    report = write_study_report(run, summary, run.folder / "report.html")
    if as_json:
        print_json({"run": str(out), "report": str(report), **summary.figures})
    else:
        _print(summary.figures, report, files)
    if summary.figures["failed"]:
        raise typer.Exit(1)


def _studied(
    data: str,
    out: str,
    data_options: DataOptions,
    detector_options: DetectorOptions,
    settings: StudySettings,
    ray_options: RayOptions,
) -> "Run":
    """The run, complete, on this machine alone or on Ray."""
    from chiaroscuro.store.bundle import as_path
    from chiaroscuro.studies.run import notes_on, study

    collection = data_options.open(data)
    if ray_options.ray is None:
        detector = detector_options.load()
        note_all(notes_on(collection, detector))
        with progress() as show:
            return study(collection, detector, as_path(out), settings, progress=show)
    from chiaroscuro.studies.scale import study_on_ray

    with progress() as show:
        run = study_on_ray(
            collection,
            as_path(out),
            settings,
            address=ray_options.ray,
            workers=ray_options.workers,
            cpus=ray_options.cpus,
            gpus=ray_options.gpus,
            device=detector_options.loading.device,
            progress=show,
        )
    note_all(run.record.data.notes)
    return run


def _print(figures: dict[str, Any], report: "AnyPath", files: "list[AnyPath]") -> None:
    targets = ", ".join(f"{n} {kind}" for kind, n in figures["targets"].items()) or "no target"
    n_pictures = plural(figures["pictures"], "picture")
    cost = plural(figures["cost"], "pass", "passes")
    print(f"{n_pictures}, the cost of {cost}: {targets}")
    if "precision" in figures:
        for name in ("precision", "recall"):
            print(f"{name} {_figure(figures[name])}")
        precision = figures["average_precision"]
        if precision:
            ap50 = {"value": precision["ap50"], "interval": precision["ap50_interval"]}
            print(f"AP50 {_figure(ap50)}, AP {precision['ap']:z.3f}")
    for kind, shares in figures["context"].items():
        if shares["n"]:
            over = "1 target" if shares["n"] == 1 else f"mean over {shares['n']} targets"
            print(f"evidence in the box, {kind}: {_figure(shares['in_box'])}, {over}")
    print(f"open {report}")
    print("tables: " + ", ".join(path.name for path in files))


def _figure(value: dict[str, Any]) -> str:
    if value["value"] is None:
        return "-"
    low_high = value["interval"]
    spread = f" ({low_high[0]:z.3f} to {low_high[1]:z.3f})" if low_high else ""
    return f"{value['value']:z.3f}{spread}"
