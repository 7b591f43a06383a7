"""Superpixels: regions of a picture that are hidden or shown as one.

By SLIC (Achanta et al., TPAMI 2012), from scikit-image. A picture without regions, of one colour or
all noise, is cut into a grid instead.
"""

import math

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

_COMPACTNESS = 20.0  # 10 gives half as many regions as wanted, one of them all round the frame


def superpixels(image: Float32[Tensor, "3 height width"], n: int) -> Int64[Tensor, "height width"]:
    """``n`` regions, or down to half as many, since those without an edge between are joined.

    They are numbered from 0 without gaps.
    """
    height, width = image.shape[1:]
    if one_colour(image) or n < 2:
        return grid(height, width, n)
    from skimage.segmentation import slic

    brightest = float(image.max())  # paintings are dark: stretch the lightness first
    regions = slic(
        (image / brightest).permute(1, 2, 0).numpy(),
        n_segments=n,
        compactness=_COMPACTNESS,
        start_label=0,
    )
    found = without_gaps(torch.from_numpy(regions).long())
    return found if int(found.max()) + 1 > n / 2 else grid(height, width, n)


def without_gaps(regions: Int64[Tensor, "height width"]) -> Int64[Tensor, "height width"]:
    """The same regions, numbered from 0."""
    numbered: Tensor = torch.unique(regions, return_inverse=True)[1]
    return numbered


def grid(height: int, width: int, n: int) -> Int64[Tensor, "height width"]:
    """About ``n`` rectangles, as square as possible."""
    rows = min(height, max(1, round(math.sqrt(n * height / width))))
    columns = min(width, max(1, round(n / rows)))
    row = torch.arange(height) * rows // height
    column = torch.arange(width) * columns // width
    return row[:, None] * columns + column


def one_colour(image: Float32[Tensor, "3 height width"]) -> bool:
    """Whether every pixel is the same."""
    return bool((image == image[:, :1, :1]).all())
