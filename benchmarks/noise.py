"""Where the noise of a map comes from: the detector's answer by order of interaction.

    python benchmarks/noise.py

The twelve cells that a target depends on most, all of their 4096 patterns, the rest of the picture
and the shift held fixed. The answer to them is a sum over all sets of cells (Walsh functions). Sets
of one cell are what a map shows; sets of an even number cancel within an antithetic pair; sets of
three and more odd numbers are the noise that is left. Prints each order's share of the variance.
"""

import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.masks import hide
from chiaroscuro.core.records import Target
from chiaroscuro.data.samples import sample_painting

CELLS = 12
SHIFT = torch.tensor([[11, 13]])
TARGETS = {436838: (0, 2, 3), 437455: (1,)}  # painting: found faces, strong to weak


def weights_of_all_patterns(detector: cs.Detector, image: Tensor, target: Target) -> Tensor:
    """``2 ** CELLS``: weight of every pattern; bit ``k`` of its number shows cell ``k``."""
    height, width = image.shape[1:]
    masks = cs.Masks(cs.MaskDesign(antithetic=False), height, width)
    down = masks._interpolation(0, torch.arange(height), SHIFT[:, 0])[0]
    right = masks._interpolation(1, torch.arange(width), SHIFT[:, 1])[0]
    inside, _ = boxes.neighbourhood(target.box, height, width)
    cells = (down.T @ inside.float() @ right).flatten().argsort(descending=True)[:CELLS]
    grid = (torch.rand(down.shape[1], right.shape[1], generator=_seeded()) < 0.5).float()
    weights = []
    for numbers in torch.arange(2**CELLS).split(16):
        grids = grid.flatten().repeat(len(numbers), 1)
        grids[:, cells] = (numbers[:, None] >> torch.arange(CELLS) & 1).float()
        shown = torch.einsum("hr,nrc,wc->nhw", down, grids.view(-1, *grid.shape), right)
        for found in detector.detect(hide(image, shown)):
            index = torch.zeros(len(found), dtype=torch.int64)
            weights.append(cs.mask_weights([target], found, index, 1)[0, 0])
    return torch.stack(weights).double()


def variance_by_order(values: Tensor) -> Tensor:
    """``CELLS + 1``: sum of squared Walsh coefficients of each order."""
    coefficients = values.reshape((2,) * CELLS)
    for axis in range(CELLS):
        shown, hidden = coefficients.select(axis, 1), coefficients.select(axis, 0)
        coefficients = torch.stack([hidden + shown, shown - hidden], dim=axis) / 2
    order = torch.tensor([number.bit_count() for number in range(2**CELLS)])
    sums = torch.zeros(CELLS + 1, dtype=torch.float64)
    return sums.scatter_add_(0, order, coefficients.flatten().square())


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def main() -> None:
    detector = cs.load_detector("retinaface")
    print("| painting, score | one cell | two | three | four and more | noise left in pairs |")
    print("|---|---|---|---|---|---|")
    for painting, numbers in TARGETS.items():
        image = sample_painting(painting).read(max_side=416)
        found = detector.detect(image[None])[0].above(0.3)
        for number in numbers:
            target = Target(box=found.boxes[number], score=float(found.scores[number]))
            share = variance_by_order(
                weights_of_all_patterns(detector, image.float() / 255, target)
            )
            odd = share[3::2].sum() / share[1::2].sum()
            share = share[1:] / share[1:].sum()
            print(
                f"| {painting}, {target.score:z.2f} | {share[0]:z.2f} | {share[1]:z.2f} "
                f"| {share[2]:z.3f} | {share[3:].sum():z.3f} | {odd:z.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
