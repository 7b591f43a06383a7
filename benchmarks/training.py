"""Which recipe of fine-tuning gains most on paintings that it has not seen?

    python benchmarks/training.py boxes.json --images DIR [--recipes first,tenebrism] [--seeds 0,1]

Every recipe trains RetinaFace on four of five folds, without averaging; the ends of the runs are
kept, so that shares of the starting weights, and averages over seeds, are tried afterwards without
training again. Prints the AP50 before and after, out of fold, at longer sides of 640 and 1000, with
the 90 % bootstrap interval of the gain, resampling pictures. One core, 7 minutes per recipe and
seed.
"""

import argparse
import copy
from itertools import product
from pathlib import Path

import attrs
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.metrics.average_precision import average_precision, resampled_ap50
from chiaroscuro.training import (
    Augmentation,
    TrainingSettings,
    open_trainable,
    train,
    training_pictures,
)
from chiaroscuro.training.measure import detections

RUNS = Path(__file__).parent / "runs" / "training"
N_FOLDS = 5
SIDES = (640, 1000)
KEEPS = (0.0, 0.25, 0.5, 0.75)

PHOTOGRAPHS = Augmentation(long_side=(480, 1300), tenebrism=0.0)
FIRST = TrainingSettings(keep=0.0, augmentation=PHOTOGRAPHS)
RECIPES = {
    "first": FIRST,
    "half-rate": attrs.evolve(FIRST, learning_rate=5e-5, steps=200),
    "double-rate": attrs.evolve(FIRST, learning_rate=2e-4),
    "tenebrism": attrs.evolve(FIRST, augmentation=attrs.evolve(PHOTOGRAPHS, tenebrism=0.3)),
    "smaller": attrs.evolve(FIRST, augmentation=attrs.evolve(PHOTOGRAPHS, long_side=(320, 1100))),
    "smaller-tenebrism": TrainingSettings(keep=0.0),  # the default of `train`
    "smaller-tenebrism-half-rate": TrainingSettings(keep=0.0, learning_rate=5e-5, steps=200),
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("annotations")
    words.add_argument("--images")
    words.add_argument("--recipes", default="smaller-tenebrism")
    words.add_argument("--seeds", default="0")
    words.add_argument("--train-only", action="store_true")
    given = words.parse_args()
    torch.set_num_threads(1)
    start = open_trainable("retinaface")
    pictures = training_pictures(open_data_set(given.annotations, given.images), {0: 0})
    order = np.random.default_rng(0).permutation(len(pictures))
    parts = [sorted(part.tolist()) for part in np.array_split(order, N_FOLDS)]
    recipes, seeds = given.recipes.split(","), [int(seed) for seed in given.seeds.split(",")]
    for recipe, seed, fold in product(recipes, seeds, range(N_FOLDS)):
        end = _end(recipe, seed, fold)
        if not end.exists():
            learner = copy.deepcopy(start)
            rest = [pictures[i] for i in range(len(pictures)) if i not in parts[fold]]
            train(learner, rest, attrs.evolve(RECIPES[recipe], seed=seed))
            end.parent.mkdir(parents=True, exist_ok=True)
            save_file(learner.network.state_dict(), end)
    if not given.train_only:
        _compare(start, pictures, parts, recipes, seeds)


def _compare(start, pictures, parts, recipes, seeds) -> None:
    old = {name: value.clone() for name, value in start.network.state_dict().items()}
    trained = copy.deepcopy(start)
    for side in SIDES:
        truth = [p.truth.scaled(min(1.0, side / max(p.image.shape[1:]))) for p in pictures]
        before = [detections(start, picture, side)[0] for picture in pictures]
        base = average_precision(before, truth)
        draws = resampled_ap50(before, truth, n_resamples=400)
        print(f"side {side}: before AP50 {base.ap50:z.3f} AP {base.ap:z.3f}", flush=True)
        for recipe, keep in product(recipes, KEEPS):
            groups = [[seed] for seed in seeds] + ([seeds] if len(seeds) > 1 else [])
            for group in groups:
                after = [None] * len(pictures)
                for fold, part in enumerate(parts):
                    ends = [load_file(_end(recipe, seed, fold)) for seed in group]
                    mean = {n: torch.stack([e[n] for e in ends]).mean(0) for n in old}
                    trained.network.load_state_dict(
                        {n: torch.lerp(mean[n], old[n], keep) for n in old}
                    )
                    for i in part:
                        after[i] = detections(trained, pictures[i], side)[0]
                now = average_precision(after, truth)
                gains = resampled_ap50(after, truth, n_resamples=400) - draws
                low, high = np.quantile(gains[np.isfinite(gains)], (0.05, 0.95))
                print(
                    f"  {recipe:12} seeds {group} keep {keep:z.2f}: AP50 {now.ap50:z.3f} "
                    f"{now.ap50 - base.ap50:+z.3f} ({low:+z.3f} to {high:+z.3f}), AP {now.ap:z.3f} "
                    f"{now.ap - base.ap:+z.3f}",
                    flush=True,
                )


def _end(recipe: str, seed: int, fold: int) -> Path:
    return RUNS / recipe / f"seed{seed}-fold{fold}.safetensors"


if __name__ == "__main__":
    main()
