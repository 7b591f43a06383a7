"""The training loop: short, plain, resumable, and the same for every detector.

A plain loop and no framework: there is one model, one optimiser, and what needs care (crops from a
seed, stopping at NaN, going on after a kill) no trainer does for us.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import DivergedError, TrainingError
from chiaroscuro.core.records import Proposals, Truth
from chiaroscuro.detectors.protocol import Detector, Trainable, checked_detect
from chiaroscuro.images.resize import shrink
from chiaroscuro.metrics.average_precision import AveragePrecision, average_precision
from chiaroscuro.training.augment import draw_crop
from chiaroscuro.training.distributed import processes
from chiaroscuro.training.gradient import Gradient, step_seed
from chiaroscuro.training.notes import Tell, warn
from chiaroscuro.training.pictures import TrainingPicture, training_pictures
from chiaroscuro.training.settings import TrainingSettings
from chiaroscuro.training.state import State, StateFile, copied

__all__ = [
    "Step",
    "TrainingPicture",
    "TrainingSettings",
    "detections",
    "precision",
    "train",
    "training_pictures",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far training is.

    Attributes:
        step: steps done.
        steps: steps in all.
        losses: of this step, by part.
        ap50: on the validation pictures, where it was just measured.
        seconds_left: at this pace.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    ap50: float | None
    seconds_left: float


def train(
    detector: Trainable,
    pictures: Sequence[TrainingPicture],
    settings: TrainingSettings,
    *,
    validation: Sequence[TrainingPicture] = (),
    folder: Path | None = None,
    progress: Callable[[Step], None] | None = None,
    tell: Tell = warn,
) -> nn.Module:
    """Train a detector's network in place; its state at the end is the averaged one.

    On one device the same start, pictures and settings give the same weights, stopped and gone on
    or not. When memory runs out, crops pass in smaller parts; see
    :class:`~chiaroscuro.training.gradient.Gradient`. Processes of ``torch.distributed`` that all
    call this share the crops of every step.

    Args:
        detector: its network is changed.
        pictures: to learn from.
        settings: how.
        validation: pictures that precision is measured on; their best weights win.
        folder: gets ``log.csv`` and ``state.pt``, from which the same call goes on.
        progress: called after every step.
        tell: gets what a person should know though training goes on; a warning by default.

    Returns:
        The network, in evaluation mode.

    Raises:
        TrainingError: if there is nothing to learn from or nothing left to learn, ``state.pt`` is
            damaged or of another training, or a single crop does not fit in memory.
        DivergedError: if a loss or its gradient is NaN or infinite; the network then has the last
            good weights.
    """
    network, together = detector.network, processes()
    usable = _with_faces(pictures)
    if not usable:
        raise TrainingError("training: wanted at least one picture with a box that is to be found")
    if validation and not _with_faces(validation):
        raise TrainingError(
            f"validation: the {len(validation)} pictures held back have no box that is to be "
            "found; hold back more, or none"
        )
    if settings.batch_size < together.size:
        raise TrainingError(
            f"batch_size: wanted at least {together.size}, a crop a process, got "
            f"{settings.batch_size}"
        )
    parameters = _free(network, settings.freeze)
    together.take_from_first(network)
    start = copied(network)
    state, gradient = State(network, parameters, settings), Gradient(detector, settings, tell)
    file = None
    if folder is not None and together.first:
        file = StateFile(folder, settings, start, (usable, validation))
    before = together.ask_first(lambda: None if file is None else file.read(tell))
    if before is not None:
        state.go_on_from(before)
    began, first = time.perf_counter(), state.step
    while state.step < settings.steps and not state.tired:
        step = state.step
        crops, marks = _batch(usable, settings, step)
        own = together.share(len(crops))
        state.set_rate(_rate(settings, step))
        _set_to_train(network, norms=settings.train_norms)
        losses = together.sum(gradient.of(crops[own], marks[own], step))
        finite = math.isfinite(sum(losses.values()))
        if finite:
            together.sum_gradients(parameters)
            finite = state.advance()
        if not finite:
            good = state.restore()
            if file is not None:
                file.mark_diverged()
            raise DivergedError(step + 1, good, sum(losses.values()), settings.learning_rate)
        due = state.step % settings.evaluate_every == 0 or state.step == settings.steps
        ap50 = None
        if due and together.size > 1:
            together.take_from_first(network)  # statistics of batch norms differ until now
        if due and validation:
            ap50 = together.ask_first(
                lambda: precision(detector, validation, settings.max_side).ap50
            )
            state.judge(ap50)
        state.log(losses, ap50)
        if due:
            content = state.content()
            if file is not None:
                file.write(content)
        if progress is not None:
            pace = (time.perf_counter() - began) / (state.step - first)
            progress(
                Step(
                    step=state.step,
                    steps=settings.steps,
                    losses=losses,
                    ap50=ap50,
                    seconds_left=pace * (settings.steps - state.step),
                )
            )
    state.take_best()
    _blend(network, start, settings.keep)
    return network.eval()


def precision(
    detector: Detector, pictures: Sequence[TrainingPicture], max_side: int
) -> AveragePrecision:
    """Average precision of a detector on pictures reduced to that longer side."""
    found, truth = [], []
    for picture in pictures:
        proposals, scale = detections(detector, picture, max_side)
        found.append(proposals)
        truth.append(picture.truth.scaled(scale))
    return average_precision(found, truth)


def detections(
    detector: Detector, picture: TrainingPicture, max_side: int
) -> tuple[Proposals, float]:
    """What the detector reports in a picture reduced to that longer side, and by how much."""
    image, scale = shrink(picture.image, max_side)
    return checked_detect(detector, image[None])[0].to("cpu"), scale


def _with_faces(pictures: Sequence[TrainingPicture]) -> list[TrainingPicture]:
    return [picture for picture in pictures if bool((~picture.truth.ignore).any())]


def _batch(
    pictures: Sequence[TrainingPicture], settings: TrainingSettings, step: int
) -> tuple[Tensor, list[Truth]]:
    """The crops of one step, a function of the seed and the step alone."""
    generator = torch.Generator().manual_seed(step_seed(settings.seed, step))
    crops, marks = [], []
    for _ in range(settings.batch_size):
        picture = pictures[int(torch.randint(len(pictures), (), generator=generator))]
        crop, truth = draw_crop(picture.image, picture.truth, settings.augmentation, generator)
        crops.append(crop)
        marks.append(truth)
    return torch.stack(crops), marks


def _rate(settings: TrainingSettings, step: int) -> float:
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


def _set_to_train(network: nn.Module, *, norms: bool) -> None:
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(norms)


def _free(network: nn.Module, freeze: Sequence[str]) -> list[nn.Parameter]:
    """Parameters that learn.

    Raises:
        TrainingError: if a name to freeze begins no parameter's, or none is left.
    """
    names = [name for name, _ in network.named_parameters()]
    for prefix in freeze:
        if not any(name.startswith(prefix) for name in names):
            parts = sorted({name.split(".")[0] for name in names})
            raise TrainingError(
                f"freeze: no parameter begins with {prefix!r}; parts are {', '.join(parts)}"
            )
    free = []
    for name, parameter in network.named_parameters():
        learns = not any(name.startswith(prefix) for prefix in freeze)
        parameter.requires_grad_(learns)
        if learns:
            free.append(parameter)
    if not free:
        raise TrainingError("freeze: nothing is left to learn")
    return free


def _blend(network: nn.Module, start: Mapping[str, Tensor], keep: float | int) -> None:
    """The average of the weights and those that training began from."""
    state = network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            value.lerp_(start[name].to(value), keep)
