"""How near to the truth each estimator comes with how many detector passes.

    python benchmarks/long_runs.py && python benchmarks/truth_against_passes.py [--held-out]

For every target of every painting that has its long runs: correlation with the long run in the box,
in the ring around it (nearer than one box size), and beyond; the same for the box itself, pushed
through the mask covariance with no detector at all; the share of targets on which a map is as near
to the truth as the published one at 5000 passes; and how far the reported fidelity is from the
correlation measured over box and ring. Prints tables in Markdown. ``--held-out`` takes only the
paintings on which no choice was made.
"""

import argparse
from collections import defaultdict
from functools import partial

import numpy as np
import torch
from long_runs import DETECTORS, HELD_OUT, PAINTINGS, path_of
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.records import Target, as_targets
from chiaroscuro.data.samples import sample_painting

BUDGETS = (50, 100, 150, 250, 400, 600, 1000)
Scores = dict[tuple[str, int], list[list[float]]]


def correlation(first: Tensor, second: Tensor, where: Tensor) -> float:
    a, b = first[where], second[where]
    if float(a.std()) == 0 or float(b.std()) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def targets_of(detector: cs.Detector, painting: int, image: Tensor) -> tuple[Target, ...]:
    """What the detector finds, and the marked faces that it misses."""
    sample = sample_painting(painting)
    marked = sample.truth.boxes[~sample.truth.ignore] * (image.shape[2] / sample.read().shape[2])
    found = detector.detect(image[None])[0].above(0.3)
    missed = marked[(boxes.iou(marked, found.boxes) < 0.4).all(dim=1)]
    return as_targets(found) + as_targets(missed, origin="truth")


def box_alone(masks: cs.Masks, target: Target) -> Tensor:
    """The box pushed through the covariance of the masks: what a map shows that knows nothing."""
    rows, columns = torch.arange(masks.height), torch.arange(masks.width)
    inside, _ = boxes.neighbourhood(target.box, masks.height, masks.width)
    down, right = masks.covariance(0, rows, rows), masks.covariance(1, columns, columns)
    return down @ inside.double() @ right.T


def judge(
    scores: Scores,
    truth: Tensor,
    where: list[tuple[Tensor, Tensor, Tensor]],
    maps: Tensor,
    key: tuple[str, int],
) -> None:
    """Note every map's correlation with the truth in every region."""
    for saliency, wanted, regions in zip(maps, truth, where, strict=True):
        scores[key].append([correlation(saliency, wanted, region) for region in regions])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--held-out", action="store_true")
    paintings = HELD_OUT if parser.parse_args().held_out else PAINTINGS
    scores: Scores = defaultdict(list)
    fidelity: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
    owners: list[int] = []  # of every score of the surrogate: the row of ("paper", 5000)
    strength: list[float] = []  # mean weight of every target
    n_targets = n_pictures = 0
    for name in DETECTORS:
        detector = cs.load_detector(name)
        for painting in paintings:
            roles = ("truth", "published", "pairs0", "pairs1")
            if not all(path_of(name, painting, role).exists() for role in roles):
                continue
            truth_run, published, *trials = (
                cs.Evidence.load(path_of(name, painting, role)) for role in roles
            )
            targets = targets_of(detector, painting, truth_run.image)
            n_targets, n_pictures = n_targets + len(targets), n_pictures + 1
            truth = truth_run.explain(targets, estimator="centred")
            where = []
            for target in targets:
                inside, ring = boxes.neighbourhood(target.box, truth.height, truth.width)
                where.append((inside, ring, ~(inside | ring)))

            judged = partial(judge, scores, truth.saliency, where)
            masks = truth_run.masks
            judged(torch.stack([box_alone(masks, t) for t in targets]), ("box alone", 0))
            judged(published.explain(targets, estimator="paper").saliency, ("paper", 5000))
            for n in (150, 500, 1000):
                part = published.first(n)
                judged(part.explain(targets, estimator="paper").saliency, ("paper", n))
            for name_of in ("centred", "surrogate"):  # of the published, independent masks
                judged(published.explain(targets, estimator=name_of).saliency, (name_of, 5000))
            strength += truth.mean_weight.tolist()
            for trial in trials:
                for n in BUDGETS:
                    part = trial.first(n)
                    judged(part.explain(targets, estimator="centred").saliency, ("centred", n))
                    result = part.explain(targets)
                    judged(result.saliency, ("surrogate", n))
                    if n == BUDGETS[0]:
                        owners += range(n_targets - len(targets), n_targets)
                    for i, (inside, ring, _) in enumerate(where):
                        measured = correlation(result.saliency[i], truth.saliency[i], inside | ring)
                        if not bool(result.fidelity[i].isnan()):  # too few masks to judge
                            fidelity[n].append(
                                (float(result.fidelity[i]), measured, float(truth.mean_weight[i]))
                            )
            print(f"<!-- {name} {painting}: {len(targets)} targets -->", flush=True)
    print(f"{n_targets} targets, {n_pictures} pictures of a detector and a painting\n")
    print("| estimator | passes | box | ring | beyond | box, mean | ring, mean |")
    print("|---|---|---|---|---|---|---|")
    for (name, n), rows in scores.items():
        middle, mean = np.median(rows, axis=0), np.mean(rows, axis=0)
        print(
            f"| {name} | {n} | {middle[0]:z.3f} | {middle[1]:z.3f} | {middle[2]:z.2f} "
            f"| {mean[0]:z.3f} | {mean[1]:z.3f} |"
        )
    published = np.array(scores["paper", 5000])[:, :2]
    weight_of = np.array(strength)[owners]
    reached = {n: np.array(scores["surrogate", n])[:, :2] >= published[owners] for n in BUDGETS}
    print("\nShare of targets (each with every seed) as near to the truth as paper at 5000:\n")
    print("| mean weight | targets | passes | box | ring | both |\n|---|---|---|---|---|---|")
    for low, high in ((0, 1), (0, 0.08), (0.08, 0.25), (0.25, 1)):
        here = (weight_of >= low) & (weight_of < high)
        for n in BUDGETS:
            box, ring = reached[n][here].mean(axis=0)
            both = reached[n][here].all(axis=1).mean()
            count = int(here.sum()) // 2
            print(f"| {low} to {high} | {count} | {n} | {box:z.2f} | {ring:z.2f} | {both:z.2f} |")
    print("\nMedian over targets and seeds of the first number of passes that reached it:\n")
    firsts = [[], [], []]
    for i in range(len(owners)):
        for k, ok in enumerate((lambda r: r[0], lambda r: r[1], lambda r: r.all())):
            firsts[k].append(next((n for n in BUDGETS if ok(reached[n][i])), np.inf))
    print("box {:g}, ring {:g}, both {:g}".format(*(np.median(values) for values in firsts)))
    print("\n| passes | fidelity said | measured | mean error | bias where mean weight < 0.08 |")
    print("|---|---|---|---|---|")
    for n, rows in fidelity.items():
        said, measured, weight = np.array(rows).T
        weak = weight < 0.08
        bias = (said - measured)[weak].mean() if weak.any() else float("nan")
        print(
            f"| {n} | {said.mean():z.3f} | {measured.mean():z.3f} "
            f"| {np.abs(said - measured).mean():z.3f} | {bias:+z.3f} |"
        )


if __name__ == "__main__":
    main()
