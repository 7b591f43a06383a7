"""``chiaroscuro train``."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from chiaroscuro.cli.console import log_to_stderr, note, note_all, print_json
from chiaroscuro.cli.options import AS_JSON, DataOptions, LoadOptions, command
from chiaroscuro.cli.progress import progress
from chiaroscuro.core.checks import anything, number, whole
from chiaroscuro.core.declared import part, plain, setting
from chiaroscuro.core.text import plural
from chiaroscuro.training.settings import TrainingSettings

if TYPE_CHECKING:
    from chiaroscuro.data.datasets import DataSet
    from chiaroscuro.detectors.protocol import Trainable
    from chiaroscuro.training.folds import FoldResult
    from chiaroscuro.training.pictures import TrainingPicture


@attrs.frozen(kw_only=True)
class StartOptions:
    """Where training begins, and how that detector is loaded."""

    start: str = setting(
        anything,
        "retinaface",
        flags=("--from",),
        metavar="DETECTOR",
        help="Where training begins: retinaface, torchvision/<builder>, or a checkpoint.",
    )
    loading: LoadOptions = part(LoadOptions)


@attrs.frozen(kw_only=True)
class CheckOptions:
    """How what training gains is measured."""

    folds: int = setting(
        whole(0),
        0,
        help="First measure what training gains on pictures that were not learned from, with this "
        "many folds; 0 does not.",
    )
    validation: float = setting(
        number(0, 0.9),
        0.0,
        help="Share of the pictures kept from training; the weights that do best on them are kept.",
    )


@attrs.frozen(kw_only=True)
class Trained:
    """What training made."""

    learned: int
    held: int
    figures: dict[str, Any]
    folds: "list[FoldResult]"


@command
def train(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Annotated pictures: a COCO .json file, a folder of Pascal VOC or YOLO, YOLO's "
            "data.yaml, or a sample set: met-training, met-faces.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The checkpoint, NAME.safetensors; its log goes to NAME.training/."
        ),
    ],
    data_options: DataOptions,
    start_options: StartOptions,
    settings: TrainingSettings,
    check_options: CheckOptions,
    as_json: AS_JSON = False,
) -> None:
    """Fine-tune a face detector on paintings, all its layers by default.

    Writes a checkpoint that every command takes as --detector, and beside it NAME.training/ with
    the losses (log.csv), samples of the crops (samples.png), and with --folds the precision before
    and after on pictures that were not learned from (folds.json).

    After Ctrl-C or a kill the same command resumes, also within the folds. torchrun
    --nproc-per-node N -m chiaroscuro train ... shares the work of every step among N processes.
    """
    from chiaroscuro.training.distributed import joined, processes

    if out.suffix.lower() != ".safetensors":
        raise typer.BadParameter(
            f"wanted a name that ends in .safetensors, got {out.name}", param_hint="--out"
        )
    if settings.patience is not None and not check_options.validation:
        raise typer.BadParameter("wanted --validation with it", param_hint="--patience")
    with joined(start_options.loading.device) as own_device:
        first = processes().first
        if not first:
            log_to_stderr(logging.ERROR)  # only rank 0 writes files and logs
        loading = attrs.evolve(start_options.loading, device=own_device)
        start = attrs.evolve(start_options, loading=loading)
        trained = _trained(data, out, data_options, start, settings, check_options)
    if not first:
        return
    if as_json:
        print_json({"checkpoint": str(out), **trained.figures})
    else:
        _print(trained, out)


def _trained(
    data: str,
    out: Path,
    data_options: DataOptions,
    start: StartOptions,
    settings: TrainingSettings,
    checks: CheckOptions,
) -> Trained:
    """Train, measure, and write the checkpoint."""
    import torch

    from chiaroscuro.studies.run import labels_of, notes_on, only_one
    from chiaroscuro.training.distributed import processes
    from chiaroscuro.training.pictures import training_pictures
    from chiaroscuro.training.samples import save_samples, split
    from chiaroscuro.training.trainable import open_trainable

    first, folder = processes().first, out.with_suffix(".training")
    collection = data_options.open(data)
    torch.manual_seed(settings.seed)  # of a network that begins with random weights
    detector = open_trainable(start.start, start.loading.device, **start.loading.keywords)
    note_all(notes_on(collection, detector))
    pictures = training_pictures(collection, labels_of(collection, detector))
    learned, held = split(pictures, checks.validation, settings.seed)
    with only_one(folder) if first else nullcontext():
        if first:
            save_samples(pictures, settings, folder / "samples.png")
        try:
            results = _learn(detector, pictures, learned, held, settings, checks.folds, folder)
        except KeyboardInterrupt as stopped:
            note(f"stopped; what is done is kept in {folder}. The same command resumes from there.")
            raise typer.Exit(1) from stopped
        figures: dict[str, Any] = {"pictures": len(pictures)}
        if checks.folds:
            figures["folds"] = [result.describe() for result in results]
        if first:
            figures |= _save(
                detector, out, collection, learned, held, settings, figures, start, data_options
            )
    return Trained(learned=len(learned), held=len(held), figures=figures, folds=results)


def _learn(
    detector: "Trainable",
    pictures: "list[TrainingPicture]",
    learned: "list[TrainingPicture]",
    held: "list[TrainingPicture]",
    settings: TrainingSettings,
    n_folds: int,
    folder: Path,
) -> "list[FoldResult]":
    """Cross-validate if wanted, then train on what is to be learned."""
    from chiaroscuro.store.bundle import write_json
    from chiaroscuro.training.distributed import processes
    from chiaroscuro.training.folds import cross_validate
    from chiaroscuro.training.loop import train

    first, results = processes().first, []
    with progress("training") as show:
        report = show if first else None
        if n_folds:
            results = cross_validate(
                detector, pictures, settings, n_folds=n_folds, folder=folder, progress=report
            )
            if first:
                described = [result.describe() for result in results]
                write_json(folder / "folds.json", {"results": described})
        train(detector, learned, settings, validation=held, folder=folder, progress=report)
    return results


def _save(
    detector: "Trainable",
    out: Path,
    collection: "DataSet",
    learned: "list[TrainingPicture]",
    held: "list[TrainingPicture]",
    settings: TrainingSettings,
    figures: dict[str, Any],
    start: StartOptions,
    data_options: DataOptions,
) -> dict[str, Any]:
    """Write the checkpoint with what it was made of; the precision on the pictures held back."""
    from chiaroscuro.training.measure import precision
    from chiaroscuro.training.state import pictures_digest, remove_states

    measured = {}
    if held:
        measured["validation_ap50"] = precision(detector, held, settings.max_side).ap50
    folds = {"folds": figures["folds"]} if "folds" in figures else {}
    detector.save(
        out,
        {
            "from": Path(start.start).name if Path(start.start).is_file() else start.start,
            "data": "/".join(Path(collection.source).parts[-2:]),
            "data_sha256": pictures_digest(learned),
            "class_map": data_options.classes,
            "pictures": [picture.name for picture in learned],
            "training": plain(settings),
            "measured": {**folds, **measured},
        },
    )
    remove_states(out.with_suffix(".training"))
    return measured


def _print(trained: Trained, out: Path) -> None:
    for result in trained.folds:
        low_high = result.interval
        spread = f" (90 %: {low_high[0]:+z.3f} to {low_high[1]:+z.3f})" if low_high else ""
        print(
            f"out of fold, longer side {result.max_side}: AP50 {result.before.ap50:z.3f} before, "
            f"{result.after.ap50:z.3f} after, gain {result.gain:+z.3f}{spread}; "
            f"AP {result.before.ap:z.3f} and {result.after.ap:z.3f}"
        )
    if trained.held:
        n, ap50 = plural(trained.held, "picture"), trained.figures["validation_ap50"]
        print(f"AP50 on the {n} held back: {ap50:z.3f}")
    folder = out.with_suffix(".training")
    print(f"{out}: learned from {plural(trained.learned, 'picture')}; log and samples in {folder}")
    print(f"chiaroscuro detect PICTURE --detector {out}")
