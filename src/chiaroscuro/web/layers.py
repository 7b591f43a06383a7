"""Maps as transparent pictures, which the page lays over a painting."""

import torch
from starlette.responses import Response
from torch import Tensor

from chiaroscuro.figures.colours import Scale
from chiaroscuro.figures.encode import png
from chiaroscuro.figures.legends import difference_scale
from chiaroscuro.metrics.difference import MapDifference

_LONGER_PX = 640  # no map is finer than its masks' cells


def map_layer(saliency: Tensor, standard_error: Tensor, scale: Scale) -> bytes:
    """A map as PNG, clear where its standard error does not support it.

    Args:
        saliency: ``height width``, raw.
        standard_error: of its values.
        scale: of its colours.
    """
    return png(scale.of_map(_reduced(saliency), _reduced(standard_error)))


def difference_layer(difference: MapDifference) -> bytes:
    """A difference of two maps in standard errors as PNG, clear where it may be due to chance."""
    return png(difference_scale(difference).of_map(_reduced(difference.in_errors)))


def jpeg_response(content: bytes, max_age_s: int = 3600) -> Response:
    """A JPEG that the browser keeps."""
    headers = {"cache-control": f"private, max-age={max_age_s}"}
    return Response(content, media_type="image/jpeg", headers=headers)


def _reduced(values: Tensor) -> Tensor:
    scale = min(1.0, _LONGER_PX / max(values.shape))
    size = [max(1, round(side * scale)) for side in values.shape]
    small = torch.nn.functional.interpolate(values[None, None].float(), size=size, mode="area")
    return small[0, 0]
