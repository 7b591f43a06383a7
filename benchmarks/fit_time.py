"""Time to explain targets from evidence that is there: ``python benchmarks/fit_time.py``.

On a sample painting with CenterFace; seconds by number of targets and masks, and the time of one
detector pass beside them.
"""

import statistics
import time
from collections.abc import Callable

import torch

import chiaroscuro as cs
from chiaroscuro.data.samples import sample_painting


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    image = sample_painting(437455).read()
    detector = cs.load_detector("centerface")
    found = detector.detect(image[None])[0].best(10)
    targets = torch.cat([found.boxes, found.boxes + 3])[:10]
    evidence = cs.observe(image, detector, n_passes=1000)
    print(f"one detector pass: {seconds(lambda: detector.detect(image[None]), 9):z.3f} s")
    for n_targets, n_masks in ((1, 150), (1, 500), (10, 150), (10, 500), (10, 1000)):
        taken = seconds(  # of new evidence: it remembers what it explained last
            lambda m=n_masks, n=n_targets: evidence.first(m).explain(targets[:n])
        )
        print(f"{n_targets} targets, {n_masks} masks: {taken:z.2f} s")


if __name__ == "__main__":
    main()
