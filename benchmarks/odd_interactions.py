"""Whether interactions of three mask cells improve the surrogate's map.

    python benchmarks/odd_interactions.py [--runs retinaface-436838-640 ...]

Antithetic pairs cancel interactions of even order; those of odd order stay in the weights. Here a
Gaussian process of the weights' half differences has a linear kernel, as the surrogate has, or that
and its cube, whichever shares have the highest marginal likelihood. The map is the covariance of
mask and predicted weight over 12,000 fresh masks, which need no detector. Uses the runs that
``benchmarks/windows.py`` keeps. Prints per number of masks the share of the cube, the gain in log
marginal likelihood, and the correlation with the truth in box and ring of both maps and of the
surrogate's.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.masks import Masks
from chiaroscuro.core.records import Target, as_targets

RUNS = Path(__file__).parent / "runs"
NUMBERS, FRESH = (150, 300, 600, 1500, 3000), 12_000
WIDTHS, LENGTHS, FLOOR = (0.4, 0.8, 1.5), (0.25, 0.5), 0.03  # of the prior, in box sizes
CUBES, NOISES = (0.0, 0.1, 0.3, 1.0, 3.0), (0.01, 0.03, 0.1, 0.3, 1.0)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A model: its log marginal likelihood, prior, scale, share of the cube, and coefficients."""

    likelihood: float
    prior: Array
    scale: float
    cube: float
    coefficients: Array


def features(masks: Masks, stop: int, rows: torch.Tensor, columns: torch.Tensor) -> Array:
    """Masks on a lattice, centred: ``stop points``."""
    parts = [
        masks.sample(start, min(stop, start + 500), rows, columns).flatten(1).double().numpy()
        for start in range(0, stop, 500)
    ]
    return np.concatenate(parts) - 0.5


def best_of(x: Array, y: Array, priors: list[Array], cubes: tuple[float, ...]) -> Fitted:
    """The model of highest marginal likelihood, its scale profiled out."""
    found: list[Fitted] = []
    for prior in priors:
        linear = x @ prior @ x.T
        scale = float(np.diag(linear).mean())
        linear /= scale
        for cube in cubes:
            for noise in NOISES:
                kernel = linear + cube * linear**3 + noise * np.eye(len(y))
                lower = np.linalg.cholesky(kernel)
                coefficients = np.linalg.solve(lower.T, np.linalg.solve(lower, y))
                power = float(y @ coefficients) / len(y)
                likelihood = -0.5 * len(y) * np.log(power) - np.log(np.diag(lower)).sum()
                found.append(Fitted(float(likelihood), prior, scale, cube, coefficients))
    return max(found, key=lambda one: one.likelihood)


def priors_of(target: Target, points: Array) -> list[Array]:
    """Covariances of the evidence at points: strongest near the box, and smooth."""
    x1, y1, x2, y2 = target.box.tolist()
    size = float(boxes.area(target.box).sqrt())
    dx = np.maximum(0, np.maximum(x1 - points[:, 0], points[:, 0] - x2))
    dy = np.maximum(0, np.maximum(y1 - points[:, 1], points[:, 1] - y2))
    away, apart = np.hypot(dx, dy) / size, ((points[:, None] - points[None]) ** 2).sum(-1) / size**2
    envelopes = [FLOOR + (1 - FLOOR) * np.exp(-(away**2) / (2 * width**2)) for width in WIDTHS]
    return [
        one[:, None] * one[None] * np.exp(-apart / (2 * length**2))
        for one in envelopes
        for length in LENGTHS
    ]


def measure(name: str, number: int) -> None:
    """One target of one painting."""
    truth_run = cs.Evidence.load(RUNS / f"{name}-truth.npz")
    seen = cs.Evidence.load(RUNS / f"{name}-windows-{number}.npz")
    part = seen.windows[0] if seen.windows else seen
    (target,) = as_targets([part.kept_for[0][0]])
    truth = truth_run.explain([target], estimator="centred").saliency[0].numpy()
    weights = part.weights([target])[0].double().numpy()
    step = max(4, int(float(boxes.area(target.box).sqrt()) / 8))
    rows, columns = part.window.rows[step // 2 :: step], part.window.columns[step // 2 :: step]
    down, across = (one.ravel() for one in np.meshgrid(rows, columns, indexing="ij"))
    priors = priors_of(target, np.stack([across, down], axis=1).astype(np.float64))
    observed = features(part.masks, len(weights), rows, columns)
    fresh = features(
        Masks(part.design, part.masks.height, part.masks.width, 99), FRESH, rows, columns
    )
    regions = [one.numpy()[down, across] for one in boxes.neighbourhood(target.box, *truth.shape)]

    def alike(values: Array) -> str:
        there = truth[down, across]
        return "/".join(f"{np.corrcoef(values[one], there[one])[0, 1]:.4f}" for one in regions)

    for n in (n for n in NUMBERS if n <= len(weights)):
        x = (observed[0:n:2] - observed[1:n:2]) / 2
        y = (weights[0:n:2] - weights[1:n:2]) / 2
        pair = [best_of(x, y, priors, cubes) for cubes in (CUBES[:1], CUBES)]
        maps = []
        for one in pair:
            like = fresh @ one.prior @ x.T / one.scale
            predicted = like @ one.coefficients + one.cube * (like**3) @ one.coefficients
            maps.append(alike((fresh * predicted[:, None]).mean(axis=0)))
        ours = seen.first(n).explain([target]).saliency[0].double().numpy()[down, across]
        print(
            f"| {name}, {number} | {n} | {pair[1].cube:g} "
            f"| {pair[1].likelihood - pair[0].likelihood:.1f} | {maps[0]} | {maps[1]} "
            f"| {alike(ours)} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found = [path.name.removesuffix("-full.npz") for path in sorted(RUNS.glob("*-full.npz"))]
    parser.add_argument("--runs", nargs="+", default=found)
    print("| target | masks | cube | gain | linear, box/ring | with the cube | surrogate |")
    print("|" + "---|" * 7)
    for name in parser.parse_args().runs:
        for number in range(len(list(RUNS.glob(f"{name}-windows-*.npz")))):
            measure(name, number)


if __name__ == "__main__":
    main()
