"""What everything around the detector costs: whole run against bare detector passes.

    python benchmarks/overhead.py [--masks 300] [--size 640] [--rounds 3] [--many 500 50000]

The same batches go through the detector alone, then through ``observe`` and ``explain``, in turns,
so that a noisy machine troubles both alike. Prints the ratio of the medians, and what memory the
whole run needs above the bare passes.
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
from chiaroscuro.engine import default_batch_size

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
    cs.observe(image, detector, n_masks=n_masks).explain(targets)


def cheap(images: torch.Tensor) -> list[torch.Tensor]:
    """Ten boxes at next to no cost, for runs of very many masks."""
    corner = torch.arange(10.0)[:, None] * 40
    boxes = torch.cat([corner, corner, corner + 80, corner + 80], dim=1)
    scores = images[:, :, ::64, ::64].mean(dim=(1, 2, 3))
    return [torch.cat([boxes, score.expand(10, 1)], dim=1) for score in scores]


def cheap_bare(_: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    bare(cs.load_detector(cheap), image, min(n_masks, 100))


def cheap_whole(_: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    cs.observe(image, cheap, n_masks=n_masks).explain([[40, 40, 120, 120], [200, 200, 280, 280]])


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
    parser.add_argument("--masks", type=int, default=300)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, nargs="*", default=[500, 5000, 50_000])
    options = parser.parse_args()
    detector, image = cs.load_detector(DETECTOR), picture(options.size)
    seconds: dict[str, list[float]] = {"bare": [], "whole": []}
    for _ in range(options.rounds):
        for name, run in (("bare", bare), ("whole", whole)):
            began = time.perf_counter()
            run(detector, image, options.masks)
            seconds[name].append(time.perf_counter() - began)
    ratio = statistics.median(seconds["whole"]) / statistics.median(seconds["bare"])
    print(f"whole / bare: {ratio:.3f} at {options.masks} masks of {options.size}x{options.size}")
    for n_masks in (50, 500):
        above = peak_mb(whole, n_masks, 1024) - peak_mb(bare, n_masks, 1024)
        print(f"memory above bare passes at 1024x1024, {n_masks} masks: {above:.0f} MB")
    for n_masks in options.many:
        above = peak_mb(cheap_whole, n_masks, 1024) - peak_mb(cheap_bare, n_masks, 1024)
        print(f"the same with a detector that costs nothing, {n_masks} masks: {above:.0f} MB")


if __name__ == "__main__":
    main()
