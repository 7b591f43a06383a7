"""Insertion and deletion by estimator and number of passes, beside maps that explain nothing.

    python benchmarks/long_runs.py && python benchmarks/faithfulness.py

Every target of the long runs, under our own protocol (a blur that grows with the box). Maps of the
first seed of pairs; the published map; the box itself, pushed through the masks' covariance; and
the baselines. Medians over targets, the middle half, and what each map gains or loses against the
published one at 5000 masks, target by target.
"""

from collections import defaultdict

import numpy as np
import torch
from long_runs import DETECTORS, PAINTINGS, path_of
from truth_against_passes import box_alone, targets_of

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.core.errors import UndefinedMetricError
from chiaroscuro.core.records import Target

BUDGETS = (50, 150, 400, 1000)
PUBLISHED = "paper, 5000"


def maps_of(published: cs.Evidence, pairs: cs.Evidence, targets: list[Target]) -> dict[str, list]:
    maps = {
        f"baseline: {name}": [metrics.baseline(name, pairs.image, target) for target in targets]
        for name in metrics.BASELINES
    }
    maps["baseline: box, as masks blur it"] = [
        torch.as_tensor(box_alone(pairs.masks, target)).float() for target in targets
    ]
    maps[PUBLISHED] = list(published.explain(targets, estimator="paper").saliency)
    for n in BUDGETS:
        part = pairs.first(n)
        maps[f"paper, {n}"] = list(published.first(n).explain(targets, estimator="paper").saliency)
        maps[f"centred, {n}"] = list(part.explain(targets, estimator="centred").saliency)
        maps[f"surrogate, {n}"] = list(part.explain(targets).saliency)
    return maps


def main() -> None:
    areas: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    undefined: dict[str, int] = defaultdict(int)
    for name in DETECTORS:
        detector = cs.load_detector(name)
        for painting in PAINTINGS:
            published = cs.Evidence.load(path_of(name, painting, "published"))
            pairs = cs.Evidence.load(path_of(name, painting, "pairs0"))
            image = published.image
            targets = targets_of(detector, painting, image)
            for what, maps in maps_of(published, pairs, targets).items():
                for target, saliency in zip(targets, maps, strict=True):
                    try:
                        up = metrics.insertion(image, detector, target, saliency)
                        down = metrics.deletion(image, detector, target, saliency)
                        row = (up.area, down.area, metrics.overall(up, down))
                    except UndefinedMetricError:
                        undefined[what] += 1
                        row = (np.nan, np.nan, np.nan)
                    areas[what].append(row)
            print(f"<!-- {name} {painting} -->", flush=True)
    reference = np.array(areas[PUBLISHED])[:, 2]
    print(f"{len(reference)} targets\n")
    print("| map | insertion | deletion | overall | middle half | gain, mean | gain, middle half |")
    print("|---" * 7 + "|")
    for what, rows in areas.items():
        up, down, both = np.nanmedian(rows, axis=0)
        low, high = np.nanquantile([row[2] for row in rows], (0.25, 0.75))
        gain = np.array(rows)[:, 2] - reference
        error = np.nanstd(gain) / np.sqrt(len(gain))
        worst, best = np.nanquantile(gain, (0.25, 0.75))
        print(
            f"| {what} | {up:z.3f} | {down:z.3f} | {both:z.3f} | {low:z.2f} to {high:z.2f} "
            f"| {np.nanmean(gain):+z.3f} ± {error:z.3f} | {worst:+z.3f} to {best:+z.3f} |"
        )
    print("\nmaps without an order of pixels, left out:", dict(undefined) or "none")


if __name__ == "__main__":
    main()
