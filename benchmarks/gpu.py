"""How busy the detector is kept on a GPU, and what windows and close-ups save there.

    python benchmarks/gpu.py [--device cuda] [--detectors retinaface centerface] [--sizes 640 1600]

For every detector, in torch, and every picture size: bare passes a second, batch for batch, on
pictures that are on the device already; passes a second of ``observe``, and the share of its time
that is spent in the detector; the same bare passes under ``torch.compile``; and the time of maps
and close-ups of all faces in windows, over that of full passes. Times are of work that is finished
(``torch.cuda.synchronize``). ``--device cpu`` tries the script where there is no GPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import chiaroscuro as cs
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.evidence.passes import default_batch_size
from chiaroscuro.images.resize import shrink

PAINTING, TURNS = 436838, 5


def picture(side: int) -> torch.Tensor:
    """A sample painting with that longer side; enlarged where it is smaller."""
    image = sample_painting(PAINTING).read()
    factor = side / max(image.shape[1:])
    if factor <= 1:
        return shrink(image, side)[0]
    larger = torch.nn.functional.interpolate(image[None].float(), scale_factor=factor)[0]
    return larger.round().to(torch.uint8)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of finished work."""
    finish(device)
    began = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - began


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Timed:
    """A detector that adds up the seconds spent in it, with its work finished."""

    def __init__(self, detector: cs.Detector) -> None:
        self.detector, self.info, self.seconds = detector, detector.info, 0.0

    def detect(self, images: torch.Tensor) -> list[cs.Proposals]:
        found: list[cs.Proposals] = []
        device = torch.device(self.info.device)
        self.seconds += seconds(lambda: found.extend(self.detector.detect(images)), device)
        return found


def rates(detector: cs.Detector, image: torch.Tensor, n: int) -> tuple[float, float, float]:
    """Bare passes and those of ``observe`` a second, and the share of time in the detector."""
    device = torch.device(detector.info.device)
    size = default_batch_size(*image.shape[1:], device)
    batch = (image.to(device).float() / 255).expand(size, -1, -1, -1).contiguous()
    n = max(size, n // size * size)
    detector.detect(batch)

    def bare() -> None:
        for _ in range(n // size):
            detector.detect(batch)

    pairs, busy = [], []
    for _ in range(TURNS):
        alone = seconds(bare, device)
        seen = seconds(lambda: cs.observe(image, detector, n_passes=n, windows=False), device)
        pairs.append((n / alone, n / seen))
        busy.append(busy_share(detector, image, n))
    alone, seen = (statistics.median(values) for values in zip(*pairs, strict=True))
    return alone, seen, statistics.median(busy)


def busy_share(detector: cs.Detector, image: torch.Tensor, n: int) -> float:
    """Share of the time of ``observe`` that is spent in the detector."""
    timed = Timed(detector)
    device = torch.device(detector.info.device)
    whole = seconds(lambda: cs.observe(image, timed, n_passes=n, windows=False), device)
    return timed.seconds / whole


def compiled_rate(detector: cs.Detector, image: torch.Tensor, n: int) -> float:
    """Bare passes a second of the compiled network."""
    network = getattr(detector, "network", None)
    if network is None:
        return float("nan")
    device = torch.device(detector.info.device)
    size = default_batch_size(*image.shape[1:], device)
    batch = (image.to(device).float() / 255).expand(size, -1, -1, -1).contiguous()
    forward = network.forward
    network.forward = torch.compile(forward, mode="reduce-overhead")
    try:
        detector.detect(batch)
        times = [seconds(lambda: detector.detect(batch), device) for _ in range(max(5, n // size))]
    except Exception as error:  # no compiler, or a network that it cannot take
        print(f"torch.compile: {type(error).__name__}", flush=True)
        return float("nan")
    finally:
        network.forward = forward
    return size / statistics.median(times)


def of_all_faces(detector: cs.Detector, image: torch.Tensor) -> tuple[float, float, float]:
    """Seconds of maps by full passes, in windows, and of these with close-ups; fidelity 0.9."""
    device = torch.device(detector.info.device)
    faces = detector.detect(image[None])[0].above(0.3)
    times = [
        seconds(lambda how=how: cs.explain(image, detector, faces, **how), device)
        for how in ({"windows": False}, {}, {"closeup": True})
    ]
    return times[0], times[1], times[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--detectors", nargs="+", default=["retinaface", "centerface"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[640, 1600])
    parser.add_argument("--masks", type=int, default=500)
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cuda":
        print(torch.cuda.get_device_name(device), torch.__version__)
    print(
        "| detector, side | bare a second | observe | of bare | detector busy | compiled ", end=""
    )
    print("| full, s | windows | and close-ups | memory, MiB |\n|" + "---|" * 10)
    for name in given.detectors:
        options = {"form": "torch"} if name.startswith("retinaface") else {}
        for side in given.sizes:
            detector = cs.load_detector(name, device=given.device, **options)
            image = picture(side)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            alone, seen, busy = rates(detector, image, given.masks)
            peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0
            compiled = compiled_rate(detector, image, given.masks)
            full, windows, closeups = of_all_faces(detector, image)
            print(
                f"| {name}, {side} | {alone:.1f} | {seen:.1f} | {seen / alone:.2f} | {busy:.2f} "
                f"| {compiled:.1f} | {full:.1f} | {windows / full:.2f} | {closeups / full:.2f} "
                f"| {peak:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
