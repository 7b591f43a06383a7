"""Detection networks by name.

A *builder* is a function of ``torchvision.models.detection``, such as ``fasterrcnn_resnet50_fpn``,
or one of ours (``faces.BUILDERS``).
"""

import http.client
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chiaroscuro.core.errors import CheckpointError, UnknownNameError


def builders() -> list[str]:
    """Names of all builders of the installed torchvision, and of ours."""
    from torchvision.models import detection, list_models

    return [*list_models(module=detection), *_ours()]


def _ours() -> Mapping[str, Callable[[int], nn.Module]]:
    from chiaroscuro.detectors.adapters.torchvision.faces import BUILDERS

    return BUILDERS


def check_builder(name: str) -> str:
    """The name, if it is a builder's."""
    if name not in builders():
        raise UnknownNameError("torchvision builder", name, builders())
    return name


def published_weights(builder: str) -> Mapping[str, Any]:
    """Torchvision's own weights of a builder by name, ``DEFAULT`` among them; none of ours."""
    from torchvision.models import get_model_weights

    if builder in _ours():
        return {}
    members: Mapping[str, Any] = get_model_weights(builder).__members__
    return members


def build(builder: str, n_outputs: int) -> nn.Module:
    """The builder's network with random weights; ``n_outputs`` counts the background class."""
    from torchvision.models import get_model

    if builder in _ours():
        return _ours()[builder](n_outputs).float()
    model: nn.Module = get_model(
        builder, weights=None, weights_backbone=None, num_classes=n_outputs
    )
    return model.float()


def replace_head(model: Any, other: Any) -> None:
    """Give a model the class scores of another model of its builder, for other classes.

    Layers whose size depends on the number of classes are replaced; all others stay.
    """
    if hasattr(model, "roi_heads"):
        model.roi_heads.box_predictor = other.roi_heads.box_predictor
        return
    new, weights = other.head.classification_head, model.head.classification_head.state_dict()
    fitting = {n: v for n, v in new.state_dict().items() if weights[n].shape != v.shape}
    new.load_state_dict(weights | fitting)
    model.head.classification_head = new


def download(builder: str, weights: str) -> nn.Module:
    """The builder's network with weights of torchvision, downloaded on first use."""
    from torchvision.models import get_model

    published = published_weights(builder)[weights]
    try:
        model: nn.Module = get_model(builder, weights=published)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        raise CheckpointError(
            f"torchvision/{builder}: its weights could not be downloaded from {published.url} "
            f"({error}). They are downloaded once, with a network; without one, put that file into "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}, or give weights=PATH of a file you "
            "have, or weights=None for a random network to experiment with"
        ) from error
    return model
