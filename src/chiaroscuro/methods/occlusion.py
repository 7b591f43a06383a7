"""Occlusion: hide a window and measure what the target loses, at every place of the picture.

Windows are square and overlap by half; their side follows from the number of passes, so the picture
is always covered. A window that hides half of two parts, each of which suffices alone, changes
nothing: occlusion misses redundant evidence.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from chiaroscuro.core.notes import Note
from chiaroscuro.methods.black_box import BlackBox
from chiaroscuro.methods.method import BLACK_BOX_PASSES, Method
from chiaroscuro.methods.question import Answer, Question

_LEAST = 5  # passes: the whole picture and four windows


def occlusion(question: Question) -> Answer:
    """Decrease of every target's weight, mean over the windows that hide a pixel."""
    height, width = question.size
    stride = _stride(height, width, question.n_passes - 1)
    windows = _windows(height, width, stride)
    detector = BlackBox(question, total=len(windows) + 1)

    def masks() -> Iterator[Tensor]:
        yield torch.ones(height, width, dtype=torch.float32)
        for rows, columns in windows:
            mask = torch.ones(height, width, dtype=torch.float32)
            mask[rows, columns] = 0
            yield mask

    weights = detector.weights(masks())
    decreases = weights[:, :1] - weights[:, 1:]
    total = torch.zeros(len(decreases), height, width, dtype=torch.float32)
    covered = torch.zeros(height, width, dtype=torch.float32)
    for decrease, (rows, columns) in zip(decreases.T, windows, strict=True):
        total[:, rows, columns] += decrease[:, None, None]
        covered[rows, columns] += 1
    notes = [
        Note("no window" if whole else "nothing to lose", i + 1)
        for i, (whole, decrease) in enumerate(zip(weights[:, 0].tolist(), decreases, strict=True))
        if not whole or not bool(decrease.any())
    ]
    return Answer(
        saliency=total / covered,
        n_passes=detector.passes,
        notes=tuple(notes),
        choices={"window_px": 2 * stride, "stride_px": stride},
    )


def _stride(height: int, width: int, n_windows: int) -> int:
    """The smallest with at most so many windows."""
    stride = max(1, math.isqrt(height * width // n_windows))
    while len(_windows(height, width, stride)) > n_windows:
        stride += 1
    return stride


def _windows(height: int, width: int, stride: int) -> list[tuple[slice, slice]]:
    """Rows and columns of every window.

    The outer ones reach over the edge, so that a pixel at the border is hidden four times, like one
    in the middle.
    """
    return [
        (slice(max(0, top), top + 2 * stride), slice(max(0, left), left + 2 * stride))
        for top in range(-stride, height, stride)
        for left in range(-stride, width, stride)
    ]


OCCLUSION = Method(
    name="occlusion",
    title="a sliding window hides part of the picture",
    family="perturbation",
    signed=True,
    meaning="decrease of the target's weight, mean over the windows that hide the pixel",
    n_passes=BLACK_BOX_PASSES,
    least=(_LEAST, 0),
    shared=True,
    source="Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2",
    run=occlusion,
)
