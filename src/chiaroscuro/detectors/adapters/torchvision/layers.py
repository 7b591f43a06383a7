"""Layers of torchvision's detectors that gradient and activation methods read."""

from typing import Any

from torch import nn


def feature_layers(network: Any) -> tuple[str, ...]:
    """Layers that the class scores are read from; none where the architecture is unknown."""
    backbone: Any = getattr(network, "backbone", None)
    if isinstance(fpn := getattr(backbone, "fpn", None), nn.Module):
        levels = _children("backbone.fpn.layer_blocks", fpn.layer_blocks)
        return levels + _children("backbone.fpn.extra_blocks", fpn.extra_blocks)
    if isinstance(extra := getattr(backbone, "extra", None), nn.ModuleList):
        first: tuple[str, ...] = ("backbone.features",)
        if all(isinstance(part, nn.Sequential) for part in backbone.features):  # SSDlite
            first = _children("backbone.features", backbone.features)
        return first + _children("backbone.extra", extra)
    return ("backbone",) if isinstance(backbone, nn.Sequential) else ()


def excitation_layer(network: nn.Module) -> str:
    """An early layer, of stride 4, where excitation backprop stops; empty if none is known."""
    names = dict(network.named_modules())
    if "backbone.body.layer1" in names:  # ResNet
        return "backbone.body.layer1"
    if "backbone.scale_weight" in dict(network.named_parameters()):  # VGG
        return "backbone.features.15"
    if "backbone.body.0" in names:  # MobileNet
        return "backbone.body.2"
    return "backbone.features.0" if "backbone.features.0" in names else ""


def _children(name: str, parent: Any) -> tuple[str, ...]:
    """Full names of a module's children; none for None."""
    return () if parent is None else tuple(f"{name}.{n}" for n, _ in parent.named_children())
