"""How much of a study's time is its detector's, on the sample set at the default fidelity.

    python benchmarks/study_overhead.py [centerface retinaface]

Studies met-faces into benchmarks/runs/study/<detector>/ (a fresh folder), two threads, and times
every detector call within the run: the ratio is the whole run's time to the sum of those. Then the
report and tables. Memory: the highest resident size after ten pictures and at the end.
"""

import shutil
import sys
import time
from pathlib import Path

import torch

import chiaroscuro as cs
from chiaroscuro.core.plan import DetectorChoice, StudySettings
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.report.study import write_study_report
from chiaroscuro.studies.export import export
from chiaroscuro.studies.run import study
from chiaroscuro.studies.summary import summarise

RUNS = Path(__file__).parent / "runs" / "study"


class Timed:
    """A detector that adds up the time spent in it."""

    def __init__(self, detector: cs.Detector) -> None:
        self._detector, self.info = detector, detector.info
        self.seconds = 0.0
        self.pictures = 0

    def detect(self, images: torch.Tensor) -> list[cs.Proposals]:
        began = time.perf_counter()
        found = list(self._detector.detect(images))
        self.seconds += time.perf_counter() - began
        self.pictures += len(images)
        return found


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if "VmHWM" in line)


def main() -> None:
    torch.set_num_threads(2)
    data = open_data_set("met-faces")
    for name in sys.argv[1:] or ("centerface", "retinaface"):
        detector = Timed(cs.load_detector(name))
        folder = RUNS / name
        memory: dict[int, float] = {}
        shutil.rmtree(folder, ignore_errors=True)
        settings = StudySettings(choice=DetectorChoice(detector=name))

        def note(progress: cs.Progress, memory: dict[int, float] = memory) -> None:
            if progress.within is None and progress.done in (10, len(data.entries)):
                memory[progress.done] = peak_mb()

        began = time.perf_counter()
        run = study(data, detector, folder, settings, progress=note)
        wall = time.perf_counter() - began
        began = time.perf_counter()
        summary = summarise(run)
        export(run, summary)
        write_study_report(run, summary, folder / "report.html")
        written = time.perf_counter() - began
        passes = summary.figures["n_passes"]
        print(
            f"{name}: {passes} passes, {len(summary.targets)} targets in "
            f"{summary.figures['pictures']} pictures; "
            f"run / detector {wall / detector.seconds:z.3f}; "
            f"tables and report {written / detector.seconds:z.3f} more; peak memory "
            + ", ".join(f"{value:z.0f} MB at picture {done}" for done, value in memory.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
