"""State of a training, and its file, from which only the same training resumes."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chiaroscuro.core import log
from chiaroscuro.core.checks import either, flag, many, mapping, maybe, number, record, text, whole
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import InputError, TrainingError
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.store import bundle
from chiaroscuro.training.pictures import TrainingPicture
from chiaroscuro.training.settings import TrainingSettings, changed

STATE, LOG = "state.pt", "log.csv"
_CONTENT = record(
    {
        "identity": record(
            {"settings": mapping(), "starting weights": text, "pictures": many(text)}
        ),
        "diverged": flag,
        "network": mapping(),
        "optimiser": mapping(),
        "step": whole(0),
        "best": maybe(many(either(number(), mapping()), 2)),
        "since_best": whole(0),
        "rows": many(record({"step": whole(1)})),
    }
)


class State:
    """Weights, optimiser and progress."""

    def __init__(
        self, network: nn.Module, parameters: list[nn.Parameter], settings: TrainingSettings
    ) -> None:
        self._network, self._parameters, self._settings = network, parameters, settings
        self._optimiser = torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._rate = float(settings.learning_rate)
        self._since_best = 0
        self.step = 0  # steps done
        self.good = (0, copied(network))  # the step at which weights were last saved, and those
        self.best: tuple[float, dict[str, Tensor]] | None = None  # by AP50 on validation pictures
        self.rows: list[dict[str, Any]] = []  # of the log, one per step

    @property
    def out_of_patience(self) -> bool:
        """Whether there was no gain on the validation pictures for ``patience`` evaluations."""
        patience = self._settings.patience
        return patience is not None and self._since_best >= patience

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        self._rate = rate
        for group in self._optimiser.param_groups:
            group["lr"] = rate

    def advance(self) -> bool:
        """Step along the clipped gradients; whether they were finite, else nothing changes."""
        norm = nn.utils.clip_grad_norm_(self._parameters, self._settings.clip)
        if not bool(torch.isfinite(norm)):
            return False
        self._optimiser.step()
        self.step += 1
        return True

    def judge(self, ap50: float) -> None:
        """Keep the weights if none were better on the validation pictures."""
        if self.best is None or ap50 > self.best[0]:
            self.best, self._since_best = (ap50, copied(self._network)), 0
        else:
            self._since_best += 1

    def take_best(self) -> None:
        """Load the weights that were best on the validation pictures, if any were measured."""
        if self.best is not None:
            self._network.load_state_dict(self.best[1])

    def restore(self) -> int:
        """Load the last good weights; returns their step."""
        step, weights = self.good
        self._network.load_state_dict(weights)
        return step

    def log(self, losses: Mapping[str, float], ap50: float | None) -> None:
        """Add a row for the step just taken."""
        judged = "" if ap50 is None else ap50
        self.rows.append({"step": self.step, "learning_rate": self._rate, **losses, "ap50": judged})

    def content(self) -> dict[str, Any]:
        """The state, for a file; these weights now count as good."""
        self.good = (self.step, copied(self._network))
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "best": self.best,
            "since_best": self._since_best,
            "rows": self.rows,
        }

    def resume(self, content: Mapping[str, Any]) -> None:
        """Restore a state from its ``content``, or raise TrainingError if it does not fit."""
        try:
            self._network.load_state_dict(content["network"])
            self._optimiser.load_state_dict(content["optimiser"])
        except Exception as error:  # damage surfaces as almost any error; all of them end here
            raise TrainingError(
                f"{STATE} does not fit the network ({type(error).__name__}); remove it to start "
                "that training again"
            ) from error
        self.step, self.best = content["step"], content["best"]
        self._since_best, self.rows = content["since_best"], content["rows"]
        self.good = (self.step, copied(self._network))


class StateFile:
    """``state.pt`` of a training: its state, and what identifies the training."""

    def __init__(
        self,
        folder: Path,
        settings: TrainingSettings,
        start: Mapping[str, Tensor],
        pictures: Sequence[Sequence[TrainingPicture]],
    ) -> None:
        self.path = folder / STATE
        self._identity: dict[str, Any] = {
            "settings": plain(settings),
            "starting weights": weights_digest(start),
            "pictures": [pictures_digest(some) for some in pictures],
        }

    def read(self) -> dict[str, Any] | None:
        """The state to resume from; None where training starts.

        After a loss that was NaN or infinite, a lower learning rate may resume, with a note. A file
        that is damaged or of another training is refused.
        """
        if not self.path.is_file():
            return None
        content = _read(self.path)
        before = content["identity"]
        differ = [name for name, value in self._identity.items() if before.get(name) != value]
        names = list(changed(before.get("settings", {}), self._identity["settings"]))
        if differ == ["settings"] and names == ["learning_rate"] and content["diverged"]:
            new = self._identity["settings"]["learning_rate"]
            if new < before["settings"]["learning_rate"]:
                log.LOG.warning(
                    f"resumed from step {content['step']}, with a learning rate of {new:g}"
                )
                return content
        if differ:
            if "settings" in differ:
                differ[differ.index("settings")] = f"settings ({', '.join(names)})"
            raise TrainingError(
                f"{self.path} is of a training with other {' and other '.join(differ)}; choose "
                "another --out, or remove that file to start again"
            )
        return content

    def write(self, content: Mapping[str, Any], *, diverged: bool = False) -> None:
        """Write state and log, each atomically."""
        stream = io.BytesIO()
        torch.save({**content, "identity": self._identity, "diverged": diverged}, stream)
        bundle.write_atomically(self.path, lambda file: file.write(stream.getvalue()))
        table = io.StringIO()
        writer = csv.DictWriter(table, list(content["rows"][0]))
        writer.writeheader()
        writer.writerows(content["rows"])
        bundle.write_text(self.path.with_name(LOG), table.getvalue())

    def record_divergence(self) -> None:
        """Record in the file, if there is one, that a lower learning rate may resume."""
        if self.path.is_file():
            self.write(_read(self.path), diverged=True)


def remove_fold_states(folder: Path) -> None:
    """Remove the states of a training's folds; logs stay."""
    for path in folder.glob(f"fold-*/{STATE}"):
        path.unlink(missing_ok=True)


def remove_states(folder: Path) -> None:
    """Remove the states of a training and of its folds; logs stay."""
    remove_fold_states(folder)
    (folder / STATE).unlink(missing_ok=True)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors and their names, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in weights.items():
        digest.update(f"{name} {image_hash(value.reshape(-1))} ".encode())
    return digest.hexdigest()


def pictures_digest(pictures: Sequence[TrainingPicture]) -> str:
    """SHA-256 of pictures in order: names, pixels and annotations."""
    digest = hashlib.sha256()
    for picture in pictures:
        truth = picture.truth
        values = (picture.image, truth.boxes, truth.labels, truth.ignore)
        digest.update(f"{picture.name} {' '.join(map(image_hash, values))} ".encode())
    return digest.hexdigest()


def copied(network: nn.Module) -> dict[str, Tensor]:
    """The network's weights and buffers, as they are now."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        state: dict[str, Any] = _CONTENT("", content)
    except InputError as error:
        raise TrainingError(
            f"{path} is not a training state, or one of an older version ({error}); remove it to "
            "start that training again"
        ) from error
    except Exception as error:  # damage surfaces as almost any error; all of them end here
        raise TrainingError(
            f"{path} is damaged ({type(error).__name__}); remove it to start that training again"
        ) from error
    return state
