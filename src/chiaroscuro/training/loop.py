"""The training loop: plain, resumable, and the same for every detector.

It uses no framework: there is one model and one optimiser, and no trainer does what needs care here
(crops from a seed, stopping at NaN, resuming after a kill).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import DivergedError, TrainingError
from chiaroscuro.core.progress import Report, Steps
from chiaroscuro.core.records import Truth
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.training.augment import random_crop
from chiaroscuro.training.distributed import processes
from chiaroscuro.training.gradient import Gradient, step_seed
from chiaroscuro.training.measure import precision
from chiaroscuro.training.pictures import TrainingPicture
from chiaroscuro.training.settings import TrainingSettings
from chiaroscuro.training.state import State, StateFile, copied
from chiaroscuro.training.trainable import average_with, free_parameters, set_to_train

Pictures = Sequence[TrainingPicture]


def train(
    detector: Trainable,
    pictures: Pictures,
    settings: TrainingSettings,
    *,
    validation: Pictures = (),
    folder: Path | None = None,
    progress: Report | None = None,
) -> nn.Module:
    """Train a detector's network in place; at the end it has the averaged weights.

    On one device the same start, pictures and settings give the same weights, interrupted or not.
    When memory runs out, crops pass in smaller parts; see
    :class:`~chiaroscuro.training.gradient.Gradient`. Processes of ``torch.distributed`` that all
    call this share the crops of every step.

    Args:
        detector: its network is changed.
        pictures: to learn from.
        settings: how.
        validation: pictures that precision is measured on; the best weights on them are kept.
        folder: for ``log.csv`` and ``state.pt``, from which the same call resumes.
        progress: called after every step.

    Returns:
        The network, in evaluation mode.

    Raises:
        TrainingError: if there is nothing to learn from or nothing to train, ``state.pt`` is
            damaged or of another training, or a single crop does not fit in memory.
        DivergedError: if a loss or its gradient is NaN or infinite; the network then has the last
            good weights.
    """
    run = _Run(detector, pictures, settings, validation, folder)
    steps = Steps(progress, settings.steps, "steps", done=run.state.step)
    while run.state.step < settings.steps and not run.state.out_of_patience:
        losses = run.take_step()
        ap50 = run.evaluate_and_save(losses)
        steps.advance(values=losses if ap50 is None else {**losses, "AP50": ap50})
    run.state.take_best()
    average_with(detector.network, run.start, settings.keep)
    return detector.network.eval()


class _Run:
    """One training: its network, state and file."""

    def __init__(
        self,
        detector: Trainable,
        pictures: Pictures,
        settings: TrainingSettings,
        validation: Pictures,
        folder: Path | None,
    ) -> None:
        self.detector, self.settings, self.validation = detector, settings, validation
        self.network, self.processes = detector.network, processes()
        self.pictures = _with_faces(pictures)
        self.backgrounds: Pictures = ()
        if settings.backgrounds > 0:
            self.backgrounds = [one for one in pictures if one not in self.pictures]
        _check(self.pictures, validation, settings.batch_size, self.processes.size)
        self.parameters = free_parameters(self.network, settings.freeze)
        self.processes.broadcast(self.network)
        self.start = copied(self.network)
        self.state = State(self.network, self.parameters, settings)
        self.gradient = Gradient(detector, settings)
        self.file: StateFile | None = None  # only rank 0 writes files
        if folder is not None and self.processes.first:
            learned = [*self.pictures, *self.backgrounds]
            self.file = StateFile(folder, settings, self.start, (learned, validation))
        saved = self.processes.run_on_first(lambda: None if self.file is None else self.file.read())
        if saved is not None:
            self.state.resume(saved)

    def take_step(self) -> dict[str, float]:
        """One step of the optimiser; the losses before it."""
        step, settings = self.state.step, self.settings
        crops, truth = _batch(self.pictures, self.backgrounds, settings, step)
        own = self.processes.share(len(crops))
        self.state.set_rate(_rate(settings, step))
        set_to_train(self.network, norms=settings.train_norms)
        losses = self.processes.sum(self.gradient.of(crops[own], truth[own], step))
        finite = math.isfinite(sum(losses.values()))
        if finite:
            self.processes.sum_gradients(self.parameters)
            finite = self.state.advance()
        if not finite:
            good = self.state.restore()
            if self.file is not None:
                self.file.record_divergence()
            raise DivergedError(step + 1, good, sum(losses.values()), settings.learning_rate)
        return losses

    def evaluate_and_save(self, losses: Mapping[str, float]) -> float | None:
        """After so many steps: AP50 on the validation pictures, and a saved state."""
        step, ap50 = self.state.step, None
        due = step % self.settings.evaluate_every == 0 or step == self.settings.steps
        if due:
            if self.processes.size > 1:
                self.processes.broadcast(self.network)  # statistics of batch norms differ
            if self.validation:
                ap50 = self.processes.run_on_first(
                    lambda: precision(self.detector, self.validation, self.settings.max_side).ap50
                )
                self.state.judge(ap50)
        self.state.log(losses, ap50)
        if due:
            content = self.state.content()
            if self.file is not None:
                self.file.write(content)
        return ap50


def _with_faces(pictures: Pictures) -> list[TrainingPicture]:
    return [picture for picture in pictures if bool((~picture.truth.ignore).any())]


def _check(usable: Pictures, validation: Pictures, batch_size: int, n_processes: int) -> None:
    if not usable:
        raise TrainingError("training: wanted at least one picture with a box that is to be found")
    if validation and not _with_faces(validation):
        raise TrainingError(
            f"validation: the {len(validation)} pictures held back have no box that is to be "
            "found; hold back more, or none"
        )
    if batch_size < n_processes:
        raise TrainingError(
            f"batch_size: wanted at least {n_processes}, one crop per process, got {batch_size}"
        )


def _batch(
    faces: Pictures, backgrounds: Pictures, settings: TrainingSettings, step: int
) -> tuple[Tensor, list[Truth]]:
    """The crops of one step, a function of the seed and the step alone."""
    generator = torch.Generator().manual_seed(step_seed(settings.seed, step))
    made = []
    for _ in range(settings.batch_size):
        pictures = faces
        if backgrounds and float(torch.rand((), generator=generator)) < settings.backgrounds:
            pictures = backgrounds
        picture = pictures[int(torch.randint(len(pictures), (), generator=generator))]
        made.append(random_crop(picture.image, picture.truth, settings.augmentation, generator))
    return torch.stack([crop for crop, _ in made]), [truth for _, truth in made]


def _rate(settings: TrainingSettings, step: int) -> float:
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
