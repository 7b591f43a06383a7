"""Insertion and deletion by estimator and number of passes.

    python benchmarks/long_runs.py && python benchmarks/faithfulness.py

Every target of the long runs, under our own protocol (a blur that grows with the box); the maps of
the first seed of pairs, the published map, and the box itself, pushed through the mask covariance,
beside them. Medians over targets, and the middle half.
"""

from collections import defaultdict

import numpy as np
import torch
from long_runs import DETECTORS, PAINTINGS, path_of
from truth_against_passes import box_alone, targets_of

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.errors import UndefinedMetricError

BUDGETS = (50, 150, 400, 1000)


def main() -> None:
    areas: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    undefined = 0
    for name in DETECTORS:
        detector = cs.load_detector(name)
        for painting in PAINTINGS:
            published = cs.Evidence.load(path_of(name, painting, "published"))
            pairs = cs.Evidence.load(path_of(name, painting, "pairs0"))
            targets = targets_of(detector, painting, published.image)
            maps = {"box alone": torch.stack([box_alone(pairs.masks, t) for t in targets]).float()}
            maps["paper, 5000"] = published.explain(targets, estimator="paper").saliency
            for n in BUDGETS:
                part = pairs.first(n)
                maps[f"paper, {n}"] = (
                    published.first(n).explain(targets, estimator="paper").saliency
                )
                maps[f"centred, {n}"] = part.explain(targets, estimator="centred").saliency
                maps[f"surrogate, {n}"] = part.explain(targets).saliency
            for what, saliency in maps.items():
                for target, one in zip(targets, saliency, strict=True):
                    try:
                        up = metrics.insertion(published.image, detector, target, one)
                        down = metrics.deletion(published.image, detector, target, one)
                    except UndefinedMetricError:
                        undefined += 1
                        continue
                    areas[what].append((up.area, down.area, metrics.overall(up, down)))
            print(f"<!-- {name} {painting} -->", flush=True)
    print("| map | targets | insertion | deletion | overall | middle half |\n" + "|---" * 6 + "|")
    for what, rows in areas.items():
        up, down, both = np.median(rows, axis=0)
        low, high = np.quantile([row[2] for row in rows], (0.25, 0.75))
        print(
            f"| {what} | {len(rows)} | {up:.3f} | {down:.3f} | {both:.3f} "
            f"| {low:.2f} to {high:.2f} |"
        )
    print(f"\n{undefined} maps without an order of pixels left out")


if __name__ == "__main__":
    main()
