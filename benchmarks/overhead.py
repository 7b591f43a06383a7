"""What everything around the detector costs: whole run against bare detector passes.

    python benchmarks/overhead.py [--masks 1000] [--size 640] [--many 500 50000]

Prints the time of ``observe`` and ``explain`` over the time spent in the detector in that very run,
since a shared machine changes its pace within a minute; the passes of a run over bare ones, batch
for batch in turns; and what memory the whole run needs above the bare passes.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import chiaroscuro as cs
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.evidence.passes import default_batch_size

DETECTOR = "centerface"


def picture(size: int) -> torch.Tensor:
    """A sample painting, scaled and cut to a square of that side."""
    image = sample_painting(435844).read().float()[None]
    scale = size / min(image.shape[2:])
    image = torch.nn.functional.interpolate(image, scale_factor=scale * 1.01, mode="bilinear")
    return image[0, :, :size, :size].round().to(torch.uint8)


def bare(detector: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    size = default_batch_size(*image.shape[1:], torch.device("cpu"))
    batch = (image.float() / 255).expand(size, -1, -1, -1).contiguous()
    for start in range(0, n_masks, size):
        detector.detect(batch[: min(size, n_masks - start)])


def whole(detector: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    targets = detector.detect(image[None])[0].above(0.3)
    cs.observe(image, detector, n_passes=n_masks).explain(targets)


class Timed:
    """A detector that adds up the seconds spent in it."""

    def __init__(self, detector: cs.Detector) -> None:
        self.detector, self.info, self.seconds = detector, detector.info, 0.0

    def detect(self, images: torch.Tensor) -> list[cs.Proposals]:
        began = time.perf_counter()
        found = self.detector.detect(images)
        self.seconds += time.perf_counter() - began
        return found


def time_ratio(detector: cs.Detector, image: torch.Tensor, n_masks: int) -> tuple[float, float]:
    """Whole run over the passes in it; and those passes over bare ones, batch for batch.

    Both in one run, since a shared machine changes its pace within a minute.
    """
    timed = Timed(detector)
    began = time.perf_counter()
    whole(timed, image, n_masks)
    ratio = (time.perf_counter() - began) / timed.seconds
    pairs = []
    for _ in range(10):
        began = time.perf_counter()
        bare(detector, image, 20)
        pairs.append(time.perf_counter() - began)
        timed.seconds = 0.0
        cs.observe(image, timed, n_passes=20)
        pairs[-1] = timed.seconds / pairs[-1]
    return ratio, statistics.median(pairs)


def cheap(images: torch.Tensor) -> list[torch.Tensor]:
    """Ten boxes at next to no cost, for runs of very many masks."""
    corner = torch.arange(10.0)[:, None] * 40
    boxes = torch.cat([corner, corner, corner + 80, corner + 80], dim=1)
    scores = images[:, :, ::64, ::64].mean(dim=(1, 2, 3))
    return [torch.cat([boxes, score.expand(10, 1)], dim=1) for score in scores]


def cheap_bare(_: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    bare(cs.load_detector(cheap), image, min(n_masks, 100))


def cheap_whole(_: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    cs.observe(image, cheap, n_passes=n_masks).explain([[40, 40, 120, 120], [200, 200, 280, 280]])


Run = Callable[[cs.Detector, torch.Tensor, int], None]


def peak_mb(run: Run, n_masks: int, size: int) -> float:
    """Peak memory of a fresh process that does nothing but that run."""
    home = Path(run.__code__.co_filename)
    code = (
        f"import sys; sys.path.insert(0, {str(home.parent)!r})\n"
        f"import overhead as o, {home.stem} as m\n"
        f"m.{run.__name__}(o.cs.load_detector(o.DETECTOR), o.picture({size}), {n_masks})\n"
        "o.print_peak()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_peak() -> None:
    """Peak memory of this process in MB; ``ru_maxrss`` would count the parent's too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--many", type=int, nargs="*", default=[500, 5000, 50_000])
    options = parser.parse_args()
    detector, image = cs.load_detector(DETECTOR), picture(options.size)
    ratio, inside = time_ratio(detector, image, options.masks)
    print(f"{options.masks} masks of {options.size}x{options.size}:")
    print(f"whole run / the passes in it {ratio:z.3f}; those passes / bare ones {inside:z.3f}")
    for n_masks in (50, 500):
        above = peak_mb(whole, n_masks, 1024) - peak_mb(bare, n_masks, 1024)
        print(f"memory above bare passes at 1024x1024, {n_masks} masks: {above:z.0f} MB")
    for n_masks in options.many:
        above = peak_mb(cheap_whole, n_masks, 1024) - peak_mb(cheap_bare, n_masks, 1024)
        print(f"the same with a detector that costs nothing, {n_masks} masks: {above:z.0f} MB")


if __name__ == "__main__":
    main()
