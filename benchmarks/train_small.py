"""Does the loop teach a small detector of torchvision a few paintings, from random weights?

    OMP_NUM_THREADS=1 python benchmarks/train_small.py boxes.json --images DIR [--builder NAME]

Trains on the pictures of the set whose faces are largest and judges on the same ones: a check that
losses, labels, boxes and sizes fit together, not of what the detector knows of other paintings.
From random weights AP50 begins at 0; where all fits, the loss falls and AP50 rises. Prints both.
One core, 6 minutes. A step of Faster R-CNN takes four times as long:
``--builder fasterrcnn_mobilenet_v3_large_320_fpn --batch-size 2 --steps 220 --learning-rate 5e-4``.
"""

import argparse
import time

import torch

from chiaroscuro.core import boxes
from chiaroscuro.core.progress import Progress
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.training import (
    Augmentation,
    TrainingPicture,
    TrainingSettings,
    open_trainable,
    precision,
    train,
    training_pictures,
)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("annotations")
    words.add_argument("--images")
    words.add_argument("--builder", default="ssdlite320_mobilenet_v3_large")
    words.add_argument("--pictures", type=int, default=4)
    words.add_argument("--steps", type=int, default=400)
    words.add_argument("--batch-size", type=int, default=4)
    words.add_argument("--learning-rate", type=float, default=1e-3)
    words.add_argument("--side", type=int, default=320, help="of pictures and crops, in pixels")
    given = words.parse_args()
    torch.manual_seed(0)
    detector = open_trainable(f"torchvision/{given.builder}", device="cpu", weights=None)
    pictures = training_pictures(open_data_set(given.annotations, given.images), {0: 0})
    pictures = sorted(pictures, key=smallest_face, reverse=True)[: given.pictures]
    settings = TrainingSettings(
        steps=given.steps,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        keep=0.0,
        train_norms=True,
        max_side=given.side,
        augmentation=Augmentation(
            size=given.side,
            long_side=(round(0.9 * given.side), given.side),
            near_a_face=0.0,
            colour=0.1,
            blur=0.0,
            noise=0.0,
        ),
    )
    began = time.perf_counter()
    before = precision(detector, pictures, given.side)
    losses: list[float] = []

    def show(progress: Progress) -> None:
        losses.append(sum(progress.values.values()))
        if progress.done % 20 == 0:
            mean = sum(losses[-20:]) / 20
            parts = " ".join(f"{name} {value:z.3f}" for name, value in progress.values.items())
            seconds = time.perf_counter() - began
            print(f"step {progress.done}, {seconds:z.0f} s: loss {mean:z.3f} ({parts})", flush=True)

    train(detector, pictures, settings, progress=show)
    after = precision(detector, pictures, given.side)
    n = max(1, len(losses) // 10)
    print(
        f"{given.builder}, {len(pictures)} pictures, {settings.steps} steps of "
        f"{settings.batch_size}, {time.perf_counter() - began:z.0f} s: "
        f"loss {losses[0]:z.3f} at first, {sum(losses[-n:]) / n:z.3f} over the last tenth; "
        f"AP50 {before.ap50:z.3f} before, {after.ap50:z.3f} after"
    )


def smallest_face(picture: TrainingPicture) -> float:
    """Square root of its area, as a share of the picture's longer side; 0 without a face."""
    faces = picture.truth.boxes[~picture.truth.ignore]
    if len(faces) == 0:
        return 0.0
    return float(boxes.area(faces).min().sqrt()) / max(picture.image.shape[1:])


if __name__ == "__main__":
    main()
