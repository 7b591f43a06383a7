"""Are the stated fidelities true? Detectors that know nothing or answer awkwardly, by brute force.

    python benchmarks/honesty.py [--seeds 6] [--noise-seeds 20] [--estimator surrogate]

Every detector is a function of a white picture under black masks, so it is known what it depends
on. The truth is the covariance of mask and weight over 100,000 independent masks, computed here and
not by an estimator. A claim is the fidelity that the result states; beside it stands the
correlation of its map with the true map over the region that the claim is of: the box and the ring
around it, or the picture where the result says so. Prints tables in Markdown.
"""

import argparse
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import chiaroscuro as cs

HEIGHT, WIDTH = 96, 128
WHITE = torch.ones(3, HEIGHT, WIDTH)
BOX = (40.0, 30.0, 70.0, 64.0)
TRUTH_MASKS = 100_000
MASKS = (100, 200, 500, 1000)

Region = tuple[int, int, int, int]  # x1 y1 x2 y2
Score = Callable[[Tensor], Tensor]  # brightness ``n height width`` to scores ``n``

LEFT_EYE: Region = (44, 36, 52, 42)
RIGHT_EYE: Region = (58, 36, 66, 42)
MOUTH: Region = (50, 54, 60, 60)
CORNER: Region = (104, 4, 124, 20)
FAR: Region = (100, 74, 124, 92)
CELLS = [(x, y, x + 8, y + 6) for y in range(30, 62, 6) for x in range(40, 70, 8)]  # of the box
LEFT_EDGE: Region = (0, 0, 10, 96)
LOWER_EDGE: Region = (0, 88, 128, 96)


def shown(masks: Tensor, region: Region) -> Tensor:
    """Mean brightness of a region, ``n``."""
    x1, y1, x2, y2 = region
    return masks[:, y1:y2, x1:x2].mean(dim=(1, 2))


def all_of(masks: Tensor, *regions: Region) -> Tensor:
    """1 where more than half of every region is shown, else 0."""
    return torch.stack([shown(masks, r) > 0.5 for r in regions]).all(0).float()


def one_of(masks: Tensor, first: Region, second: Region) -> Tensor:
    """1 where more than half of one of two regions is shown and not of the other."""
    return ((shown(masks, first) > 0.5) ^ (shown(masks, second) > 0.5)).float()


def chance(masks: Tensor) -> Tensor:
    """A number in [0, 1) for every picture, unrelated to what it shows."""
    numbers = [zlib.crc32(mask.numpy().tobytes()) for mask in masks]
    return torch.tensor(numbers, dtype=torch.float64).div(2**32).float()


@dataclass(frozen=True)
class Case:
    """A detector; without ``score`` it answers by chance, and its true map is zero."""

    name: str
    score: Score | None
    noise: Score | None = None


SIGNALS = (
    Case("linear, in the box", lambda m: 0.2 + 0.3 * shown(m, LEFT_EYE) + 0.3 * shown(m, MOUTH)),
    Case("AND near: both eyes, mouth", lambda m: 0.9 * all_of(m, LEFT_EYE, RIGHT_EYE, MOUTH)),
    Case("AND far: an eye, a far place", lambda m: 0.9 * all_of(m, LEFT_EYE, FAR)),
    Case("AND of two far places", lambda m: 0.9 * all_of(m, CORNER, FAR)),
    Case("XOR of the eyes", lambda m: 0.1 + 0.8 * one_of(m, LEFT_EYE, RIGHT_EYE)),
    Case("rare: eight cells, 1 in 280", lambda m: 0.9 * all_of(m, *CELLS[:8])),
    Case("rare: nine cells, 1 in 490", lambda m: 0.9 * all_of(m, *CELLS[:9])),
    Case("weak signal in noise", lambda m: 0.1 * shown(m, LEFT_EYE) + 0.9 * chance(m)),
    Case("strong signal in noise", lambda m: 0.5 * shown(m, LEFT_EYE) + 0.5 * chance(m)),
    Case(
        "edges of the picture",
        lambda m: 0.4 + 0.5 * shown(m, LEFT_EDGE) - 0.3 * shown(m, LOWER_EDGE),
    ),
    Case("far away, linear", lambda m: 0.2 + 0.4 * shown(m, FAR) + 0.3 * shown(m, CORNER)),
    Case("far away, a sixth near", lambda m: 0.2 + 0.5 * shown(m, FAR) + 0.1 * shown(m, LEFT_EYE)),
)
NOISES = (
    Case("constant", None, lambda m: torch.full((len(m),), 0.5)),
    Case("score at random", None, chance),
    Case("score at random, skewed", None, lambda m: chance(m) ** 6),
    Case("coin, 1 in 10", None, lambda m: 0.8 * (chance(m) < 1 / 10)),
    Case("coin, 1 in 50", None, lambda m: 0.8 * (chance(m) < 1 / 50)),
    Case("coin, 1 in 500", None, lambda m: 0.8 * (chance(m) < 1 / 500)),
    Case("late: only from mask 600 on", None, None),
)


