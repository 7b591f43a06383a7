"""Faces found in large pictures: in tiles at full size, and after reduction.

    python benchmarks/tiles.py [--out walls] [--detectors centerface retinaface]

No registry has a painting of 4000 pixels with annotated faces. Two things stand for one: a wall of
all paintings of met-faces, each in its own size, whose faces are small; and every painting enlarged
to 4000 pixels, whose faces are large. Prints AP50, recall by the size of faces and false positives
at a score of 0.3, and the time, of pictures searched in tiles, reduced to 1280 pixels, and of the
paintings as they are. At most 100 detections of a picture count for AP, of a wall as well.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.limits import MAX_SIDE
from chiaroscuro.core.records import Proposals, Truth
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.images.arrays import to_pil
from chiaroscuro.images.resize import shrink
from chiaroscuro.metrics.average_precision import average_precision
from chiaroscuro.studies.matching import match

GAP, SIDE = 24, 625  # pixels between paintings; the largest painting's longer side
COLUMNS = 7
LARGE = 4000

Set = list[tuple[torch.Tensor, Truth]]
Search = Callable[[cs.Detector, torch.Tensor], Proposals]


def wall(paintings: Set) -> tuple[torch.Tensor, Truth]:
    """All paintings side by side, and their faces."""
    cell = SIDE + GAP
    rows = math.ceil(len(paintings) / COLUMNS)
    picture = torch.full((3, rows * cell, COLUMNS * cell), 40, dtype=torch.uint8)
    faces = []
    for i, (image, truth) in enumerate(paintings):
        x, y = i % COLUMNS * cell, i // COLUMNS * cell
        picture[:, y : y + image.shape[1], x : x + image.shape[2]] = image
        faces.append(truth.boxes + torch.tensor([x, y, x, y]))
    ignore = torch.cat([truth.ignore for _, truth in paintings])
    return picture, Truth(boxes=torch.cat(faces), ignore=ignore)


def enlarged(image: torch.Tensor, truth: Truth) -> tuple[torch.Tensor, Truth]:
    """A painting with a longer side of 4000 pixels."""
    factor = LARGE / max(image.shape[1:])
    size = [round(side * factor) for side in image.shape[1:]]
    larger = torch.nn.functional.interpolate(image[None].float(), size, mode="bicubic")[0]
    return larger.round().clamp(0, 255).to(torch.uint8), truth.scaled(factor)


def in_tiles(detector: cs.Detector, image: torch.Tensor) -> Proposals:
    return cs.TiledDetector(detector).detect(image[None])[0]


def after_reduction(detector: cs.Detector, image: torch.Tensor) -> Proposals:
    reduced, factor = shrink(image, MAX_SIDE)
    found = detector.detect(reduced[None])[0]
    return found.placed(found.boxes / factor)


def line(name: str, detector: cs.Detector, search: Search, pictures: Iterable) -> str:
    """A row of the table."""
    found, truths, seconds = [], [], 0.0
    for image, truth in pictures:
        began = time.perf_counter()
        found.append(search(detector, image))
        seconds += time.perf_counter() - began
        truths.append(truth)
    hits, false, sizes = [], 0, []
    for one, truth in zip(found, truths, strict=True):
        matched = match(one.above(0.3), truth, 0.5)
        numbers = {each.truth for each in matched.detections if each.kind == "hit"}
        false += sum(each.kind not in ("hit", "ignored") for each in matched.detections)
        scored = (~truth.ignore).nonzero()[:, 0].tolist()
        hits += [i in numbers for i in scored]
        sizes += boxes.area(truth.boxes[scored]).sqrt().tolist()
    recalls = []
    for low, high in ((0, 32), (32, 64), (64, 256), (256, math.inf)):
        of_size = [hit for hit, size in zip(hits, sizes, strict=True) if low <= size < high]
        recalls.append(f"{sum(of_size)} of {len(of_size)}" if of_size else "-")
    ap50 = average_precision(found, truths).ap50
    return f"| {name} | {ap50:.3f} | {' | '.join(recalls)} | {false} | {seconds:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="the wall is written here")
    parser.add_argument("--detectors", nargs="+", default=["centerface", "retinaface"])
    given = parser.parse_args()
    entries = open_data_set("met-faces").entries
    paintings = [(cs.read_image(entry.path), entry.truth) for entry in entries]
    one_wall = wall(paintings)
    print(f"a wall of {one_wall[0].shape[2]} x {one_wall[0].shape[1]} pixels; paintings of {LARGE}")
    print("| detector, pictures, how | AP50 | faces below 32 px | 32-64 | 64-256 | larger ", end="")
    print("| false positives | seconds |\n|" + "---|" * 8)
    for name in given.detectors:
        detector = cs.load_detector(name)
        for what, search, pictures in (
            ("paintings as they are", after_reduction, paintings),
            ("wall, tiles", in_tiles, [one_wall]),
            ("wall, reduced", after_reduction, [one_wall]),
            ("enlarged, tiles", in_tiles, (enlarged(*one) for one in paintings)),
            ("enlarged, reduced", after_reduction, (enlarged(*one) for one in paintings)),
        ):
            print(line(f"{name}, {what}", detector, search, pictures), flush=True)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        to_pil(one_wall[0]).save(given.out / "wall.png")


if __name__ == "__main__":
    main()
