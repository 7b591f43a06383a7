"""The training loop: short, plain, resumable, and the same for every detector.

A plain loop and no framework: there is one model, one optimiser, one process, and what needs care
(crops from a seed, stopping at NaN, going on after a kill) no trainer does for us.
"""

import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chiaroscuro import bundle
from chiaroscuro.data.datasets import DataSet
from chiaroscuro.data.images import read_image, shrink
from chiaroscuro.detectors.protocol import Detector, Trainable, checked_detect
from chiaroscuro.errors import InputError, TrainingError
from chiaroscuro.metrics.average_precision import AveragePrecision, average_precision
from chiaroscuro.records import Proposals, Truth
from chiaroscuro.train.augment import Augmentation, draw_crop

_KEPT_SIDE = 1600  # longer side of the pictures kept in memory; no crop is drawn at a larger scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingPicture:
    """A picture to learn from.

    Attributes:
        name: for messages.
        image: ``3 height width``, uint8.
        truth: its marks, in its pixels, with the detector's labels.
    """

    name: str
    image: Tensor
    truth: Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a detector is trained.

    Attributes:
        steps: of the optimiser.
        batch_size: crops a step.
        learning_rate: the highest, of AdamW; it warms up, then falls along a cosine to zero.
        weight_decay: of AdamW.
        warm_up: steps until the highest rate.
        clip: largest norm of the gradient.
        keep: share of the starting weights in the result, in [0, 1): the average of where training
            began and where it ended keeps what was known.
        freeze: parameters whose names begin so are left as they are.
        patience: evaluations on the validation pictures without gain after which training ends;
            None never.
        evaluate_every: steps between evaluations and saved states.
        max_side: longer side of pictures where precision is measured.
        seed: of the crops.
        augmentation: how crops are drawn.
    """

    steps: int = 100
    batch_size: int = 8
    learning_rate: float | int = 1e-4
    weight_decay: float | int = 1e-4
    warm_up: int = 10
    clip: float | int = 5.0
    keep: float | int = 0.5
    freeze: tuple[str, ...] = ()
    patience: int | None = None
    evaluate_every: int = 25
    max_side: int = 1000
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.evaluate_every < 1:
            raise InputError("training: wanted at least 1 step, crop a step and step an evaluation")
        if not 0 <= self.keep < 1:
            raise InputError(f"keep: wanted a share in [0, 1), got {self.keep}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate: wanted more than 0, got {self.learning_rate}")

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "freeze": list(self.freeze)}


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


def training_pictures(data: DataSet, labels: Mapping[int, int]) -> list[TrainingPicture]:
    """Read a data set into memory, pictures reduced to a longer side of 1600 pixels.

    Raises:
        TrainingError: if no picture has a box to learn.
        ImageError: if a picture cannot be read.
    """
    pictures = []
    for entry in data.entries:
        if entry.truth is None:
            raise TrainingError(f"{data.source} has no marks; wanted a data set with boxes")
        image = read_image(entry.path)
        width = image.shape[2]
        image, scale = shrink(image, _KEPT_SIDE)
        truth = entry.truth.relabelled(labels).scaled(scale * width / (entry.width or width))
        pictures.append(TrainingPicture(name=entry.name, image=image, truth=_inside(truth, image)))
    if not any(bool((~picture.truth.ignore).any()) for picture in pictures):
        raise TrainingError(f"{data.source} has no box to learn from; all are ignored, or none is")
    return pictures


def train(
    detector: Trainable,
    pictures: Sequence[TrainingPicture],
    settings: TrainingSettings,
    *,
    validation: Sequence[TrainingPicture] = (),
    folder: Path | None = None,
    progress: Callable[[Step], None] | None = None,
) -> nn.Module:
    """Train a detector's network in place; its state at the end is the averaged one.

    Args:
        detector: its network is changed.
        pictures: to learn from.
        settings: how.
        validation: pictures that precision is measured on; their best weights win.
        folder: gets ``log.csv`` and ``state.pt``, from which the same call goes on.
        progress: called after every step.

    Returns:
        The network, in evaluation mode.

    Raises:
        TrainingError: if there is nothing to learn from or nothing left to learn, or a loss is NaN
            or infinite; the network then has the last good weights.
    """
    network = detector.network
    usable = [picture for picture in pictures if bool((~picture.truth.ignore).any())]
    if not usable:
        raise TrainingError("training: wanted at least one picture with a box that is to be found")
    parameters = _free(network, settings.freeze)
    start = _copy(network)
    state = _State(network, parameters, settings, folder)
    began, first = time.perf_counter(), state.step
    device = next(network.parameters()).device
    while state.step < settings.steps and not state.tired:
        step = state.step
        crops, marks = _batch(usable, settings, step)
        state.set_rate(_rate(settings, step))
        network.train()
        parts = detector.losses(crops.to(device), marks)
        total = torch.stack(list(parts.values())).sum()
        if not bool(torch.isfinite(total.detach())):
            state.restore()
            raise TrainingError(
                f"training: the loss became {float(total.detach())} at step {step + 1}; the last "
                f"good weights are kept. Lower the learning rate, now {settings.learning_rate:g}"
            )
        state.advance(total, settings.clip)
        due = state.step % settings.evaluate_every == 0 or state.step == settings.steps
        ap50 = None
        if due and validation:
            ap50 = precision(detector, validation, settings.max_side).ap50
            state.judge(ap50)
        values = {name: float(value.detach()) for name, value in parts.items()}
        state.log(values, ap50)
        if due:
            state.save()
        if progress is not None:
            pace = (time.perf_counter() - began) / (state.step - first)
            progress(
                Step(
                    step=state.step,
                    steps=settings.steps,
                    losses=values,
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


class _State:
    """Weights, optimiser and how far they are; saved whole or not at all."""

    def __init__(
        self,
        network: nn.Module,
        parameters: list[nn.Parameter],
        settings: TrainingSettings,
        folder: Path | None,
    ) -> None:
        self.network, self.settings, self.folder = network, settings, folder
        self.parameters = parameters
        self.optimiser = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step = 0
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.since_best = 0
        self.rows: list[dict[str, Any]] = []
        self.good = _copy(network)
        if folder is not None and (folder / "state.pt").is_file():
            self._load(folder / "state.pt")

    @property
    def tired(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.since_best >= patience

    def set_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def advance(self, loss: Tensor, clip: float | int) -> None:
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, clip)
        self.optimiser.step()
        self.step += 1

    def judge(self, ap50: float) -> None:
        if self.best is None or ap50 > self.best[0]:
            self.best, self.since_best = (ap50, _copy(self.network)), 0
        else:
            self.since_best += 1

    def take_best(self) -> None:
        if self.best is not None:
            self.network.load_state_dict(self.best[1])

    def restore(self) -> None:
        self.network.load_state_dict(self.good)

    def log(self, losses: Mapping[str, float], ap50: float | None) -> None:
        self.rows.append({"step": self.step, **losses, "ap50": "" if ap50 is None else ap50})

    def save(self) -> None:
        self.good = _copy(self.network)
        if self.folder is None:
            return
        content = {
            "settings": repr(self.settings),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "best": self.best,
            "since_best": self.since_best,
            "rows": self.rows,
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        bundle.write_atomically(
            self.folder / "state.pt", lambda file: file.write(stream.getvalue())
        )
        self._write_log()

    def _write_log(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        assert self.folder is not None  # noqa: S101  (both callers have looked)
        bundle.write_atomically(
            self.folder / "log.csv", lambda file: file.write(text.getvalue().encode())
        )

    def _load(self, path: Path) -> None:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["settings"] != repr(self.settings):
            raise TrainingError(
                f"{path} is of a training run with other settings; choose another --out, or remove "
                "that folder to begin again"
            )
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.step, self.best = content["step"], content["best"]
        self.since_best, self.rows = content["since_best"], content["rows"]
        self.good = _copy(self.network)


def _batch(
    pictures: Sequence[TrainingPicture], settings: TrainingSettings, step: int
) -> tuple[Tensor, list[Truth]]:
    """The crops of one step, a function of the seed and the step alone."""
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
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


def _inside(truth: Truth, image: Tensor) -> Truth:
    """Marks cut to the picture; those outside it are dropped."""
    height, width = image.shape[1:]
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    cut = torch.minimum(truth.boxes.clamp(min=0), limits)
    kept = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
    return Truth(boxes=cut[kept], labels=truth.labels[kept], ignore=truth.ignore[kept])


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _blend(network: nn.Module, start: Mapping[str, Tensor], keep: float | int) -> None:
    """The average of the weights and those that training began from."""
    state = network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            value.lerp_(start[name].to(value), keep)
