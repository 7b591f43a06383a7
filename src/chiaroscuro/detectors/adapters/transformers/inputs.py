"""Pictures as inputs of a model of Transformers."""

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn


def prepared(
    pictures: Tensor, network: Any, processor: Any, names: Collection[str]
) -> dict[str, Tensor]:
    """Those of the model's inputs (``names``) that its processor makes of pictures in [0, 1]."""
    on_device = getattr(processor, "backend", "") == "torchvision"
    given = (pictures.to(network.device if on_device else "cpu") * 255).round()
    encoded = processor(
        images=list(given.clamp(0, 255).to(torch.uint8)),
        return_tensors="pt",
        input_data_format="channels_first",  # a picture may be 1 or 3 pixels wide
    )
    return {
        name: value.to(network.device, network.dtype if value.is_floating_point() else None)
        for name, value in _in_windows(dict(encoded), _window(network.config)).items()
        if name in names
    }


def _window(config: Any) -> int:
    """Of which sides must be multiples, where a backbone cuts pictures into windows (LW-DETR)."""
    backbone = getattr(config, "backbone_config", None)
    side = getattr(backbone, "num_windows_side", None) or getattr(backbone, "num_windows", None)
    patch = getattr(backbone, "patch_size", None)
    return side * patch if isinstance(side, int) and isinstance(patch, int) else 1


def _in_windows(encoded: dict[str, Tensor], multiple: int) -> dict[str, Tensor]:
    """The inputs, enlarged until whole windows fit; boxes are fractions and do not change."""
    pixels = encoded["pixel_values"]
    size = [math.ceil(side / multiple) * multiple for side in pixels.shape[2:]]
    if size == list(pixels.shape[2:]):
        return encoded
    enlarged = {"pixel_values": nn.functional.interpolate(pixels, size, mode="bilinear")}
    if (mask := encoded.get("pixel_mask")) is not None:
        enlarged["pixel_mask"] = nn.functional.interpolate(mask[:, None].float(), size)[:, 0].long()
    return encoded | enlarged
