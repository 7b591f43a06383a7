"""Random crops for training, with changes of scale, place, light and colour.

All randomness comes from one ``torch.Generator``, so the same seed gives the same crops.
"""

import math

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from chiaroscuro.core import boxes
from chiaroscuro.core.records import Truth
from chiaroscuro.training.settings import Augmentation

KEPT = 0.5  # least share of a face in the crop for it to be learned; with less it is ignored


def random_crop(
    image: UInt8[Tensor, "3 height width"],
    truth: Truth,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Float32[Tensor, "3 size size"], Truth]:
    """One training crop.

    Faces that are cut off by more than half are ignored.

    Returns:
        The crop in [0, 1], black where it extends past the picture, and its annotations.
    """
    chance = _Chance(generator)
    height, width = image.shape[1:]
    low, high = augmentation.long_side
    side = math.exp(chance.between(math.log(low), math.log(high)))
    scale = side / max(height, width)
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = F.resize(image, [height, width], antialias=True).float() / 255
    boxes_now = truth.boxes * scale
    top, left = _corner(chance, boxes_now[~truth.ignore], height, width, augmentation)
    size = augmentation.size
    crop = F.crop(pixels, top, left, size, size)
    moved = boxes_now - torch.tensor([left, top, left, top])
    if augmentation.turn > 0:
        degrees = chance.between(-augmentation.turn, augmentation.turn)
        crop, moved = turned(crop, moved, degrees)
    moved, ignore, labels = _visible(moved, truth, size)
    if chance.happens(augmentation.flip):
        crop = crop.flip(2)
        moved = torch.stack([size - moved[:, 2], moved[:, 1], size - moved[:, 0], moved[:, 3]], 1)
    if chance.happens(augmentation.tenebrism):
        crop = tenebrism(crop, generator)
    crop = _light(crop, augmentation, chance)
    return crop, Truth(boxes=moved, labels=labels, ignore=ignore)


def turned(
    crop: Float32[Tensor, "3 size size"], faces: Float32[Tensor, "n 4"], degrees: float
) -> tuple[Float32[Tensor, "3 size size"], Float32[Tensor, "n 4"]]:
    """A crop turned anticlockwise about its centre, black where it has no pixels, and its boxes.

    Boxes keep their size: a face is nearly round, and the box of a turned box is too large for it.
    """
    middle = crop.shape[1] / 2
    angle = math.radians(degrees)
    x, y = (faces[:, :2] + faces[:, 2:]).div(2).sub(middle).unbind(dim=1)
    x, y = (
        x * math.cos(angle) + y * math.sin(angle) + middle,
        y * math.cos(angle) - x * math.sin(angle) + middle,
    )
    half = (faces[:, 2:] - faces[:, :2]) / 2
    centres = torch.stack([x, y], dim=1)
    pixels = F.rotate(crop, degrees, interpolation=F.InterpolationMode.BILINEAR)
    return pixels, torch.cat([centres - half, centres + half], dim=1)


def tenebrism(
    image: Float32[Tensor, "3 height width"], generator: torch.Generator
) -> Float32[Tensor, "3 height width"]:
    """Give a picture a dark ground and a single raking light from one side.

    A soft patch of light remains, brighter towards the side of the light; the rest fades into a
    warm dark ground, and shadows deepen.
    """
    chance = _Chance(generator)
    height, width = image.shape[1:]
    y = (torch.arange(height) + 0.5)[:, None] / height
    x = (torch.arange(width) + 0.5)[None, :] / width
    angle = chance.between(0, 2 * math.pi)
    across = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle)
    raking = torch.sigmoid((across + chance.between(-0.1, 0.3)) * chance.between(4, 9))
    middle_x, middle_y = chance.between(0.25, 0.75), chance.between(0.25, 0.75)
    far = ((x - middle_x) ** 2 + (y - middle_y) ** 2).sqrt()
    patch = torch.exp(-((far / chance.between(0.3, 0.6)) ** 2))
    light = 0.08 + 0.92 * raking * (0.25 + 0.75 * patch)
    deep = image.clamp(min=1e-4) ** chance.between(1.2, 1.9)
    ground = torch.tensor([0.09, 0.06, 0.04])[:, None, None] * chance.between(0.3, 1)
    return (deep * light * 1.15 + ground * (1 - light)).clamp(0, 1)


def _corner(
    chance: "_Chance", faces: Tensor, height: int, width: int, augmentation: Augmentation
) -> tuple[int, int]:
    """Top and left of the crop."""
    size = augmentation.size
    if len(faces) and chance.happens(augmentation.near_a_face):
        x1, y1, x2, y2 = faces[chance.below(len(faces))].tolist()
        return _start(chance, y1, y2, size), _start(chance, x1, x2, size)
    return (
        round(chance.between(min(0, height - size), max(0, height - size))),
        round(chance.between(min(0, width - size), max(0, width - size))),
    )


def _start(chance: "_Chance", low: float, high: float, size: int) -> int:
    """Start of a crop along one axis, so that it contains as much of a face as fits."""
    first, last = min(high - size, low), max(high - size, low)
    return round(chance.between(first, last))


def _visible(moved: Tensor, truth: Truth, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Annotations cut to the crop; those mostly outside are ignored, those outside dropped."""
    cut = moved.clamp(0, size)
    share = boxes.area(cut) / boxes.area(moved).clamp(min=1e-6)
    inside = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
    ignore = truth.ignore | (share < KEPT)
    return cut[inside], ignore[inside], truth.labels[inside]


def _light(crop: Tensor, augmentation: Augmentation, chance: "_Chance") -> Tensor:
    strength = augmentation.colour
    if strength > 0:
        crop = F.adjust_gamma(crop, math.exp(chance.between(-strength, strength)))
        crop = F.adjust_contrast(crop, chance.between(1 - strength, 1 + strength))
        crop = F.adjust_saturation(crop, chance.between(1 - 2 * strength, 1 + strength))
        crop = F.adjust_hue(crop, chance.between(-0.05, 0.05) * min(1.0, strength / 0.3))
    if chance.happens(augmentation.blur):
        crop = F.gaussian_blur(crop, [7, 7], [chance.between(0.3, 1.5)])
    if augmentation.noise > 0:
        amount = chance.between(0, augmentation.noise)
        crop = crop + amount * torch.randn(crop.shape, generator=chance.generator)
    return crop.clamp(0, 1)


class _Chance:
    """Random decisions."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def between(self, low: float | int, high: float | int) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def happens(self, probability: float | int) -> bool:
        return float(torch.rand((), generator=self.generator)) < probability

    def below(self, n: int) -> int:
        return int(torch.randint(n, (), generator=self.generator))
