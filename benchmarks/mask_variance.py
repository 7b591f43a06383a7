"""Variance of mask values in the centre, at edges and in corners.

    python benchmarks/mask_variance.py

Published masks (a 16 x 16 grid magnified to one cell more than the picture and cut at random, as in
RISE, arXiv:1806.07421, section 3.2) against ours, over 20,000 masks of 128 x 128 pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

import chiaroscuro as cs

SIDE, CELLS, N = 128, 16, 20_000


def published(n: int, generator: torch.Generator) -> Tensor:
    cell = SIDE // CELLS
    grids = (torch.rand(n, 1, CELLS, CELLS, generator=generator) < 0.5).float()
    large = F.interpolate(grids, scale_factor=(CELLS + 1) * cell / CELLS, mode="bilinear")
    shifts = torch.randint(0, cell, (n, 2), generator=generator).tolist()
    return torch.stack(
        [m[0, y : y + SIDE, x : x + SIDE] for m, (y, x) in zip(large, shifts, strict=True)]
    )


def describe(name: str, masks: Tensor) -> None:
    variance = masks.var(dim=0)
    edges = torch.cat([variance[0], variance[-1], variance[:, 0], variance[:, -1]])
    corners = variance[[0, 0, -1, -1], [0, -1, 0, -1]]
    print(
        f"{name}: centre {variance[32:96, 32:96].mean():z.3f}, edges {edges.mean():z.3f}, "
        f"corners {corners.min():z.3f} to {corners.max():z.3f}"
    )


if __name__ == "__main__":
    describe("published", published(N, torch.Generator().manual_seed(0)))
    design = cs.MaskDesign(grid_size=CELLS, antithetic=False)
    describe("ours", cs.Masks(design, SIDE, SIDE).render(0, N))
