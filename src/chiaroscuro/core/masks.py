"""Random grid masks: mask ``i`` is a pure function of ``(seed, i, design)``.

A coarse grid of cells, each kept with probability ``keep_probability``, is magnified bilinearly to
the picture and shifted by a random part of a cell (Petsiuk et al., RISE, BMVC 2018,
arXiv:1806.07421, section 3.2; D-RISE, CVPR 2021, arXiv:2006.03204, section 3.3). Where we differ:

- A ring of further cells surrounds the published grid, so that no pixel ever lies past the
  outermost cell centres. Published masks are clamped there, and vary more at borders and corners
  than in the centre; ours have the same distribution at every pixel.
- Interpolation weights are rounded to multiples of 1/4096. Products of two of them are then exact
  in float32, so a mask has the same bits on every device, with any batch size and thread count.

A weighted sum of masks needs no rendering: a mask is its grid's kept cells, as points on the pixel
lattice, convolved with one triangular kernel, so the sum is one convolution of the summed points.
"""

import math
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from chiaroscuro.core import limits
from chiaroscuro.core.errors import ImageError, InputError
from chiaroscuro.core.plan import MaskDesign

_WEIGHT_STEPS = 4096
_BLOCK = 256  # masks drawn together


class Masks:
    """The unlimited sequence of masks of one design, picture size and seed.

    Args:
        design: how masks are made.
        height: of the picture, pixels.
        width: of the picture, pixels.
        seed: any whole number from 0 to 2**64 - 1.

    Raises:
        InputError: on an invalid seed or size.
        ImageError: if the design's fill is an image of another size.
    """

    def __init__(self, design: MaskDesign, height: int, width: int, seed: int = 0) -> None:
        self.design, self.seed = design, limits.SEED("seed", seed)
        if height < 1 or width < 1:
            raise InputError(f"picture size: wanted at least 1x1, got {width}x{height}")
        self.height, self.width = height, width
        check_fill(design.fill, (self.height, self.width))
        rows, columns = design.grid
        self.cell = math.ceil(height / rows), math.ceil(width / columns)
        self._grid = (
            math.ceil(height / self.cell[0]) + 2,
            math.ceil(width / self.cell[1]) + 2,
        )

    def cells(self, start: int, stop: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """Grids and shifts of masks ``start`` to ``stop - 1``.

        Returns:
            Kept cells ``n rows columns``, bool, and shifts ``n 2`` (down, right) in pixels, from 0
            to one less than a cell.
        """
        grids = np.empty((stop - start, *self._grid), dtype=np.bool_)
        shifts = np.empty((stop - start, 2), dtype=np.int64)
        keep = self.design.keep_probability
        for block in range(start // _BLOCK, -(-stop // _BLOCK)):
            first = block * _BLOCK
            low, high = max(start, first), min(stop, first + _BLOCK)
            kept, shift = _draw(self.seed, block, self._grid, self.cell, keep, self.design.in_pairs)
            grids[low - start : high - start] = kept[low - first : high - first]
            shifts[low - start : high - start] = shift[low - first : high - first]
        return grids, shifts

    def render(
        self, start: int, stop: int, device: torch.device | str = "cpu"
    ) -> Float32[Tensor, "n height width"]:
        """Masks ``start`` to ``stop - 1`` in [0, 1]; 1 keeps a pixel, 0 hides it."""
        return self.sample(
            start,
            stop,
            torch.arange(self.height, device=device),
            torch.arange(self.width, device=device),
        )

    def sample(
        self,
        start: int,
        stop: int,
        rows: Int64[Tensor, " rows"],
        columns: Int64[Tensor, " columns"],
    ) -> Float32[Tensor, "n rows columns"]:
        """Masks ``start`` to ``stop - 1`` at some pixels only, on the device of ``rows``."""
        grids, shifts = self.cells(start, stop)
        device = rows.device
        grid = torch.from_numpy(grids).to(device, torch.float32)
        down = self._interpolation(0, rows, torch.from_numpy(shifts[:, 0]).to(device))
        right = self._interpolation(1, columns, torch.from_numpy(shifts[:, 1]).to(device))
        return torch.bmm(down, torch.bmm(grid, right.transpose(1, 2)))

    def covariance(
        self, axis: int, first: Int64[Tensor, " n"], second: Int64[Tensor, " m"]
    ) -> Float64[Tensor, "n m"]:
        """One axis's factor of the covariance of mask values, between two sets of pixels.

        The covariance of two pixels of a random mask is ``keep (1 - keep)`` times the factors of
        both axes, at any place in the picture: the triangle that a cell spreads, correlated with
        itself and averaged over the shifts.
        """
        cell = self.cell[axis]
        upper = _weights(cell).double()
        triangle = torch.cat([upper, 1 - upper]).numpy()
        factor = torch.from_numpy(np.correlate(triangle, triangle, "full") / cell)
        lag = (first[:, None] - second).abs()
        within = lag < 2 * cell
        return torch.where(within, factor[(lag.clamp(max=2 * cell - 1)) + 2 * cell - 1], 0.0)

    def weighted_sum(
        self, weights: npt.NDArray[np.float64], indices: npt.NDArray[np.int64] | None = None
    ) -> Float[Tensor, "height width"]:
        """``sum_i weights[i] * mask[indices[i]]``, float64, without rendering a mask.

        Args:
            weights: one per mask.
            indices: which masks; the first ``len(weights)`` when not given.
        """
        (cell_h, cell_w), (rows, columns) = self.cell, self._grid
        lattice = (rows * cell_h, columns * cell_w)
        points = np.zeros(lattice[0] * lattice[1])
        wanted = np.arange(len(weights)) if indices is None else np.asarray(indices)
        for chunk in _runs(wanted):
            grids, shifts = self.cells(int(wanted[chunk.start]), int(wanted[chunk.stop - 1]) + 1)
            mask, row, column = np.nonzero(grids)
            y = row * cell_h - shifts[mask, 0] + cell_h - 1
            x = column * cell_w - shifts[mask, 1] + cell_w - 1
            points += np.bincount(
                y * lattice[1] + x, weights=weights[chunk][mask], minlength=points.size
            )
        down, right = self._spread
        return down @ torch.from_numpy(points).view(lattice) @ right.T

    def _interpolation(self, axis: int, pixels: Tensor, shift: Tensor) -> Tensor:
        """``n pixels cells``: the weight of every cell at some pixels along one axis."""
        return self._weights_by_place[axis].to(pixels.device)[pixels + shift[:, None]]

    @cached_property
    def _weights_by_place(self) -> tuple[Tensor, Tensor]:
        """``places cells`` of both axes: the weight of every cell at every place of the lattice."""
        matrices = []
        for size, cell, cells in zip((self.height, self.width), self.cell, self._grid, strict=True):
            place = torch.arange(size + cell)
            upper = _weights(cell)[place % cell]
            matrix = torch.zeros(len(place), cells, dtype=torch.float32)
            matrix[place, place // cell] = 1 - upper
            matrix[place, place // cell + 1] = upper
            matrices.append(matrix)
        return matrices[0], matrices[1]

    @cached_property
    def _spread(self) -> tuple[Tensor, Tensor]:
        """``height lattice`` and ``width lattice``: the spread of a point over the pixels.

        A kept cell is a triangle over two cells each way. A banded matrix product is many times
        faster than a float64 convolution.
        """
        matrices = []
        for size, cell, cells in zip((self.height, self.width), self.cell, self._grid, strict=True):
            upper = _weights(cell).double()
            triangle = torch.cat([(1 - upper).flip(0), upper.flip(0)])
            column = torch.arange(size)[:, None] + torch.arange(2 * cell)
            matrix = torch.zeros(size, cells * cell, dtype=torch.float64)
            matrices.append(matrix.scatter_(1, column, triangle.expand(size, -1)))
        return matrices[0], matrices[1]


@lru_cache(maxsize=32)
def _draw(
    seed: int, block: int, grid: tuple[int, int], cell: tuple[int, int], keep: float, pairs: bool
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Kept cells and shifts of one block of masks; cached for explanations."""
    rows, columns = grid
    grids = np.empty((_BLOCK, rows, columns), dtype=np.bool_)
    shifts = np.empty((_BLOCK, 2), dtype=np.int64)
    for n, i in enumerate(range(block * _BLOCK, (block + 1) * _BLOCK)):
        stream = np.random.Philox(key=seed, counter=(i // 2 if pairs else i) << 192)
        draws = np.random.Generator(stream).random(2 + rows * columns)
        shifts[n] = (draws[:2] * cell).astype(np.int64)
        kept = draws[2:] < keep
        grids[n] = (~kept if pairs and i % 2 else kept).reshape(rows, columns)
    return grids, shifts


def _weights(cell: int) -> Tensor:
    """Weight of the next cell at every pixel between two cell centres, multiples of 1/4096."""
    fraction = (torch.arange(cell, dtype=torch.float64) + 0.5) / cell
    return ((fraction * _WEIGHT_STEPS).round() / _WEIGHT_STEPS).float()


def _runs(indices: npt.NDArray[np.int64], longest: int = 1024) -> list[slice]:
    """Slices of consecutive numbers, so that their masks can be made in one go."""
    breaks = np.flatnonzero(np.diff(indices) != 1) + 1
    edges = [0, *breaks.tolist(), len(indices)]
    return [
        slice(i, min(i + longest, stop))
        for start, stop in pairwise(edges)
        for i in range(start, stop, longest)
        if stop > start
    ]


def check_fill(fill: str | Tensor, size: tuple[int, int]) -> None:
    """Check that a fill image has the picture's size.

    Raises:
        ImageError: if it has another.
    """
    if isinstance(fill, Tensor) and tuple(fill.shape[1:]) != size:
        raise ImageError(
            f"fill: wanted an image of the picture's shape {(3, *size)}, got {tuple(fill.shape)}"
        )


def fill_image(
    design: MaskDesign, image: Float32[Tensor, "3 height width"]
) -> Float32[Tensor, "3 height width"] | None:
    """What replaces hidden pixels; None for black.

    The blur is Gaussian. Unless the design states its sigma, it is one sixteenth of the longer
    side, so that it hides a face at any picture size.

    Raises:
        ImageError: if a fill image has another size than the picture.
    """
    fill = design.fill
    check_fill(fill, (image.shape[1], image.shape[2]))
    if isinstance(fill, Tensor):
        wanted = fill.to(image.device)
        return wanted.float() / 255 if wanted.dtype == torch.uint8 else wanted.float()
    if fill == "black":
        return None
    if fill == "image":
        raise InputError("fill: wanted the image itself; from a file only the word is known")
    if fill == "mean":
        return image.mean(dim=(1, 2), keepdim=True).expand_as(image)
    return gaussian_blur(image, sigma=design.blur_sigma or max(image.shape[1:]) / 16)


def gaussian_blur(
    image: Float32[Tensor, "3 height width"], sigma: float | int, radius: int | None = None
) -> Float32[Tensor, "3 height width"]:
    """Gaussian blur with replicated borders.

    Args:
        image: the picture.
        sigma: in pixels.
        radius: of the kernel, ``2 radius + 1`` pixels per side; three sigma when None.
    """
    radius = max(1, math.ceil(3 * sigma) if radius is None else radius)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=image.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    across = F.conv2d(F.pad(image[:, None], (radius, radius, 0, 0), mode="replicate"), kernel)
    down = F.pad(across, (0, 0, radius, radius), mode="replicate")
    return F.conv2d(down, kernel.transpose(2, 3))[:, 0]


def hide(
    image: Float32[Tensor, "3 height width"],
    masks: Float32[Tensor, "n height width"],
    fill: Float32[Tensor, "3 height width"] | None = None,
) -> Float32[Tensor, "n 3 height width"]:
    """The picture under every mask: ``mask * image + (1 - mask) * fill``; no fill is black."""
    if fill is None:
        return image[None] * masks[:, None]
    return torch.lerp(fill[None], image[None], masks[:, None])
