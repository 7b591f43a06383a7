"""Could one map help to make another? From the long runs: ``python benchmarks/sharing.py``.

Median correlation of a target's true map, in the box and in the ring, with: the box alone; the mean
map of the other targets in the picture, in box coordinates; that of targets in other pictures; and
the map of the same face by the other detector.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from long_runs import DETECTORS, PAINTINGS, path_of
from torch import Tensor
from truth_against_passes import box_alone, correlation, targets_of

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.records import Target

SIDE = 48
STEPS = torch.linspace(-1, 2, SIDE)  # of the box's width and height, from its upper left corner
IN_BOX = ((STEPS > 0) & (STEPS < 1))[:, None] & ((STEPS > 0) & (STEPS < 1))


@dataclass
class Face:
    detector: str
    painting: int
    target: Target
    truth: Tensor
    crop: Tensor  # of the truth, in box coordinates
    box_crop: Tensor  # of the box alone


def crop(saliency: Tensor, target: Target) -> Tensor:
    """``SIDE SIDE``: the box and as much around it, the largest value 1."""
    height, width = saliency.shape
    x1, y1, x2, y2 = target.box.tolist()
    x = (x1 + STEPS * (x2 - x1)) / width * 2 - 1
    y = (y1 + STEPS * (y2 - y1)) / height * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    part = F.grid_sample(saliency.float()[None, None], grid, align_corners=False)[0, 0]
    return part / part.abs().max()


def faces() -> list[Face]:
    found = []
    for name in DETECTORS:
        detector = cs.load_detector(name)
        for painting in PAINTINGS:
            run = cs.Evidence.load(path_of(name, painting, "truth"))
            targets = targets_of(detector, painting, run.image)
            maps = run.explain(targets, estimator="centred").saliency
            for target, truth in zip(targets, maps, strict=True):
                alone = box_alone(run.masks, target)
                found.append(
                    Face(name, painting, target, truth, crop(truth, target), crop(alone, target))
                )
    return found


def tell(what: str, pairs: list[tuple[Tensor, Tensor]]) -> None:
    scores = [[correlation(a, b, where) for where in (IN_BOX, ~IN_BOX)] for a, b in pairs]
    box, ring = np.median(scores, axis=0)
    print(f"| {what} | {len(pairs)} | {box:z.2f} | {ring:z.2f} |")


def main() -> None:
    everyone = faces()
    print("| what is known | targets | box | around it |\n|---|---|---|---|")
    tell("the box alone", [(f.crop, f.box_crop) for f in everyone])
    for what, same in (("other faces of the picture", True), ("faces of other pictures", False)):
        pairs = []
        for face in everyone:
            others = [
                other.crop
                for other in everyone
                if other is not face
                and other.detector == face.detector
                and (other.painting == face.painting) == same
            ]
            if others:
                pairs.append((face.crop, torch.stack(others).mean(dim=0)))
        tell(what, pairs)
    pairs = []
    for face in everyone:
        for other in everyone:
            if (other.painting, other.detector) == (face.painting, DETECTORS[1]) and (
                face.detector == DETECTORS[0]
                and float(boxes.iou(face.target.box[None], other.target.box[None])) > 0.5
            ):
                pairs.append((face.crop, crop(other.truth, face.target)))
    tell("the other detector's map", pairs)


if __name__ == "__main__":
    main()
