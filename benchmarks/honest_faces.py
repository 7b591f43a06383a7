"""Stated fidelities against long runs on real faces: ``python benchmarks/honest_faces.py``.

Makes the long runs that it lacks (RetinaFace, four paintings, 12,000 masks for the truth; see
``long_runs.py``), then prints for found and missed faces the fidelity that is claimed and the
correlation with the long run, over box and ring.
"""

import math

import numpy as np
from long_runs import path_of, run
from truth_against_passes import correlation, targets_of

import chiaroscuro as cs

DETECTOR = "retinaface"
PAINTINGS = (436838, 437455, 436603, 437971)
MASKS = (100, 150, 250, 400, 1000)
WEAK = 0.08  # mean weight below which a face is barely seen


def main() -> None:
    detector = cs.load_detector(DETECTOR)
    rows: dict[int, list[tuple[float, float, float]]] = {n: [] for n in MASKS}
    for painting in PAINTINGS:
        for role in ("truth", "pairs0"):
            run(DETECTOR, painting, role)
        truth_run, pairs = (
            cs.Evidence.load(path_of(DETECTOR, painting, role)) for role in ("truth", "pairs0")
        )
        targets = targets_of(detector, painting, truth_run.image)
        truth = truth_run.explain(targets, estimator="centred")
        for n in MASKS:
            result = pairs.first(n).explain(targets)
            for i, target in enumerate(targets):
                inside, ring = cs.boxes.neighbourhood(target.box, truth.height, truth.width)
                true = correlation(result.saliency[i], truth.saliency[i], inside | ring)
                rows[n].append((float(result.fidelity[i]), true, float(truth.mean_weight[i])))
    print(f"{len(rows[MASKS[0]])} targets; means over those that make a claim\n")
    print(
        "| masks | claims | claimed | true | highest above the truth | weak: claimed | weak: true |"
    )
    print("|---|---|---|---|---|---|---|")
    for n in MASKS:
        made = np.array([row for row in rows[n] if not math.isnan(row[0])])
        weak = made[made[:, 2] < WEAK]
        said, true = made[:, 0], made[:, 1]
        print(
            f"| {n} | {len(made)} | {said.mean():.3f} | {true.mean():.3f} "
            f"| {(said - true).max():+.2f} | {weak[:, 0].mean():.3f} | {weak[:, 1].mean():.3f} |"
        )


if __name__ == "__main__":
    main()
