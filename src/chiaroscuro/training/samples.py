"""Samples of the training crops as a picture, and the split into training and validation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from chiaroscuro.core.errors import TrainingError
from chiaroscuro.figures.look import TARGET_COLOUR
from chiaroscuro.figures.overlay import pixels
from chiaroscuro.store import bundle
from chiaroscuro.training.augment import random_crop
from chiaroscuro.training.pictures import TrainingPicture
from chiaroscuro.training.settings import TrainingSettings

COLUMNS, ROWS, SIDE = 6, 3, 208
IGNORED_COLOUR = "#9aa0a6"


def save_samples(
    pictures: Sequence[TrainingPicture], settings: TrainingSettings, path: Path
) -> Path:
    """Save a grid of random training crops: faces green, ignored boxes grey."""
    generator = torch.Generator().manual_seed(settings.seed)
    sheet = Image.new("RGB", (COLUMNS * SIDE, ROWS * SIDE))
    annotated = [picture for picture in pictures if len(picture.truth)] or list(pictures)
    for i in range(COLUMNS * ROWS):
        picture = annotated[int(torch.randint(len(annotated), (), generator=generator))]
        crop, truth = random_crop(picture.image, picture.truth, settings.augmentation, generator)
        card = Image.fromarray(pixels(crop)).resize((SIDE, SIDE))
        pen = ImageDraw.Draw(card)
        for box, ignore in zip(truth.boxes.tolist(), truth.ignore.tolist(), strict=True):
            scaled = [value * SIDE / settings.augmentation.size for value in box]
            pen.rectangle(scaled, outline=IGNORED_COLOUR if ignore else TARGET_COLOUR, width=2)
        sheet.paste(card, (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    bundle.write_atomically(path, lambda stream: sheet.save(stream, "png"))
    return path


def split(
    pictures: Sequence[TrainingPicture], share: float | int, seed: int
) -> tuple[list[TrainingPicture], list[TrainingPicture]]:
    """Random split into pictures to learn from and pictures held back.

    ``share`` of them are held back, in [0, 1): at least one where it is above 0.

    Raises:
        TrainingError: if some are to be held back and there is only one.
    """
    if share <= 0:
        return list(pictures), []
    if len(pictures) < 2:
        raise TrainingError("validation: wanted at least 2 pictures, to learn from and hold back")
    n = min(len(pictures) - 1, max(1, round(share * len(pictures))))
    order = np.random.default_rng(seed).permutation(len(pictures)).tolist()
    return [pictures[i] for i in sorted(order[n:])], [pictures[i] for i in sorted(order[:n])]
