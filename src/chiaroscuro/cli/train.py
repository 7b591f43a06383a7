"""``chiaroscuro train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiaroscuro.cli.console import (
    AS_JSON,
    DETECTOR_OPTIONS,
    DEVICE,
    errors_as_exit_status,
    note,
    parse_options,
    print_json,
    training_progress,
)

if TYPE_CHECKING:
    from chiaroscuro.train.folds import FoldResult


def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Marked pictures: a COCO .json file, a folder of Pascal VOC or YOLO, met-faces.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The checkpoint, NAME.safetensors; its log goes to NAME.training/."
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that the data set's file names are relative to."),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="DETECTOR",
            help="Where training begins: retinaface, torchvision/<builder>, or a checkpoint.",
        ),
    ] = "retinaface",
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 100,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="The highest, of AdamW.")] = 1e-4,
    keep: Annotated[
        float,
        typer.Option(
            help="Share of the starting weights in the result: averaging keeps what was known."
        ),
    ] = 0.5,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="Leave parameters whose names begin so as they are; may be repeated."),
    ] = None,
    tenebrism: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of crops that are pulled into dark ground and raking light."
        ),
    ] = 0.0,
    folds: Annotated[
        int,
        typer.Option(
            help="First measure what training gains out of fold, with as many folds; 0 does not."
        ),
    ] = 0,
    validation: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.9,
            help="Share of the pictures kept from training; the weights that do best on them win.",
        ),
    ] = 0.0,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --validation: evaluations without gain after which training ends."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same crops.")] = 0,
    detector_option: DETECTOR_OPTIONS = None,
    device: DEVICE = "auto",
    as_json: AS_JSON = False,
) -> None:
    """Fine-tune a face detector on paintings, all its layers by default.

    Writes a checkpoint that every command takes as --detector, and beside it NAME.training/ with
    the losses (log.csv), samples of the crops (samples.png), and with --folds the precision before
    and after on pictures that were not learned from (folds.json).

    After Ctrl-C or a kill, the same command goes on with the training; folds begin again.
    """
    with errors_as_exit_status():
        from chiaroscuro.bundle import write_json
        from chiaroscuro.data.datasets import open_data_set
        from chiaroscuro.study.run import labels_of
        from chiaroscuro.train.augment import Augmentation
        from chiaroscuro.train.folds import cross_validate
        from chiaroscuro.train.loop import TrainingSettings, precision, training_pictures
        from chiaroscuro.train.loop import train as train_on
        from chiaroscuro.train.samples import save_samples, split
        from chiaroscuro.train.trainable import open_trainable

        if out.suffix.lower() != ".safetensors":
            raise typer.BadParameter(
                f"wanted a name that ends in .safetensors, got {out.name}", param_hint="--out"
            )
        settings = TrainingSettings(
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            keep=keep,
            freeze=tuple(freeze or ()),
            patience=patience,
            seed=seed,
            augmentation=Augmentation(tenebrism=tenebrism),
        )
        collection = open_data_set(data, images)
        for text in collection.notes[:5]:
            note(text)
        trainee = open_trainable(start, device, **parse_options(detector_option))
        pictures = training_pictures(collection, labels_of(collection, trainee))
        folder = out.with_suffix(".training")
        save_samples(pictures, settings, folder / "samples.png")
        told: dict[str, Any] = {"checkpoint": str(out), "pictures": len(pictures)}
        try:
            if folds:
                with training_progress() as show:
                    results = cross_validate(
                        trainee,
                        pictures,
                        settings,
                        n_folds=folds,
                        progress=lambda n, step: show(f"fold {n + 1} of {folds}", step),
                    )
                told["folds"] = [result.describe() for result in results]
                write_json(folder / "folds.json", {"results": told["folds"]})
            learn, held = split(pictures, validation, seed)
            with training_progress() as show:
                train_on(
                    trainee,
                    learn,
                    settings,
                    validation=held,
                    folder=folder,
                    progress=lambda step: show("training", step),
                )
        except KeyboardInterrupt as stopped:
            note(f"stopped; what is done is kept in {folder}. The same command goes on from there.")
            raise typer.Exit(1) from stopped
        if held:
            told["validation_ap50"] = precision(trainee, held, settings.max_side).ap50
        trainee.save(
            out,
            {
                "from": start,
                "data": collection.source,
                "pictures": [picture.name for picture in learn],
                "training": settings.describe(),
                "measured": {k: told[k] for k in ("folds", "validation_ap50") if k in told},
            },
        )
        if as_json:
            print_json(told)
        else:
            if folds:
                _print_folds(results)
            if held:
                print(f"AP50 on the {len(held)} pictures held back: {told['validation_ap50']:.3f}")
            print(f"{out}: learned from {len(learn)} pictures; log and samples in {folder}")
            print(f"chiaroscuro detect PICTURE --detector {out}")


def _print_folds(results: "list[FoldResult]") -> None:
    for result in results:
        low_high = result.interval
        spread = f" (90 %: {low_high[0]:+.3f} to {low_high[1]:+.3f})" if low_high else ""
        print(
            f"out of fold, longer side {result.max_side}: AP50 {result.before.ap50:.3f} before, "
            f"{result.after.ap50:.3f} after, gain {result.gain:+.3f}{spread}; "
            f"AP {result.before.ap:.3f} and {result.after.ap:.3f}"
        )
