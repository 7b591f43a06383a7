"""Long runs: the evidence of many masks, the truth that estimators are measured against.

    python benchmarks/long_runs.py [--paintings 436838 ...] [--detectors centerface retinaface]

Writes ``benchmarks/runs/<detector>-<painting>-<role>.npz`` (not in git) for two roles: ``truth``,
the reference, and ``trial``, other masks, of which estimators get the first few. Resumes.
"""

import argparse
import time
from pathlib import Path

import chiaroscuro as cs
from chiaroscuro.data.samples import sample_painting

RUNS = Path(__file__).parent / "runs"
MAX_SIDE = 416
PAINTINGS = (436838, 437455, 436839, 435844, 439933, 435817)
DETECTORS = ("centerface", "retinaface")
ROLES = {"truth": (1000, 12_000), "trial": (0, 5_000)}  # seed, masks
STEP = 500


def path_of(detector: str, painting: int, role: str) -> Path:
    return RUNS / f"{detector}-{painting}-{role}.npz"


def run(detector_name: str, painting: int, role: str) -> None:
    path = path_of(detector_name, painting, role)
    seed, n_masks = ROLES[role]
    evidence = cs.Evidence.load(path) if path.exists() else None
    if evidence is not None and evidence.n_masks >= n_masks:
        return
    detector = cs.load_detector(detector_name)
    image = sample_painting(painting).read(max_side=MAX_SIDE)
    began = time.perf_counter()
    done = evidence.n_masks if evidence else 0
    while done < n_masks:
        done = min(n_masks, done + STEP)
        evidence = cs.observe(image, detector, n_masks=done, seed=seed, resume=evidence)
        if done % 2500 == 0 or done == n_masks:
            evidence.save(path)
            print(path.name, done, f"{time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paintings", type=int, nargs="+", default=PAINTINGS)
    parser.add_argument("--detectors", nargs="+", default=DETECTORS)
    options = parser.parse_args()
    for detector_name in options.detectors:
        for painting in options.paintings:
            for role in ROLES:
                run(detector_name, painting, role)
