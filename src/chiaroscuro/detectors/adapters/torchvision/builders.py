"""Torchvision's detection networks by name, and from the state dict which of them it is.

A *builder* is a function of ``torchvision.models.detection``, such as ``fasterrcnn_resnet50_fpn``.
"""

import http.client
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import CheckpointError, UnknownNameError

# Last layers of the one-stage heads: class scores (anchors x classes rows) and boxes (anchors x 4).
_ONE_STAGE_HEADS = (
    ("classification_head.cls_logits", "regression_head.bbox_reg"),  # RetinaNet, FCOS
    ("classification_head.module_list.0", "regression_head.module_list.0"),  # SSD
    ("classification_head.module_list.0.1", "regression_head.module_list.0.1"),  # SSDlite
)


def builders() -> list[str]:
    """Names of all builders of the installed torchvision."""
    from torchvision.models import detection, list_models

    return list(list_models(module=detection))


def check_builder(name: str) -> str:
    """The name, if there is such a builder.

    Raises:
        UnknownNameError: if there is none.
    """
    if name not in builders():
        raise UnknownNameError("torchvision builder", name, builders())
    return name


def published_weights(builder: str) -> Mapping[str, Any]:
    """Torchvision's own weights of a builder by name, ``DEFAULT`` among them."""
    from torchvision.models import get_model_weights

    members: Mapping[str, Any] = get_model_weights(builder).__members__
    return members


def build(builder: str, n_outputs: int) -> nn.Module:
    """The builder's network with random weights; ``n_outputs`` counts the background class."""
    from torchvision.models import get_model

    model: nn.Module = get_model(
        builder, weights=None, weights_backbone=None, num_classes=n_outputs
    )
    return model.float()


def replace_head(model: Any, other: Any) -> None:
    """Give a model the class scores of another of its builder, with another number of classes.

    Layers whose size depends on that number are the other's; all else stays.
    """
    if hasattr(model, "roi_heads"):
        model.roi_heads.box_predictor = other.roi_heads.box_predictor
        return
    new, weights = other.head.classification_head, model.head.classification_head.state_dict()
    fitting = {n: v for n, v in new.state_dict().items() if weights[n].shape != v.shape}
    new.load_state_dict(weights | fitting)
    model.head.classification_head = new


def download(builder: str, weights: str) -> nn.Module:
    """The builder's network with weights of torchvision, downloaded on first use.

    Raises:
        CheckpointError: if they cannot be downloaded.
    """
    from torchvision.models import get_model

    published = published_weights(builder)[weights]
    try:
        model: nn.Module = get_model(builder, weights=published)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        raise CheckpointError(
            f"torchvision/{builder}: its weights could not be had from {published.url} ({error}). "
            "They are downloaded once, with a network; without one, put that file into "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}, or give weights=PATH of a file you "
            "have, or weights=None for a random network to experiment with"
        ) from error
    return model


def count_outputs(state_dict: Mapping[str, Tensor]) -> int | None:
    """Number of class scores a box, the background's among them; None if the head is unknown."""
    rows = {name: value.shape[0] for name, value in state_dict.items() if value.ndim}
    if (n_outputs := rows.get("roi_heads.box_predictor.cls_score.weight")) is not None:
        return n_outputs
    for classes, boxes in _ONE_STAGE_HEADS:
        anchors = rows.get(f"head.{boxes}.weight", 0) // 4
        scores = rows.get(f"head.{classes}.weight", 0)
        if anchors and scores and scores % anchors == 0:
            return scores // anchors
    return None


def recognise(state_dict: Mapping[str, Tensor]) -> str:
    """The one builder whose parameter names and shapes a state dict has.

    Raises:
        CheckpointError: if none fits (the message names the nearest and where it differs), or
            several do.
    """
    if count_outputs(state_dict) is None:
        raise CheckpointError(
            "wanted weights of a torchvision detector, got names like "
            f"{', '.join(list(state_dict)[:3])}: the network is another, and weights alone do not "
            "say which; build it in Python, load the weights, and give a function that returns its "
            "boxes ('module:function'), or export it to ONNX"
        )
    found = {name: differences(state_dict, name) for name in builders()}
    fitting = [name for name in found if not found[name]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CheckpointError(
            f"these weights fit {' and '.join(fitting)}, which differ only in what a file of "
            "weights does not hold (size of pictures, thresholds); say builder='...'"
        )
    nearest = min(found, key=lambda name: len(found[name]))
    raise CheckpointError(
        f"wanted weights of a torchvision builder, got some that fit none; nearest is {nearest}: "
        f"{_first(found[nearest])}; for a network of your own, build it, load the state dict, and "
        "give load_detector the model"
    )


def check_fit(state_dict: Mapping[str, Tensor], builder: str) -> int:
    """Number of class outputs of a state dict that is the builder's.

    Raises:
        CheckpointError: if it is not; the message names whose it is, and where it differs.
    """
    different = differences(state_dict, builder)
    n_outputs = count_outputs(state_dict)
    if different or n_outputs is None:
        raise CheckpointError(
            f"wanted weights of torchvision's {builder}, got {_whose(state_dict)}: "
            f"{_first(different)}; "
            "give the builder that they are of"
        )
    return n_outputs


def differences(state_dict: Mapping[str, Tensor], builder: str) -> list[str]:
    """Where a state dict's names and shapes are not the builder's; empty if it can be loaded.

    Names that torchvision has since changed are known to its modules and count as equal; so do
    batch counters, which frozen batch norms leave out.
    """
    skeleton = _skeleton(builder, count_outputs(state_dict) or 2)
    wanted = skeleton.state_dict()
    got = {name: torch.empty(value.shape, device="meta") for name, value in state_dict.items()}
    got |= {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    try:
        skeleton.load_state_dict(got)
    except RuntimeError:  # its message lists everything; ours the first few
        missing = [f"{name} is missing" for name in wanted if name not in got]
        unknown = [f"{name} is unknown" for name in got if name not in wanted]
        reshaped = [
            f"{name} has shape {tuple(value.shape)}, wanted {tuple(wanted[name].shape)}"
            for name, value in got.items()
            if name in wanted and value.shape != wanted[name].shape
        ]
        return reshaped + missing + unknown
    return []


def _whose(state_dict: Mapping[str, Tensor]) -> str:
    if count_outputs(state_dict) is None:
        return "others"
    fitting = [name for name in builders() if not differences(state_dict, name)]
    return f"those of {' or '.join(fitting)}" if fitting else "others"


@cache
def _skeleton(builder: str, n_outputs: int) -> nn.Module:
    """The builder's network with shapes but no numbers: quick to make, almost no memory."""
    with torch.device("meta"):
        return build(builder, n_outputs)


def _first(different: list[str]) -> str:
    more = len(different) - 3
    return ", ".join(different[:3]) + (f" and {more} more" if more > 0 else "")
