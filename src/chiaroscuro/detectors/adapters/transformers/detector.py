"""Object detectors of Hugging Face Transformers: the DETR family, YOLOS, RT-DETR, D-FINE, LW-DETR.

By the name of a model on the hub, by a folder that ``save_pretrained`` wrote, or a model that the
caller already holds. Pictures are prepared by the model's own image processor.

These networks report a fixed set of queries and need no non-maximum suppression. All queries above
the score floor are reported, one class each: nothing is withheld, so there is no ``without_nms``,
and ``info.before_nms`` stays False.

Where every query of the decoder weighs all of the encoder's features (DETR, Conditional DETR,
DAB-DETR, Table Transformer), ``attend`` tells how.
"""

import importlib.util
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    MissingDependencyError,
    UnsupportedMethodError,
)
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.checkpoint import named_by_content
from chiaroscuro.detectors.frames import Frame, over_picture, pair
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats
from chiaroscuro.detectors.registry import DetectorSource
from chiaroscuro.detectors.rows import Rows, kept_rows, to_proposals
from chiaroscuro.detectors.torch_modules import evaluating, pick_device

_INSTALL = "pip install 'chiaroscuro[transformers]'"
_HUB_TIMEOUT = 5  # seconds until a hub that does not answer counts as out of reach


