"""What a study of the sample paintings takes: full passes, windows, windows and close-ups.

    python benchmarks/study_cost.py [--detector retinaface] [--pictures 20] [--max-side 640]

Every target of every picture is explained until fidelity 0.9, as ``study`` does: found faces, false
positives and missed faces. Prints the cost in full passes, the time, and the medians over targets
of the fidelity, once for each way, one after the other in one run.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import chiaroscuro as cs
from chiaroscuro.core.plan import Plan, Reading, StudySettings
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.samples import MET_FACES
from chiaroscuro.studies.run import Run, study
from chiaroscuro.studies.summary import summarise

WAYS = {
    "full passes": Plan(windows=False),
    "windows": Plan(),
    "windows and close-ups": Plan(closeup=True),
}


def targets_of(run: Run) -> list[tuple[float, float | None, float]]:
    """Fidelity of map and close-up, and mean weight, of every target."""
    return [
        (target.fidelity or 0.0, target.closeup and target.closeup.fidelity, target.mean_weight)
        for picture in run.pictures()
        for target in picture.manifest.targets
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", default="retinaface")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--max-side", type=int, default=640)
    given = parser.parse_args()
    whole = open_data_set(MET_FACES)
    data = replace(whole, entries=whole.entries[: given.pictures])
    detector = cs.load_detector(given.detector)
    print("| way | cost, full passes | time, of full passes | targets | fidelity | close-up |")
    print("|---|---|---|---|---|---|")
    first = None
    for name, plan in WAYS.items():
        settings = StudySettings(plan=plan, reading=Reading(max_side=given.max_side))
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            run = study(data, detector, Path(folder) / "run", settings)
            seconds = time.perf_counter() - began
            first = first or seconds
            figures, rows = summarise(run).figures, targets_of(run)
        close = [row[1] for row in rows if row[1] is not None]
        print(
            f"| {name} | {figures['cost']} | {seconds / first:.2f} | {len(rows)} "
            f"| {np.median([row[0] for row in rows]):.3f} "
            f"| {f'{np.median(close):.3f}' if close else ''} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
