"""A close-up enlarged, so that eyes and mouth can be seen."""

import torch
import torch.nn.functional as F
from torch import Tensor

from chiaroscuro.evidence.explanation import CloseUp, Explanation

SIDE_PX = 480  # longer side at least


def enlarged(
    image: Tensor, closeup: CloseUp, of: Explanation, side: int = SIDE_PX
) -> tuple[Tensor, Explanation]:
    """The window of a close-up and its map, enlarged by a whole number.

    Args:
        image: ``3 height width``, the whole picture.
        closeup: one of its close-ups.
        of: the explanation that it belongs to.
        side: the longer side in pixels that is reached.

    Returns:
        The window as a picture, ``3 rows columns``, and the explanation of that picture, with the
        close-up's target alone.
    """
    crop = closeup.window.of(image)
    factor = max(1, -(-side // max(crop.shape[1:])))
    pixels = crop.float() / 255 if crop.dtype == torch.uint8 else crop.float()
    shown = F.interpolate(pixels[None], scale_factor=factor, mode="bicubic")[0].clamp(0, 1)
    target = closeup.target.moved(-closeup.window.x1, -closeup.window.y1).scaled(float(factor))
    maps = torch.stack([closeup.saliency, closeup.standard_error])[None]
    saliency, error = F.interpolate(maps, scale_factor=factor, mode="bilinear")[0]
    return shown, closeup.alone(of, target, (saliency, error))
