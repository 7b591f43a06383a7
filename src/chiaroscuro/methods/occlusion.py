"""Occlusion: hide a window, see what the target loses, slide it on.

Zeiler and Fergus, ECCV 2014, arXiv:1311.2901, section 4.2. Windows are square and half overlap;
their side follows from the budget, so a picture is covered whatever its size. A window that hides
half of two parts which stand in for one another loses nothing: occlusion is blind to what is
there twice.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from chiaroscuro.core.errors import InputError
from chiaroscuro.methods.asking import Asker
from chiaroscuro.methods.question import Answer, Question

_LEAST = 5  # passes: the whole picture and four windows


def occlusion(question: Question) -> Answer:
    """Fall of every target's weight, mean over the windows that hide a pixel."""
    if question.budget < _LEAST:
        raise InputError(f"occlusion: wanted at least {_LEAST} passes, got {question.budget}")
    height, width = question.size
    stride = _stride(height, width, question.budget - 1)
    windows = _windows(height, width, stride)
    asker = Asker(question, total=len(windows) + 1)

    def masks() -> Iterator[Tensor]:
        yield torch.ones(height, width, dtype=torch.float32)
        for rows, columns in windows:
            mask = torch.ones(height, width, dtype=torch.float32)
            mask[rows, columns] = 0
            yield mask

    weights = asker.weights(masks())
    falls = weights[:, :1] - weights[:, 1:]
    total = torch.zeros(len(falls), height, width, dtype=torch.float32)
    covered = torch.zeros(height, width, dtype=torch.float32)
    for fall, (rows, columns) in zip(falls.T, windows, strict=True):
        total[:, rows, columns] += fall[:, None, None]
        covered[rows, columns] += 1
    notes = [
        f"target {i + 1}: no window makes a difference, so the map is zero: nothing matters alone; "
        "what is there twice, and stands in for what is hidden, looks the same"
        if whole
        else f"target {i + 1}: the detector reports nothing that overlaps the box, so there is "
        "nothing to lose; the map is zero or tells what suppresses it"
        for i, (whole, fall) in enumerate(zip(weights[:, 0].tolist(), falls, strict=True))
        if not whole or not bool(fall.any())
    ]
    return Answer(
        saliency=total / covered,
        passes=asker.passes,
        notes=tuple(notes),
        settings={"window_px": 2 * stride, "stride_px": stride},
    )


def _stride(height: int, width: int, budget: int) -> int:
    """The smallest for which the windows are no more than the budget."""
    stride = max(1, math.isqrt(height * width // budget))
    while len(_windows(height, width, stride)) > budget:
        stride += 1
    return stride


def _windows(height: int, width: int, stride: int) -> list[tuple[slice, slice]]:
    """Rows and columns of every window.

    The outer ones reach over the edge, so that a pixel at the border is hidden four times, as one
    in the middle is.
    """
    return [
        (slice(max(0, top), top + 2 * stride), slice(max(0, left), left + 2 * stride))
        for top in range(-stride, height, stride)
        for left in range(-stride, width, stride)
    ]
