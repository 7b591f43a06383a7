"""What a map costs in windows: in full passes, at the truth of the published estimator at 5000.

    python benchmarks/windows.py [--detectors retinaface centerface] [--paintings 436838 ...]

For every painting a long run of independent masks is the truth, and another gives the published
map at its published number of passes. Then every target is explained alone, in windows and by full
passes, with growing numbers of masks: the cost at which box and ring are both as near to the truth
as the published map is what counts, and that at which both correlate with the truth at most 0.01
less. All runs are kept in ``benchmarks/runs`` (not in git), and continued where they were stopped.
``--max-side`` sets the size of the pictures.

Prints a line per target, then tables in Markdown; and how many of all windows that were used
correlate below 0.95 with full passes under 1000 masks.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.records import Target, as_targets
from chiaroscuro.data.samples import sample_painting

RUNS = Path(__file__).parent / "runs"
PAINTINGS = (436838, 437455, 436603, 435817, 626692, 436622, 437609, 459052, 435844, 436573)
LOWEST_SCORE, MOST_TARGETS = 0.12, 4  # of the targets, strong and weak ones of every painting
MASKS = (100, 150, 200, 300, 400, 600, 800, 1000, 1500, 2000, 3000)
TRUTH, PUBLISHED, CENSUS = 5000, 5000, 1000
STEP, NEAR = 500, 0.01


@dataclass
class Row:
    """One target: what its map costs."""

    detector: str
    painting: int
    score: float
    box: float
    weight: float
    share: float  # of the picture: the window's
    correlation: float  # of the weights, window against full, under 1000 masks; NaN without
    looks: int  # full passes of the certificate
    windows: float  # cost at which the map is as true as the published one
    full: float
    windows_near: float  # within NEAR of that
    full_near: float
    window_seconds: float  # of a pass in the window over that of a full one


def long_run(name: str, painting: int, side: int, role: str, seed: int, n: int) -> cs.Evidence:
    """A run of independent masks, made in steps and kept."""
    path = RUNS / f"{name}-{painting}-{side}-{role}.npz"
    evidence = cs.Evidence.load(path) if path.exists() else None
    detector, image = cs.load_detector(name), sample_painting(painting).read(max_side=side)
    design = cs.MaskDesign(antithetic=False)
    while evidence is None or evidence.n_masks < n:
        done = STEP + (0 if evidence is None else evidence.n_masks)
        evidence = cs.observe(
            image, detector, n_passes=done, seed=seed, design=design, resume=evidence
        )
        evidence.save(path)
    return evidence


def some_targets(detector: cs.Detector, image: torch.Tensor) -> tuple[Target, ...]:
    """Strong and weak detections, evenly by rank."""
    found = detector.detect(image[None])[0].above(LOWEST_SCORE)
    ranks = np.linspace(0, len(found) - 1, min(len(found), MOST_TARGETS)).round().astype(int)
    return as_targets(found[torch.tensor(sorted(set(ranks.tolist())), dtype=torch.int64)])


def truth_of(maps: torch.Tensor, truth: torch.Tensor, target: Target) -> tuple[float, float]:
    """Correlation with the truth in the box and in the ring."""
    regions = boxes.neighbourhood(target.box, *truth.shape)
    return tuple(float(np.corrcoef(maps[where], truth[where])[0, 1]) for where in regions)


def kept(name: str, make: Callable[[], cs.Evidence]) -> cs.Evidence:
    """A run from its file, else made and kept."""
    path = RUNS / f"{name}.npz"
    if not path.exists():
        make().save(path)
    return cs.Evidence.load(path)


def costs_of_truth(
    evidence: cs.Evidence, target: Target, truth: torch.Tensor, wanted: tuple[float, float]
) -> tuple[float, float]:
    """Cost of the first masks whose map is as true as wanted, and nearly; infinite if none is."""
    near = math.inf
    for n in MASKS:
        part = evidence.first(n)
        reached = truth_of(part.explain([target]).saliency[0], truth, target)
        less = max(b - a for a, b in zip(reached, wanted, strict=True))
        if less <= NEAR:
            near = min(near, part.cost)
        if less <= 0:
            return part.cost, near
    return math.inf, near


def seconds_a_pass(detector: cs.Detector, image: torch.Tensor) -> float:
    batch = image[None].float().div(255).repeat(4, 1, 1, 1)
    times = []
    for _ in range(5):
        began = time.process_time()
        detector.detect(batch)
        times.append(time.process_time() - began)
    return float(np.median(times)) / len(batch)


def measure(name: str, painting: int, side: int) -> list[Row]:
    """Every target of one painting."""
    truth_run = long_run(name, painting, side, "truth", 1000, TRUTH)
    published = long_run(name, painting, side, "published", 0, PUBLISHED)
    detector, image = cs.load_detector(name), truth_run.image
    targets = some_targets(detector, image)
    truth = truth_run.explain(targets, estimator="centred")
    paper = published.explain(targets, estimator="paper")
    stem, how = f"{name}-{painting}-{side}", {"n_passes": MASKS[-1], "seed": 7}
    full = kept(
        f"{stem}-full",
        lambda: cs.observe(image, detector, targets=targets, windows=False, **how),
    )
    rows = []
    for i, target in enumerate(targets):
        wanted = truth_of(paper.saliency[i], truth.saliency[i], target)
        seen = kept(
            f"{stem}-windows-{i}",
            lambda target=target: cs.observe(image, detector, targets=[target], **how),
        )
        part, certificate = seen.part_for(target)
        correlation, speed = math.nan, 1.0
        if certificate is not None:
            pair = [one.first(CENSUS).weights([target])[0] for one in (full, part)]
            correlation = float(np.corrcoef(*pair)[0, 1])
            speed = seconds_a_pass(detector, part.window.of(image).contiguous())
            speed /= seconds_a_pass(detector, image)
        windows = costs_of_truth(seen, target, truth.saliency[i], wanted)
        of_full = costs_of_truth(full, target, truth.saliency[i], wanted)
        rows.append(
            Row(
                detector=name,
                painting=painting,
                score=float(target.score or 0),
                box=float(boxes.area(target.box).sqrt()),
                weight=float(truth.mean_weight[i]),
                share=part.window.area / math.prod(image.shape[1:]),
                correlation=correlation,
                looks=0 if certificate is None else certificate.n_masks,
                windows=windows[0],
                full=of_full[0],
                windows_near=windows[1],
                full_near=of_full[1],
                window_seconds=speed,
            )
        )
        row = rows[-1]
        print(
            f"| {name} {painting} | {row.score:.2f} | {row.box:.0f} | {row.weight:.3f} "
            f"| {wanted[0]:.3f}/{wanted[1]:.3f} | {row.share:.2f} | {row.correlation:.4f} "
            f"| {row.looks} | {row.windows:.0f} | {row.full:.0f} | {row.windows_near:.0f} "
            f"| {row.full_near:.0f} | {row.window_seconds:.2f} |",
            flush=True,
        )
    return rows


def median(values: list[float]) -> str:
    """Infinite values count as the largest."""
    return f"{np.median(values):.0f}" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detectors", nargs="+", default=["retinaface", "centerface"])
    parser.add_argument("--paintings", type=int, nargs="+", default=PAINTINGS)
    parser.add_argument("--max-side", type=int, default=640)
    given = parser.parse_args()
    RUNS.mkdir(exist_ok=True)
    print(
        "| target | score | box, px | mean weight | published, box/ring | window's share ", end=""
    )
    print("| weights' correlation | full passes | cost in windows | in full ", end="")
    print("| nearly: in windows | in full | time |\n|" + "---|" * 13)
    rows = [
        row
        for painting in given.paintings
        for name in given.detectors
        for row in measure(name, painting, given.max_side)
    ]
    print("\n| mean weight | targets | in windows | median cost | of full passes ", end="")
    print("| nearly: median cost | of full passes |\n|" + "---|" * 7)
    for low, high in ((0, 1), (0, 0.08), (0.08, 0.25), (0.25, 1)):
        here = [row for row in rows if low <= row.weight < high]
        used = sum(not math.isnan(row.correlation) for row in here)
        print(
            f"| {low} to {high} | {len(here)} | {used} | {median([r.windows for r in here])} "
            f"| {median([r.full for r in here])} | {median([r.windows_near for r in here])} "
            f"| {median([r.full_near for r in here])} |"
        )
    used = [row.correlation for row in rows if not math.isnan(row.correlation)]
    low = sum(one < 0.95 for one in used)
    print(f"\n{len(used)} windows used; {low} correlate below 0.95 with full passes")


if __name__ == "__main__":
    main()
