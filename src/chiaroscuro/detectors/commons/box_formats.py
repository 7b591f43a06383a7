"""Box formats, and boxes of any of them as ``x1 y1 x2 y2``."""

from jaxtyping import Bool, Float
from torch import Tensor

BOX_FORMATS = ("xyxy", "yxyx", "xywh", "cxcywh")


def corners(boxes: Float[Tensor, "*n 4"], box_format: str) -> Float[Tensor, "*n 4"]:
    """Boxes of one of ``BOX_FORMATS`` as ``x1 y1 x2 y2``."""
    from torchvision.ops import box_convert  # heavy: not needed to list detectors

    if box_format == "yxyx":
        return boxes[..., [1, 0, 3, 2]]
    converted: Tensor = box_convert(boxes, box_format, "xyxy")
    return converted


def inverted(boxes: Float[Tensor, "n 4"]) -> Bool[Tensor, " n"]:
    """Which boxes have ``x2 < x1`` or ``y2 < y1``."""
    return (boxes[:, 2:] < boxes[:, :2]).any(dim=1)