def detector_of(case: Case) -> cs.Detector:
    """Reports the box; a score of 0 is nothing."""
    seen = 0

    def detect(images: Tensor) -> list[list[list[float]]]:
        nonlocal seen
        masks, seen = images.mean(dim=1), seen + len(images)
        score = case.score or case.noise
        scores = score(masks) if score else 0.8 * (torch.arange(seen - len(masks), seen) >= 600)
        return [[[*BOX, float(s)]] if s > 0 else [] for s in scores]

    return cs.load_detector(detect, name=case.name)


def true_map(score: Score) -> Tensor:
    masks = cs.Masks(cs.MaskDesign(antithetic=False), HEIGHT, WIDTH, seed=987_654)
    products = torch.zeros(HEIGHT, WIDTH, dtype=torch.float64)
    total = torch.zeros(HEIGHT, WIDTH, dtype=torch.float64)
    weights = 0.0
    for start in range(0, TRUTH_MASKS, 2000):
        m = masks.render(start, start + 2000)
        w = score(m)
        products += torch.einsum("n,nyx->yx", w, m).double()
        total += m.sum(0).double()
        weights += float(w.double().sum())
    return products / TRUTH_MASKS - total / TRUTH_MASKS * weights / TRUTH_MASKS


def correlation(first: Tensor, second: Tensor, where: Tensor) -> float:
    a, b = first[where].double().numpy(), second[where].double().numpy()
    return 0.0 if a.std() < 1e-12 or b.std() < 1e-12 else float(np.corrcoef(a, b)[0, 1])


def claims(case: Case, seed: int, estimator: str) -> list[tuple[int, cs.Explanation]]:
    evidence = cs.observe(WHITE, detector_of(case), n_passes=max(MASKS), seed=seed)
    return [(n, evidence.first(n).explain([BOX], estimator=estimator)) for n in MASKS]


def of_signals(seeds: int, estimator: str) -> list[tuple[float, float]]:
    """Print claims against truth; returns every claim with its truth."""
    inside, ring = cs.boxes.neighbourhood(torch.tensor(BOX), HEIGHT, WIDTH)
    everywhere = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    heads = " | ".join(f"{n}: claimed, true" for n in MASKS)
    print(f"| detector | {heads} | region at {MASKS[-1]} |\n|{'---|' * (len(MASKS) + 2)}")
    pairs = []
    for case in SIGNALS:
        truth = true_map(case.score)
        cells: dict[int, list[tuple[float, float]]] = {n: [] for n in MASKS}
        far = False
        for seed in range(seeds):
            for n, result in claims(case, seed, estimator):
                far = any("outside the neighbourhood" in note for note in result.notes)
                where = everywhere if far else inside | ring
                said = float(result.fidelity[0])
                cells[n].append((said, correlation(result.saliency[0], truth, where)))
        pairs += [pair for n in MASKS for pair in cells[n] if not math.isnan(pair[0])]
        shown_cells = []
        for n in MASKS:
            said = [s for s, _ in cells[n] if not math.isnan(s)]
            true = np.mean([t for _, t in cells[n]])
            shown_cells.append(f"{np.mean(said):.2f}, {true:.2f}" if said else f"none, {true:.2f}")
        print(f"| {case.name} | {' | '.join(shown_cells)} | {'picture' if far else 'near'} |")
    return pairs


def of_noises(seeds: int, estimator: str) -> None:
    print(f"\n| detector | {' | '.join(f'{n}: mean, highest' for n in MASKS)} | supported |")
    print(f"|{'---|' * (len(MASKS) + 2)}")
    everything = []
    for case in NOISES:
        said: dict[int, list[float]] = {n: [] for n in MASKS}
        supported = 0.0
        for seed in range(seeds):
            for n, result in claims(case, seed, estimator):
                value = float(result.fidelity[0])
                said[n].append(0.0 if math.isnan(value) else value)
                stands_out = result.saliency.abs() > 2 * result.standard_error
                supported = max(supported, float(stands_out.float().mean()))
        everything += [value for n in MASKS for value in said[n]]
        cells = " | ".join(f"{np.mean(said[n]):.2f}, {max(said[n]):.2f}" for n in MASKS)
        print(f"| {case.name} | {cells} | {supported:.1%} |", flush=True)
    print(f"\nOver all noise: mean {np.mean(everything):.3f}, highest {max(everything):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--noise-seeds", type=int, default=20)
    parser.add_argument("--estimator", default="surrogate")
    options = parser.parse_args()
    pairs = of_signals(options.seeds, options.estimator)
    above = [said - true for said, true in pairs]
    confident = [true for said, true in pairs if said > 0.9]
    print(f"\nClaimed less true: mean {np.mean(above):+.3f}, highest {max(above):+.2f}")
    print(f"Claims above .9: {len(confident)}, lowest truth {min(confident, default=1):.2f}")
    of_noises(options.noise_seeds, options.estimator)
