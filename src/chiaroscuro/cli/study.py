"""``chiaroscuro study``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiaroscuro.cli.console import (
    AS_JSON,
    CLASS_MAP,
    DETECTOR,
    DETECTOR_OPTIONS,
    DEVICE,
    FRAME,
    IMAGES,
    MAX_PIXELS,
    MAX_SIDE,
    MIN_SCORE,
    errors_as_exit_status,
    n_masks_or_auto,
    note,
    open_detector,
    parse_class_map,
    parse_frame,
    parse_options,
    picture_progress,
    print_json,
    step_progress,
    tell_notes,
)

if TYPE_CHECKING:
    from chiaroscuro.store.bundle import AnyPath


def study(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A COCO .json file, a folder in the layout of Pascal VOC or YOLO, YOLO's "
            "data.yaml, or met-faces, the sample set; without annotations, a folder of pictures, "
            "one picture or its http:// address, or a .txt file with a path or address per line.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="The run folder, or its address for fsspec, such as s3://bucket/run; an earlier "
            "run in it goes on.",
        ),
    ],
    images: IMAGES = None,
    class_map: CLASS_MAP = None,
    frame: FRAME = None,
    detector: DETECTOR = "centerface",
    n_masks: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Detector passes a picture; auto goes on until every target has the wanted "
            "fidelity.",
        ),
    ] = "auto",
    fidelity: Annotated[
        float,
        typer.Option(help="Correlation with the map of infinitely many masks that auto waits for."),
    ] = 0.9,
    min_score: MIN_SCORE = 0.3,
    match_iou: Annotated[
        float,
        typer.Option(min=0.05, max=1.0, help="IoU from which a detection has a marked box."),
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same maps.")] = 0,
    detector_option: DETECTOR_OPTIONS = None,
    device: DEVICE = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures a detector call; chosen when not given.")
    ] = None,
    max_side: MAX_SIDE = 1280,
    max_pixels: MAX_PIXELS = 100_000_000,
    fiftyone: Annotated[
        bool,
        typer.Option(
            "--fiftyone",
            help="Also write fiftyone/: boxes, heat maps and a script that makes a FiftyOne data "
            "set of them.",
        ),
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|ADDRESS",
            help="Share the pictures out among workers: on this machine, or on a Ray cluster. "
            "Needs the extra scale.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="With --ray: how many. [dim]default: as many as fit[/]"),
    ] = None,
    cpus: Annotated[int, typer.Option(min=1, help="With --ray: threads of a worker.")] = 1,
    gpus: Annotated[
        float, typer.Option(min=0, help="With --ray: graphics cards of a worker, such as 0.5.")
    ] = 0.0,
    as_json: AS_JSON = False,
) -> None:
    """Run a detector over a data set and explain every hit, false alarm and miss.

    Writes a run folder: maps and evidence of every picture, tables (targets.parquet,
    pictures.parquet), COCO results (detections.json), average maps, and report.html, one file to
    read or send.

    After Ctrl-C, SIGTERM, a crash or a power cut, the same command goes on where it stopped.
    Pictures that cannot be studied are reported, skipped and tried again next time; the exit status
    is then 1.
    """
    with errors_as_exit_status():
        from chiaroscuro.core.errors import ObservationInterrupted
        from chiaroscuro.data.datasets import open_data_set
        from chiaroscuro.report.study import write_study_report
        from chiaroscuro.results.explaining import Settings
        from chiaroscuro.store.bundle import as_path
        from chiaroscuro.studies.examine import StudySettings
        from chiaroscuro.studies.export import export
        from chiaroscuro.studies.run import notes_on
        from chiaroscuro.studies.run import study as study_all
        from chiaroscuro.studies.summary import summarise

        place = as_path(out)
        collection = open_data_set(
            data, images, class_map=parse_class_map(class_map), frame=parse_frame(frame)
        )
        if collection.missing:
            note(
                f"{len(collection.missing)} pictures are not there, such as {collection.missing[0]}"
            )
        options = parse_options(detector_option)
        settings = StudySettings(
            explain=Settings(
                detector=detector,
                detector_options=options,
                min_score=min_score,
                n_masks=n_masks_or_auto(n_masks),
                fidelity=fidelity,
                seed=seed,
                batch_size=batch_size,
            ),
            match_iou=match_iou,
            max_side=max_side or None,
            max_pixels=max_pixels,
        )
        try:
            if ray is None:
                model = open_detector(detector, options, device)
                tell_notes(notes_on(collection, model))
                with picture_progress() as progress:
                    run = study_all(collection, model, place, settings, progress=progress)
            else:
                from chiaroscuro.studies.scale import study_on_ray

                with step_progress("pictures") as step:
                    run = study_on_ray(
                        collection,
                        place,
                        settings,
                        address=ray,
                        workers=workers,
                        cpus=cpus,
                        gpus=gpus,
                        device=device,
                        progress=step,
                    )
                tell_notes(run.asked["data"]["notes"])
        except (KeyboardInterrupt, ObservationInterrupted) as stopped:
            note(f"stopped; what is done is kept in {out}. The same command goes on from there.")
            raise typer.Exit(1) from stopped
        for name, reason in run.failed().items():
            note(f"{name}: {reason}")
        summary = summarise(run)
        files = export(run, summary)
        if fiftyone:
            from chiaroscuro.studies.fiftyone import export_fiftyone

            files.append(export_fiftyone(run) / "load.py")
        report = write_study_report(run, summary, place / "report.html")
        if as_json:
            print_json({"run": str(out), "report": str(report), **summary.figures})
        else:
            _print(summary.figures, report, files)
        if summary.figures["failed"]:
            raise typer.Exit(1)


def _print(figures: dict[str, Any], report: "AnyPath", files: "list[AnyPath]") -> None:
    targets = ", ".join(f"{n} {kind}" for kind, n in figures["targets"].items()) or "no target"
    print(f"{figures['pictures']} pictures, {figures['passes']} passes: {targets}")
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
