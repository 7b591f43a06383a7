"""What insertion and deletion cost beside the detector's own passes, in time and memory.

    python benchmarks/curves_overhead.py

CenterFace, a picture of 640 x 640, two threads: four targets with five maps each, so 760 passes;
then as many bare passes over ready batches of the same size, in turns. Memory: the highest resident
size above that of bare passes, in processes of their own, for 19 and for 950 steps a map.
"""

import subprocess
import sys
import time
from pathlib import Path

import torch

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.evidence.passes import default_batch_size
from chiaroscuro.metrics.protocols import PROTOCOLS, Protocol

SIDE, TURNS = 640, 2


def setting() -> tuple[torch.Tensor, cs.Detector, list, list]:
    image = sample_painting(436838).read(max_side=SIDE)
    image = torch.nn.functional.interpolate(image[None].float(), (SIDE, SIDE))[0].round().byte()
    detector = cs.load_detector("centerface")
    found = detector.detect(image[None])[0].best(4)
    targets = [box.tolist() for box in found.boxes for _ in range(5)]
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(SIDE, SIDE, generator=generator) for _ in targets]
    return image, detector, targets, maps


def bare(detector: cs.Detector, image: torch.Tensor, n: int) -> None:
    size = default_batch_size(SIDE, SIDE, torch.device("cpu"))
    batch = (image.float() / 255).expand(size, -1, -1, -1).contiguous()
    for start in range(0, n, size):
        detector.detect(batch[: min(size, n - start)])


def finer(steps: int) -> Protocol:
    ours = PROTOCOLS["chiaroscuro"]
    return Protocol(
        name="finer",
        insertion=ours.insertion,
        deletion=ours.deletion,
        shares=tuple(i / (steps - 1) for i in range(steps)),
    )


def peak_mb(what: str) -> float:
    run = subprocess.run([sys.executable, __file__, what], capture_output=True, check=True)
    return float(run.stdout.split()[-1])


def main() -> None:
    if len(sys.argv) > 1:  # a process of its own, for its memory
        image, detector, targets, maps = setting()
        if sys.argv[1] == "bare":
            bare(detector, image, 60)
        else:
            protocol = finer(int(sys.argv[1]))
            metrics.curves(image, detector, targets[:2], maps[:2], "deletion", protocol)
        with Path("/proc/self/status").open() as status:
            print(next(int(line.split()[1]) / 1024 for line in status if "VmHWM" in line))
        return
    torch.set_num_threads(2)
    image, detector, targets, maps = setting()
    bare(detector, image, 20)
    points = len(PROTOCOLS["chiaroscuro"].shares)
    for _ in range(TURNS):
        began = time.perf_counter()
        for direction in metrics.DIRECTIONS:
            metrics.curves(image, detector, targets, maps, direction)
        whole = time.perf_counter() - began
        began = time.perf_counter()
        bare(detector, image, 2 * points * len(targets))
        alone = time.perf_counter() - began
        print(f"{2 * points * len(targets)} passes, whole / bare {whole / alone:z.3f}", flush=True)
    base = peak_mb("bare")
    for steps in ("19", "950"):
        print(f"{steps} steps a map: {peak_mb(steps) - base:z.0f} MB above bare passes")


if __name__ == "__main__":
    main()
