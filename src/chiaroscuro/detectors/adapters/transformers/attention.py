"""Where the queries of a DETR attend: its cross attention as maps over the picture."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float32
from torch import Tensor, nn

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.detectors.commons.placement import over_picture, pair


@contextmanager
def keeping_attention(model: nn.Module, name: str) -> Iterator[list[tuple[int, int]]]:
    """The model with weights of its attention; height and width of the features per call."""
    projection = _projection(model, name)
    with _eager(model), _sizes_out_of(projection) as sizes:
        yield sizes


def attention_maps(
    output: Any, size: tuple[int, int], model: nn.Module, name: str
) -> Float32[Tensor, "queries h w"]:
    """Of every query over the cells of the feature map, mean over the last layer's heads."""
    layers = getattr(output, "cross_attentions", None)
    if not layers or layers[-1].ndim != 4 or layers[-1].shape[3] != size[0] * size[1]:
        raise _not_attentive(model, name, "keeps no weights of its queries over the feature map")
    mean: Tensor = layers[-1][0].float().mean(dim=0).cpu()
    return mean.reshape(-1, *size)


def share_of_picture(inputs: dict[str, Tensor]) -> tuple[float, float]:
    """Share of the input's height and width that the picture fills, from the top left."""
    mask = inputs.get("pixel_mask")
    if mask is None:
        return 1.0, 1.0
    real = mask[0].bool()
    return float(real.any(dim=1).float().mean()), float(real.any(dim=0).float().mean())


def enlarged(
    maps: Float32[Tensor, "n h w"], share_down: float, share_across: float, size: tuple[int, int]
) -> Float32[Tensor, "n height width"]:
    """The picture's part of maps of the whole input, in pixels of the picture.

    Cells of padding alone are cut off first: their zeros would darken the picture's edge.
    """
    rows, columns = maps.shape[1] * share_down, maps.shape[2] * share_across
    touched = maps[:, : math.ceil(rows - 1e-4), : math.ceil(columns - 1e-4)]  # less rounding
    return over_picture(touched, (size[0] / rows, size[1] / columns), size)


def _projection(model: Any, name: str) -> nn.Module:
    """The layer that hands the features to the encoder."""
    if any("Deformable" in type(module).__name__ for module in model.modules()):
        raise _not_attentive(
            model,
            name,
            "has deformable attention: a query reads only a few sampled points, so most of the "
            "picture has no weight",
        )
    layers: dict[str, nn.Module] = dict(model.named_modules())
    for layer_name, layer in layers.items():
        if layer_name.split(".")[-1] == "input_projection":
            return layer
    raise _not_attentive(model, name, "has no decoder whose queries look at the picture's features")


def _not_attentive(model: nn.Module, name: str, why: str) -> UnsupportedMethodError:
    return UnsupportedMethodError(
        "attention",
        f"{name}, a {type(model).__name__}, {why}; wanted a DETR, Conditional DETR, DAB-DETR or "
        "Table Transformer",
    )


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """The model with attention that keeps its weights; its backbone is unchanged."""
    before = model.config._attn_implementation
    if before == "eager":
        yield
        return
    model.set_attn_implementation({"": "eager"})
    try:
        yield
    finally:
        model.set_attn_implementation({"": before})


@contextmanager
def _sizes_out_of(layer: nn.Module) -> Iterator[list[tuple[int, int]]]:
    """Height and width of the layer's output, one entry per call."""
    sizes: list[tuple[int, int]] = []
    hook = layer.register_forward_hook(lambda _, __, given: sizes.append(pair(given.shape[-2:])))
    try:
        yield sizes
    finally:
        hook.remove()
