"""An object detection model of Transformers as a detector.

These networks report a fixed set of queries and need no non-maximum suppression. Every query above
the score floor is reported, with one class: so there is no ``without_nms``, and
``info.before_nms`` stays False.

Where every query of the decoder weighs all of the encoder's features (DETR, Conditional DETR,
DAB-DETR, Table Transformer), ``attend`` returns those weights.
"""

import inspect
import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from chiaroscuro.core.errors import DetectorOutputError, InputError
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.adapters.transformers.attention import (
    attention_maps,
    enlarged,
    keeping_attention,
    share_of_picture,
)
from chiaroscuro.detectors.commons.networks import device_of, evaluating
from chiaroscuro.detectors.commons.options import score_floor
from chiaroscuro.detectors.commons.placement import corners, pair, scaled_up
from chiaroscuro.detectors.commons.rows import Rows, kept_rows, to_proposals
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats


class TransformersDetector:
    """An object detection model of Transformers as a detector.

    Class vectors are the softmax without the no-object class where the model has one, else the
    sigmoid of every class.

    Args:
        model: a ``...ForObjectDetection``. It stays on its device, and keeps its training
            or evaluation mode.
        processor: its image processor. It gets uint8 pictures: floats are rounded to 1/255.
        min_score: the lowest score that is reported; 0.01 by default.
        name: its name in results; the model's class by default.

    Raises:
        InputError: if the model also needs a text.
    """

    def __init__(
        self, model: Any, processor: Any, *, min_score: float | None = None, name: str | None = None
    ) -> None:
        self._inputs = set(inspect.signature(model.forward).parameters)
        if "input_ids" in self._inputs:
            raise InputError(
                f"transformers: wanted a model whose only input is a picture, got "
                f"{type(model).__name__}, which also needs a text; wrap it in a function"
            )
        self.network, self._processor = model, processor
        names = model.config.id2label
        self.info = DetectorInfo(
            name=name or type(model).__name__,
            class_names=tuple(names.get(i, f"class {i}") for i in range(model.config.num_labels)),
            min_score=score_floor(min_score, 0.01),
            device=str(device_of(model)),
            any_size=False,  # queries and encoder attend to the whole picture
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in ``n 3 height width``; see :class:`~chiaroscuro.Detector`."""
        pictures = as_unit_floats(images.detach())
        if not len(pictures):
            return []
        with evaluating(self.network):
            output = self.network(**self._prepare(pictures))
        return [to_proposals(rows, self.info) for rows in self._rows(output, pictures)]

    def attend(
        self, image: Tensor
    ) -> tuple[Proposals, Callable[[int], Float32[Tensor, "height width"]]]:
        """Proposals, and the attention of the query behind each; see ``Attentive``.

        Before they are enlarged, the weights of a query sum to 1. The model uses eager attention
        meanwhile, since the faster kinds keep no weights; scores may differ from ``detect``'s by
        rounding.
        """
        picture = as_unit_floats(image.detach()[None])
        with evaluating(self.network), keeping_attention(self.network, self.info.name) as sizes:
            inputs = self._prepare(picture)
            output = self.network(**inputs, output_attentions=True)
        (rows,) = self._rows(output, picture)
        kept = kept_rows(rows, self.info)  # a row is a query
        maps = attention_maps(output, sizes[-1], self.network, self.info.name)[kept]
        shares, size = share_of_picture(inputs), pair(picture.shape[2:])
        proposals = to_proposals(rows.pick(kept), self.info)
        return proposals, lambda i: enlarged(maps[i : i + 1], *shares, size)[0]

    def _prepare(self, pictures: Tensor) -> dict[str, Tensor]:
        return prepared(pictures, self.network, self._processor, self._inputs)

    def _rows(self, output: Any, pictures: Tensor) -> list[Rows]:
        """Every query of every picture, with its best class."""
        boxes, n = getattr(output, "pred_boxes", None), len(pictures)
        if boxes is None or boxes.ndim != 3 or boxes.shape[::2] != (n, 4):
            raise DetectorOutputError(
                f"detector {self.info.name}: wanted pred_boxes of shape ({n}, queries, 4), got "
                f"{getattr(boxes, 'shape', None)}"
            )
        boxes = scaled_up(corners(boxes.float().cpu(), "cxcywh"), pair(pictures.shape[2:]))
        probabilities = self._class_probabilities(output)
        return [Rows.of_vectors(b, p) for b, p in zip(boxes, probabilities, strict=True)]

    def _class_probabilities(self, output: Any) -> Tensor:
        logits: Tensor = output.logits.float().cpu()
        n_classes = len(self.info.class_names)
        if logits.shape[2] == n_classes + 1:  # the last is "no object"
            return logits.softmax(dim=2)[..., :-1]
        if logits.shape[2] == n_classes:
            return logits.sigmoid()
        raise DetectorOutputError(
            f"detector {self.info.name}: wanted logits of its {n_classes} classes (and no-object), "
            f"got {logits.shape[2]}"
        )


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
