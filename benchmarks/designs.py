"""Do other designs of the same number of masks come nearer to the same truth?

    python benchmarks/long_runs.py && python benchmarks/designs.py

RetinaFace on the paintings that choices were made on, 150 passes, two seeds, against the long runs,
which have a keep probability of 0.5. Other keep probabilities, and a design in two stages: 74 masks
as ever, then pairs that are complements of one another only near the target and share the rest, so
that what lies far cancels. The latter is a run of its own for every target. Geometric mean of
1 - correlation, in the box and in the ring: less is better.
"""

import numpy as np
import torch
from long_runs import TRIED_ON, path_of
from torch import Tensor
from truth_against_passes import correlation, targets_of

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.masks import hide
from chiaroscuro.core.records import Target
from chiaroscuro.evidence.surrogate import Surrogate

N_MASKS, FIRST_STAGE = 150, 74
SEEDS = (5000, 5001)


class TwoStageMasks(cs.Masks):
    """From the second stage on, the second of a pair is a complement near the target only."""

    near: np.ndarray  # rows columns, of the grid of cells

    def cells(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        grids, shifts = super().cells(start, stop)
        for n, i in enumerate(range(start, stop)):
            if i % 2 and i >= FIRST_STAGE:
                grids[n] = np.where(self.near, grids[n], ~grids[n])
        return grids, shifts


def near_cells(masks: cs.Masks, target: Target) -> np.ndarray:
    """Cells that reach into the target's box or ring at some shift."""
    x1, y1, x2, y2 = target.box.tolist()
    size = float(boxes.area(target.box).sqrt())
    (cell_h, cell_w), (rows, columns) = masks.cell, masks._grid
    row, column = np.arange(rows) * cell_h, np.arange(columns) * cell_w
    down = (row > y1 - size - cell_h) & (row < y2 + size + 2 * cell_h)
    right = (column > x1 - size - cell_w) & (column < x2 + size + 2 * cell_w)
    return down[:, None] & right


def weights(detector: cs.Detector, image: Tensor, masks: cs.Masks, target: Target) -> Tensor:
    values = []
    for start in range(0, N_MASKS, 16):
        shown = masks.render(start, min(start + 16, N_MASKS))
        for found in detector.detect(hide(image, shown)):
            index = torch.zeros(len(found), dtype=torch.int64)
            values.append(cs.mask_weights([target], found, index, 1)[0, 0])
    return torch.stack(values)[None]


def main() -> None:
    detector = cs.load_detector("retinaface")
    errors: dict[str, list[list[float]]] = {}
    for painting in TRIED_ON:
        run = cs.Evidence.load(path_of("retinaface", painting, "truth"))
        targets = targets_of(detector, painting, run.image)
        truth = run.explain(targets, estimator="centred").saliency
        image, size = run.image.float() / 255, run.image.shape[1:]
        for seed in SEEDS:
            for keep in (0.5, 0.4, 0.6, 0.7):
                design = cs.MaskDesign(keep_probability=keep)
                part = cs.observe(run.image, detector, n_passes=N_MASKS, seed=seed, design=design)
                maps = part.explain(targets).saliency
                judge(errors, f"keep probability {keep}", targets, maps, truth)
            maps = []
            for target in targets:
                masks = TwoStageMasks(cs.MaskDesign(), *size, seed)
                masks.near = near_cells(masks, target)
                model = Surrogate(masks, image, weights(detector, image, masks, target))
                maps.append(model.fit(0, target).saliency)
            judge(errors, "two stages, near the target", targets, maps, truth)
    print("| design | targets and seeds | box | ring |\n|---|---|---|---|")
    for name, rows in errors.items():
        box, ring = np.exp(np.log(rows).mean(axis=0))
        print(f"| {name} | {len(rows)} | {box:z.4f} | {ring:z.3f} |")


def judge(errors, name, targets, maps, truth) -> None:  # type: ignore[no-untyped-def]
    for target, saliency, wanted in zip(targets, maps, truth, strict=True):
        inside, ring = boxes.neighbourhood(target.box, *wanted.shape)
        errors.setdefault(name, []).append(
            [max(1e-6, 1 - correlation(saliency, wanted, region)) for region in (inside, ring)]
        )


if __name__ == "__main__":
    main()
