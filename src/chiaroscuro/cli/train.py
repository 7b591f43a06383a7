"""``chiaroscuro train``."""

from contextlib import nullcontext
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
    note,
    parse_class_map,
    parse_frame,
    parse_options,
    print_json,
    tell_notes,
    training_progress,
)

if TYPE_CHECKING:
    from chiaroscuro.data.datasets import DataSet
    from chiaroscuro.detectors import Detector
    from chiaroscuro.training.folds import FoldResult
    from chiaroscuro.training.notes import Note


def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Annotated pictures: a COCO .json file, a folder of Pascal VOC or YOLO, YOLO's "
            "data.yaml, met-faces.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The checkpoint, NAME.safetensors; its log goes to NAME.training/."
        ),
    ],
    images: IMAGES = None,
    class_map: CLASS_MAP = None,
    frame: FRAME = None,
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
    train_norms: Annotated[
        bool,
        typer.Option(
            "--train-norms",
            help="Batch norms take their statistics from the crops: for a random start.",
        ),
    ] = False,
    tenebrism: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of crops that are pulled into dark ground and raking light."
        ),
    ] = 0.3,
    crop_size: Annotated[
        int, typer.Option(min=32, help="Side of a crop in pixels; less takes less memory.")
    ] = 416,
    long_side: Annotated[
        str,
        typer.Option(
            metavar="LOW,HIGH",
            help="Pictures are first scaled so that their longer side is of so many pixels.",
        ),
    ] = "320,1100",
    mixed_precision: Annotated[
        bool, typer.Option(help="Compute losses in bfloat16; on CUDA devices only.")
    ] = True,
    folds: Annotated[
        int,
        typer.Option(
            min=0,
            help="First measure what training gains out of fold, with as many folds; 0 does not.",
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

    After Ctrl-C or a kill the same command goes on, also within the folds. torchrun
    --nproc-per-node N -m chiaroscuro train ... shares the work of every step among N processes.
    """
    with errors_as_exit_status():
        import torch

        from chiaroscuro.data.datasets import open_data_set
        from chiaroscuro.store.bundle import write_json
        from chiaroscuro.studies.run import labels_of, only_one
        from chiaroscuro.training.augment import Augmentation
        from chiaroscuro.training.distributed import joined, processes
        from chiaroscuro.training.folds import cross_validate
        from chiaroscuro.training.loop import train as train_on
        from chiaroscuro.training.measure import precision
        from chiaroscuro.training.pictures import training_pictures
        from chiaroscuro.training.samples import save_samples, split
        from chiaroscuro.training.settings import TrainingSettings
        from chiaroscuro.training.state import pictures_digest, remove_states
        from chiaroscuro.training.trainable import open_trainable

        if out.suffix.lower() != ".safetensors":
            raise typer.BadParameter(
                f"wanted a name that ends in .safetensors, got {out.name}", param_hint="--out"
            )
        if patience is not None and not validation:
            raise typer.BadParameter("wanted --validation with it", param_hint="--patience")
        settings = TrainingSettings(
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            keep=keep,
            freeze=tuple(freeze or ()),
            patience=patience,
            mixed_precision=mixed_precision,
            train_norms=train_norms,
            seed=seed,
            augmentation=Augmentation(
                size=crop_size, long_side=_low_high(long_side), tenebrism=tenebrism
            ),
        )
        folder = out.with_suffix(".training")
        with joined(device) as own_device:
            first = processes().first
            tell: Note = note if first else _say_nothing
            mapped = parse_class_map(class_map)
            collection = open_data_set(data, images, class_map=mapped, frame=parse_frame(frame))
            torch.manual_seed(seed)  # of a network that begins with random weights
            trainee = open_trainable(start, own_device, **parse_options(detector_option))
            _tell_left_out(collection, trainee, tell)
            pictures = training_pictures(collection, labels_of(collection, trainee), tell)
            told: dict[str, Any] = {"checkpoint": str(out), "pictures": len(pictures)}
            with only_one(folder) if first else nullcontext(), training_progress() as show:
                if first:
                    save_samples(pictures, settings, folder / "samples.png")
                try:
                    if folds:
                        results = cross_validate(
                            trainee,
                            pictures,
                            settings,
                            n_folds=folds,
                            folder=folder,
                            progress=lambda n, step: (
                                show(f"fold {n + 1} of {folds}", step) if first else None
                            ),
                            note=tell,
                        )
                        told["folds"] = [result.describe() for result in results]
                        if first:
                            write_json(folder / "folds.json", {"results": told["folds"]})
                    learn, held = split(pictures, validation, seed)
                    train_on(
                        trainee,
                        learn,
                        settings,
                        validation=held,
                        folder=folder,
                        progress=lambda step: show("training", step) if first else None,
                        note=tell,
                    )
                except KeyboardInterrupt as stopped:
                    tell(
                        f"stopped; what is done is kept in {folder}. The same command goes on "
                        "from there."
                    )
                    raise typer.Exit(1) from stopped
                if not first:
                    return
                if held:
                    told["validation_ap50"] = precision(trainee, held, settings.max_side).ap50
                trainee.save(
                    out,
                    {
                        "from": Path(start).name if Path(start).is_file() else start,
                        "data": "/".join(Path(collection.source).parts[-2:]),
                        "data_sha256": pictures_digest(learn),
                        "class_map": mapped,
                        "pictures": [picture.name for picture in learn],
                        "training": settings.describe(),
                        "measured": {k: told[k] for k in ("folds", "validation_ap50") if k in told},
                    },
                )
                remove_states(folder)
        if as_json:
            print_json(told)
        else:
            if folds:
                _print_folds(results)
            if held:
                print(f"AP50 on the {len(held)} pictures held back: {told['validation_ap50']:z.3f}")
            print(f"{out}: learned from {len(learn)} pictures; log and samples in {folder}")
            print(f"chiaroscuro detect PICTURE --detector {out}")


def _low_high(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) == 2 and all(part.strip().isdecimal() for part in parts):
        low, high = (int(part) for part in parts)
        if 1 <= low <= high:
            return low, high
    raise typer.BadParameter(
        f"wanted two numbers of pixels, the lower first, such as 480,1300, got {text!r}",
        param_hint="--long-side",
    )


def _tell_left_out(collection: "DataSet", trainee: "Detector", tell: "Note") -> None:
    from chiaroscuro.studies.run import notes_on

    if collection.missing:
        tell(f"{len(collection.missing)} pictures are not there, such as {collection.missing[0]}")
    tell_notes(notes_on(collection, trainee), tell)


def _say_nothing(_: str) -> None:
    """What processes other than the first one do with a sentence."""


def _print_folds(results: "list[FoldResult]") -> None:
    for result in results:
        low_high = result.interval
        spread = f" (90 %: {low_high[0]:+z.3f} to {low_high[1]:+z.3f})" if low_high else ""
        print(
            f"out of fold, longer side {result.max_side}: AP50 {result.before.ap50:z.3f} before, "
            f"{result.after.ap50:z.3f} after, gain {result.gain:+z.3f}{spread}; "
            f"AP {result.before.ap:z.3f} and {result.after.ap:z.3f}"
        )
