"""Which builder's network a state dict is of, where it differs, and the names of its classes."""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import CheckpointError, InputError
from chiaroscuro.detectors.adapters.torchvision.builders import build, builders
from chiaroscuro.detectors.commons.options import checked_names

# Last layers of the one-stage heads: class scores (anchors x classes rows) and boxes (anchors x 4).
_ONE_STAGE_HEADS = (
    ("classification_head.cls_logits", "regression_head.bbox_reg"),  # RetinaNet, FCOS
    ("classification_head.module_list.0", "regression_head.module_list.0"),  # SSD
    ("classification_head.module_list.0.1", "regression_head.module_list.0.1"),  # SSDlite
)


def count_outputs(state_dict: Mapping[str, Tensor]) -> int | None:
    """Number of class scores per box, with the background; None if the head is unknown."""
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
    """The one builder with the parameter names and shapes of a state dict."""
    if count_outputs(state_dict) is None:
        raise CheckpointError(
            "wanted weights of a torchvision detector, got names like "
            f"{', '.join(list(state_dict)[:3])}: the network is another, and weights alone do not "
            "show which; build it in Python, load the weights, and give a function that returns "
            "its boxes ('module:function'), or export it to ONNX"
        )
    found = {name: differences(state_dict, name) for name in builders()}
    fitting = [name for name in found if not found[name]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CheckpointError(
            f"these weights fit {' and '.join(fitting)}, which differ only in what a file of "
            "weights does not hold (size of pictures, thresholds); give builder='...'"
        )
    nearest = min(found, key=lambda name: len(found[name]))
    raise CheckpointError(
        f"wanted weights of a torchvision builder, got some that fit none; nearest is {nearest}: "
        f"{_first(found[nearest])}; for a network of your own, build it, load the state dict, and "
        "give load_detector the model"
    )


def check_fit(state_dict: Mapping[str, Tensor], builder: str) -> int:
    """Number of class outputs of a state dict of that builder."""
    different = differences(state_dict, builder)
    n_outputs = count_outputs(state_dict)
    if different or n_outputs is None:
        raise CheckpointError(
            f"wanted weights of torchvision's {builder}, got {_whose(state_dict)}: "
            f"{_first(different)}; "
            "give the builder that they belong to"
        )
    return n_outputs


def differences(state_dict: Mapping[str, Tensor], builder: str) -> list[str]:
    """Where a state dict's names and shapes differ from the builder's; empty if it can be loaded.

    Old names that torchvision's modules still accept count as equal; so do batch counters, which
    frozen batch norms leave out.
    """
    skeleton = _skeleton(builder, count_outputs(state_dict) or 2)
    wanted = skeleton.state_dict()
    got = {name: torch.empty(value.shape, device="meta") for name, value in state_dict.items()}
    got |= {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    try:
        skeleton.load_state_dict(got)
    except RuntimeError:  # its message lists everything; ours lists the first few
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
    """The builder's network with shapes but without values: fast, and almost no memory."""
    with torch.device("meta"):
        return build(builder, n_outputs)


def _first(different: list[str]) -> str:
    more = len(different) - 3
    return ", ".join(different[:3]) + (f" and {more} more" if more > 0 else "")


def name_classes(
    model: nn.Module, class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], int]:
    """Foreground class names, and the model's label of the first of them."""
    from torchvision.models.detection import FCOS, RetinaNet

    n_outputs = count_outputs(model.state_dict())
    every_output_may_count = isinstance(model, (FCOS, RetinaNet))
    if class_names is None:
        if n_outputs is None:
            raise InputError(
                "class_names: this model has another head than torchvision's; give them"
            )
        if n_outputs == 1 and every_output_may_count:
            return ("face",), 0
        if n_outputs == 2:
            return ("face",), 1
        return tuple(f"class {label}" for label in range(1, n_outputs)), 1
    names = without_background(class_names)
    if n_outputs is not None and len(names) != n_outputs - 1:
        if every_output_may_count and len(names) == n_outputs:
            return names, 0
        raise InputError(
            f"class_names: wanted {n_outputs - 1}, one per foreground class of the model, got "
            f"{len(names)}: {', '.join(names[:5])}"
        )
    return names, 1


def without_background(class_names: Sequence[str]) -> tuple[str, ...]:
    """The names, checked, without torchvision's ``__background__``."""
    names = checked_names(class_names)
    return checked_names(names[1:]) if names[0] == "__background__" else names
