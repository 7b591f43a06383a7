"""Pictures and networks small enough to know, for the tests of training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import chiaroscuro as cs
from chiaroscuro.core.records import Truth
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.training import Augmentation, TrainingPicture, TrainingSettings

PLAIN = Augmentation(
    size=64, long_side=(90, 90), flip=0, colour=0, blur=0, noise=0, near_a_face=1.0, tenebrism=0
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(seed: int = 0, face: tuple[int, int] = (30, 20)) -> TrainingPicture:
    """90 wide, 70 high, one bright face of 20 x 20."""
    image = torch.randint(0, 60, (3, 70, 90), dtype=torch.uint8, generator=generator(seed))
    x, y = face
    image[:, y : y + 20, x : x + 20] = 230
    truth = Truth(boxes=[[x, y, x + 20, y + 20]])
    return TrainingPicture(name=f"p{seed}", image=image, truth=truth)


def small_network() -> RetinaFaceNetwork:
    torch.manual_seed(0)
    return RetinaFaceNetwork()


class Bright:
    """Learns from which brightness on a picture has a face at its mark: one weight, one bias."""

    def __init__(self) -> None:
        self.network = nn.Linear(1, 1)
        self.info = cs.DetectorInfo(name="bright")
        with torch.no_grad():
            self.network.weight.fill_(0.1)
            self.network.bias.fill_(-1)
        self.broken_at: int | None = None
        self.calls = 0

    def detect(self, images: Tensor) -> list[cs.Proposals]:
        bright = (images.float().mean(dim=(1, 2, 3)) / 255)[:, None]
        with torch.no_grad():
            scores = self.network(bright).sigmoid()
        return [cs.Proposals(boxes=[[30, 20, 50, 40]], scores=score) for score in scores]

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> Mapping[str, Tensor]:
        self.calls += 1
        wanted = torch.tensor([[float(len(marked) > 0)] for marked in truth])
        said = self.network(images.mean(dim=(1, 2, 3))[:, None])
        loss = nn.functional.binary_cross_entropy_with_logits(said, wanted)
        if self.calls == self.broken_at:
            loss = loss * float("nan")
        return {"class": loss}

    def save(self, path: Path | str, about: Mapping[str, Any] | None = None) -> None:
        raise NotImplementedError


SETTINGS = TrainingSettings(
    steps=12, batch_size=2, learning_rate=0.1, evaluate_every=4, augmentation=PLAIN
)


def weights(detector: Trainable) -> Tensor:
    return torch.cat([value.flatten() for value in detector.network.state_dict().values()])
