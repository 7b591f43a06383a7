"""Losses that pass over boxes to ignore, which torchvision's models know nothing of.

What lies mostly in such a box, and overlaps no annotated object, is neither object nor background.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.detectors.adapters.torchvision.settings import is_rcnn

INSIDE = 0.5  # share of an anchor or proposal in a box to ignore, from which it is passed over
OBJECT = 0.3  # IoU with an annotated object from which it is not
_CERTAIN = 50.0  # logit


@contextmanager
def ignoring(model: Any, ignored: Sequence[Tensor]) -> Iterator[None]:
    """The model in training, whose next losses pass over boxes ``n 4`` per picture, in its pixels.

    R-CNN: such anchors and proposals get the label -1, which both samplers pass over. RetinaNet,
    FCOS and SSD: they become certain background, which costs nothing and has no gradient.
    """
    with ExitStack() as undo:
        if not any(len(one) for one in ignored):
            yield
            return
        resized: list[Tensor] = []

        def keep(_module: Any, inputs: tuple[Any, ...], output: tuple[Any, Any]) -> None:
            resized.clear()
            for one, image, size in zip(ignored, inputs[0], output[0].image_sizes, strict=True):
                factors = [new / old for new, old in zip(size, image.shape[-2:], strict=True)]
                resized.append(one * one.new_tensor([factors[1], factors[0]] * 2))

        undo.callback(model.transform.register_forward_hook(keep).remove)
        if is_rcnn(model):
            undo.enter_context(_replaced(model.rpn, "assign_targets_to_anchors", _rpn(resized)))
            undo.enter_context(
                _replaced(model.roi_heads, "assign_targets_to_proposals", _heads(resized))
            )
        else:
            undo.enter_context(_replaced(model, "compute_loss", _one_stage(model, resized)))
        yield


@contextmanager
def _replaced(
    owner: Any, name: str, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """A method of an object, wrapped for a while."""
    setattr(owner, name, wrapped(getattr(owner, name)))
    try:
        yield
    finally:
        delattr(owner, name)  # the class has it


def _rpn(ignored: list[Tensor]) -> Callable[[Any], Any]:
    def wrapped(assign: Any) -> Any:
        def assigned(anchors: list[Tensor], targets: list[Any]) -> tuple[list[Tensor], Any]:
            labels, matched = assign(anchors, targets)
            known = [target["boxes"] for target in targets]
            for label, one, area, objects in zip(labels, anchors, ignored, known, strict=True):
                label[(label == 0) & passed_over(one, area, objects)] = -1
            return labels, matched

        return assigned

    return wrapped


def _heads(ignored: list[Tensor]) -> Callable[[Any], Any]:
    def wrapped(assign: Any) -> Any:
        def assigned(
            proposals: list[Tensor], known: list[Tensor], classes: list[Tensor]
        ) -> tuple[Any, list[Tensor]]:
            numbers, labels = assign(proposals, known, classes)
            for label, one, area, objects in zip(labels, proposals, ignored, known, strict=True):
                label[(label == 0) & passed_over(one, area, objects)] = -1
            return numbers, labels

        return assigned

    return wrapped


def _one_stage(model: Any, ignored: list[Tensor]) -> Callable[[Any], Any]:
    from torchvision.models.detection.ssd import SSD

    def wrapped(compute: Any) -> Any:
        def computed(targets: list[Any], outputs: Any, anchors: list[Tensor], *rest: Any) -> Any:
            logits = outputs["cls_logits"]
            background = torch.full_like(logits[0, 0], 0.0 if isinstance(model, SSD) else -_CERTAIN)
            if isinstance(model, SSD):
                background[0] = _CERTAIN
            over = torch.stack(
                [
                    passed_over(one, area, target["boxes"])
                    for one, area, target in zip(anchors, ignored, targets, strict=True)
                ]
            )
            masked = torch.where(over[..., None], background, logits)
            return compute(targets, {**outputs, "cls_logits": masked}, anchors, *rest)

        return computed

    return wrapped


def passed_over(candidates: Tensor, ignored: Tensor, objects: Tensor) -> Tensor:
    """Which candidates ``n 4`` lie mostly in a box to ignore, and overlap no object; ``n``."""
    if not len(ignored):
        return torch.zeros(len(candidates), dtype=torch.bool, device=candidates.device)
    inside = boxes.share_inside(candidates, ignored).amax(dim=1) >= INSIDE
    if len(objects):
        inside &= boxes.iou(candidates, objects).amax(dim=1) < OBJECT
    return inside
