"""Long runs: the evidence that estimators are measured with and against.

    python benchmarks/long_runs.py [--paintings 436838 ...] [--detectors centerface retinaface]

Writes ``benchmarks/runs/<detector>-<painting>-<role>.npz`` (not in git). Roles: ``truth``, many
independent masks, the reference; ``published``, 5000 independent masks, for the published estimator
at its published number; ``pairs0`` and ``pairs1``, antithetic masks, our default. Resumes where it
was stopped.
"""

import argparse
import time
from pathlib import Path

import chiaroscuro as cs
from chiaroscuro.data.samples import sample_painting

RUNS = Path(__file__).parent / "runs"
MAX_SIDE = 416
TRIED_ON = (436838, 437455, 436839, 435844, 439933, 435817)  # choices were made on these
HELD_OUT = (436603, 437397, 437869, 437971)  # and checked on these
PAINTINGS = TRIED_ON + HELD_OUT
DETECTORS = ("centerface", "retinaface")
ROLES = {  # seed, masks, antithetic
    "truth": (1000, 12_000, False),
    "published": (0, 5_000, False),
    "pairs0": (5000, 1000, True),
    "pairs1": (5001, 1000, True),
}
STEP = 500


def path_of(detector: str, painting: int, role: str) -> Path:
    return RUNS / f"{detector}-{painting}-{role}.npz"


def run(detector_name: str, painting: int, role: str) -> None:
    path = path_of(detector_name, painting, role)
    seed, n_masks, antithetic = ROLES[role]
    evidence = cs.Evidence.load(path) if path.exists() else None
    if evidence is not None and evidence.n_masks >= n_masks:
        return
    detector = cs.load_detector(detector_name)
    image = sample_painting(painting).read(max_side=MAX_SIDE)
    design = cs.MaskDesign(antithetic=antithetic)
    began = time.perf_counter()
    done = evidence.n_masks if evidence else 0
    while done < n_masks:
        done = min(n_masks, done + STEP)
        evidence = cs.observe(
            image, detector, n_passes=done, seed=seed, design=design, resume=evidence
        )
        if done % 2500 == 0 or done == n_masks:
            evidence.save(path)
            print(path.name, done, f"{time.perf_counter() - began:z.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paintings", type=int, nargs="+", default=PAINTINGS)
    parser.add_argument("--detectors", nargs="+", default=DETECTORS)
    options = parser.parse_args()
    for role in ROLES:
        for detector_name in options.detectors:
            for painting in options.paintings:
                run(detector_name, painting, role)