class TransformersDetector:
    """An object detection model of Transformers as a detector.

    Class vectors are the softmax without the no-object class where the model has one, else the
    sigmoid of every class.

    Args:
        model: a ``...ForObjectDetection``. It stays on its device, and after every ``detect`` is in
            training or evaluation mode as before.
        processor: its image processor. It gets uint8 pictures: floats are rounded to 1/255.
        min_score: the lowest score that is reported; 0.01 by default.
        name: what results call it; the model's class by default.

    Raises:
        InputError: if the model wants a text beside the picture.
    """

    def __init__(
        self, model: Any, processor: Any, *, min_score: float | None = None, name: str | None = None
    ) -> None:
        self._inputs = set(inspect.signature(model.forward).parameters)
        if "input_ids" in self._inputs:
            raise InputError(
                f"transformers: wanted a model that needs a picture only, got "
                f"{type(model).__name__}, which is asked in words; wrap it in a function"
            )
        self.network, self._processor = model, processor
        names = model.config.id2label
        self.info = DetectorInfo(
            name=name or type(model).__name__,
            class_names=tuple(names.get(i, f"class {i}") for i in range(model.config.num_labels)),
            min_score=0.01 if min_score is None else min_score,
            device=str(model.device),
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in ``n 3 height width``; see :class:`~chiaroscuro.Detector`.

        At most 300 proposals a picture, the best of them.

        Raises:
            DetectorOutputError: if the model's output is no logits and boxes of its classes.
        """
        pictures = as_unit_floats(images.detach())
        if not len(pictures):
            return []
        with evaluating(self.network):
            output = self.network(**self._prepare(pictures))
        frame = _frame(pictures)
        return [
            to_proposals(rows, frame, self.info, nms_iou=None)
            for rows in self._rows(output, len(pictures), frame)
        ]

    def attend(
        self, image: Tensor
    ) -> tuple[Proposals, Callable[[int], Float32[Tensor, "height width"]]]:
        """Proposals, and where the query behind each looked; see ``Attentive``.

        Before they are enlarged, the weights of a query sum to 1. The model is set to eager
        attention meanwhile, since the faster kinds keep no weights; scores may differ from
        ``detect``'s by rounding.

        Raises:
            UnsupportedMethodError: if its queries do not weigh the whole picture.
            DetectorOutputError: if the model's output is no logits and boxes of its classes.
        """
        projection = self._projection()
        picture = as_unit_floats(image.detach()[None])
        with evaluating(self.network), _eager(self.network), _sizes_out_of(projection) as sizes:
            inputs = self._prepare(picture)
            output = self.network(**inputs, output_attentions=True)
        frame = _frame(picture)
        (rows,) = self._rows(output, 1, frame)
        kept = kept_rows(rows, self.info, nms_iou=None)  # a row is a query
        attention = self._attention(output, *sizes[-1])[kept]
        proposals = to_proposals(rows.pick(kept), frame, self.info, nms_iou=None)
        shares = _share_of_picture(inputs)
        return proposals, lambda i: _enlarged(attention[i : i + 1], *shares, frame.picture)[0]

    def _projection(self) -> nn.Module:
        """The layer that hands the features to the encoder, of a model that can be asked."""
        if any("Deformable" in type(module).__name__ for module in self.network.modules()):
            raise self._not_attentive(
                "has deformable attention: a query looks at a few sampled points only, so most of "
                "the picture has no weight"
            )
        layers: dict[str, nn.Module] = dict(self.network.named_modules())
        for name, layer in layers.items():
            if name.split(".")[-1] == "input_projection":
                return layer
        raise self._not_attentive("has no decoder whose queries look at the picture's features")

    def _attention(
        self, output: Any, height: int, width: int
    ) -> Float32[Tensor, "queries {height} {width}"]:
        """Of every query over the cells of the feature map, mean over the last layer's heads."""
        layers = getattr(output, "cross_attentions", None)
        if not layers or layers[-1].ndim != 4 or layers[-1].shape[3] != height * width:
            raise self._not_attentive("keeps no weights of its queries over the feature map")
        mean: Tensor = layers[-1][0].float().mean(dim=0).cpu()
        return mean.reshape(-1, height, width)

    def _not_attentive(self, why: str) -> UnsupportedMethodError:
        return UnsupportedMethodError(
            "attention",
            f"{self.info.name}, a {type(self.network).__name__}, {why}; wanted a DETR, "
            "Conditional DETR, DAB-DETR or Table Transformer",
        )

    def _rows(self, output: Any, n: int, frame: Frame) -> list[Rows]:
        boxes, probabilities = self._boxes(output, n, frame), self._class_probabilities(output)
        return [Rows.of_vectors(b, p) for b, p in zip(boxes, probabilities, strict=True)]

    def _prepare(self, pictures: Tensor) -> dict[str, Tensor]:
        """The model's inputs: pixels, and a mask of padding where its processor makes one."""
        on_device = getattr(self._processor, "backend", "") == "torchvision"
        given = (pictures.to(self.network.device if on_device else "cpu") * 255).round()
        encoded = self._processor(
            images=list(given.clamp(0, 255).to(torch.uint8)),
            return_tensors="pt",
            input_data_format="channels_first",  # a picture may be 1 or 3 pixels wide
        )
        encoded = _in_windows(dict(encoded), _window(self.network.config))
        return {
            name: value.to(
                self.network.device, self.network.dtype if value.is_floating_point() else None
            )
            for name, value in encoded.items()
            if name in self._inputs
        }

    def _boxes(self, output: Any, n: int, frame: Frame) -> Tensor:
        boxes = getattr(output, "pred_boxes", None)
        if boxes is None or boxes.ndim != 3 or boxes.shape[::2] != (n, 4):
            raise DetectorOutputError(
                f"detector {self.info.name}: wanted pred_boxes of shape ({n}, queries, 4), got "
                f"{getattr(boxes, 'shape', None)}"
            )
        middle, size = boxes.float().cpu().split(2, dim=2)
        height, width = frame.picture
        corners = torch.cat([middle - size / 2, middle + size / 2], dim=2)
        return corners * torch.tensor([width, height, width, height])

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


def _frame(pictures: Tensor) -> Frame:
    size = pair(pictures.shape[2:])
    return Frame.stretch(size, size)


def _window(config: Any) -> int:
    """What sides must be a multiple of, where a backbone cuts pictures into windows (LW-DETR)."""
    backbone = getattr(config, "backbone_config", None)
    side = getattr(backbone, "num_windows_side", None) or getattr(backbone, "num_windows", None)
    patch = getattr(backbone, "patch_size", None)
    return side * patch if isinstance(side, int) and isinstance(patch, int) else 1


def _in_windows(encoded: dict[str, Tensor], multiple: int) -> dict[str, Tensor]:
    """The inputs, enlarged until whole windows fit; boxes are fractions and stay what they are."""
    pixels = encoded["pixel_values"]
    size = [math.ceil(side / multiple) * multiple for side in pixels.shape[2:]]
    if size == list(pixels.shape[2:]):
        return encoded
    enlarged = {"pixel_values": nn.functional.interpolate(pixels, size, mode="bilinear")}
    if (mask := encoded.get("pixel_mask")) is not None:
        enlarged["pixel_mask"] = nn.functional.interpolate(mask[:, None].float(), size)[:, 0].long()
    return encoded | enlarged


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """The model with attention that keeps its weights; its backbone is left alone."""
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
    """Height and width of what the layer gives, one entry a call."""
    sizes: list[tuple[int, int]] = []
    hook = layer.register_forward_hook(lambda _, __, given: sizes.append(pair(given.shape[-2:])))
    try:
        yield sizes
    finally:
        hook.remove()


def _share_of_picture(inputs: dict[str, Tensor]) -> tuple[float, float]:
    """How much of the input's height and width the picture takes up, from the top left."""
    mask = inputs.get("pixel_mask")
    if mask is None:
        return 1.0, 1.0
    real = mask[0].bool()
    return float(real.any(dim=1).float().mean()), float(real.any(dim=0).float().mean())


def _enlarged(
    maps: Float32[Tensor, "n h w"], share_down: float, share_across: float, size: tuple[int, int]
) -> Float32[Tensor, "n height width"]:
    """The picture's part of maps of the whole input, in pixels of the picture.

    Cells of padding alone are cut off first: their zeros would darken the picture's edge.
    """
    rows, columns = maps.shape[1] * share_down, maps.shape[2] * share_across
    touched = maps[:, : math.ceil(rows - 1e-4), : math.ceil(columns - 1e-4)]  # less rounding
    return over_picture(touched, (size[0] / rows, size[1] / columns), size)


def _load(
    rest: str | nn.Module,
    *,
    processor: Any = None,
    device: str = "auto",
    min_score: float | None = None,
) -> TransformersDetector:
    missing = _missing()
    if missing:
        raise MissingDependencyError(f"transformers: {missing}")
    if isinstance(rest, str):
        return _from_pretrained(rest, processor, device, min_score)
    model: Any = rest
    if device not in ("auto", str(model.device)):
        raise InputError(
            f"device: the given model is on {model.device}; wanted device='auto', got {device!r}; "
            f"move it first with model.to({device!r})"
        )
    if processor is None:
        if not model.name_or_path:
            raise InputError(
                f"transformers: wanted processor= beside a {type(model).__name__}, the image "
                "processor it was trained with, such as AutoImageProcessor.from_pretrained(...)"
            )
        processor = _pretrained("AutoImageProcessor", model.name_or_path)
    return TransformersDetector(model, processor, min_score=min_score)


def _from_pretrained(
    name: str, processor: Any, device: str, min_score: float | None
) -> TransformersDetector:
    if not name:
        raise InputError(
            "transformers: wanted the name of a model on the hub or a folder, such as "
            "transformers/facebook/detr-resnet-50"
        )
    if processor is None:
        processor = _pretrained("AutoImageProcessor", name)
    model, loading = _pretrained("AutoModelForObjectDetection", name, output_loading_info=True)
    lost = sorted(k for k in loading["missing_keys"] if not k.endswith("num_batches_tracked"))
    if lost:
        raise CheckpointError(
            f"{name}: wanted weights for the whole model, but {len(lost)} are not there, such as "
            f"{lost[0]}, and would be random; load the model yourself and pass it if that is meant"
        )
    return TransformersDetector(
        model.float().to(pick_device(device)),
        processor,
        min_score=min_score,
        name=f"transformers/{named_by_content(name) if Path(name).is_dir() else name}",
    )


def _pretrained(kind: str, name: str, **options: Any) -> Any:
    import transformers

    away = "" if Path(name).is_dir() else _away_from_the_hub()
    try:
        # code that a repository brings along is never run
        return getattr(transformers, kind).from_pretrained(
            name, trust_remote_code=False, local_files_only=bool(away), **options
        )
    except ImportError as error:
        raise MissingDependencyError(f"{name} needs another package: {error}") from error
    except Exception as error:  # offline, absent, damaged, no detector: all errors of their own
        if away:
            raise CheckpointError(
                f"transformers/{name} is no folder here, was not downloaded before, and the hub "
                f"cannot be reached ({away}): a model of the hub needs a network the first time"
            ) from error
        raise CheckpointError(
            f"{name} cannot be loaded as an object detector; wanted a model of the hub "
            f"(https://huggingface.co, which needs a network the first time) or a folder that "
            f"save_pretrained of the model and of its image processor wrote, got: {error}"
        ) from error


def _away_from_the_hub() -> str:
    """Why the hub cannot be reached, without the hub's own retries; empty where it can."""
    from huggingface_hub import constants, utils

    hub: Any = utils
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        hub.get_session().head(constants.ENDPOINT, timeout=_HUB_TIMEOUT)
    except Exception as error:  # of whichever client the hub's package uses
        return f"{constants.ENDPOINT}: {error or type(error).__name__}"
    return ""


def _wraps(module: nn.Module) -> bool:
    return any(
        kind.__module__.startswith("transformers.") and kind.__name__.endswith("ForObjectDetection")
        for kind in type(module).__mro__
    )


def _missing() -> str | None:
    if importlib.util.find_spec("transformers") is None:
        return f"needs Transformers: {_INSTALL}"
    return None


source = DetectorSource(
    name="transformers",
    summary="object detectors of Hugging Face Transformers: DETR, RT-DETR, YOLOS, D-FINE, LW-DETR",
    load=_load,
    missing=_missing,
    examples=("transformers/facebook/detr-resnet-50", "transformers/PekingU/rtdetr_r50vd"),
    wraps=_wraps,
)
