"""Checkpoints of torchvision's detectors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from chiaroscuro.core.errors import CheckpointError
from chiaroscuro.detectors.adapters.torchvision.builders import (
    build,
    builders,
    check_builder,
    published_weights,
)
from chiaroscuro.detectors.adapters.torchvision.fitting import (
    check_fit,
    count_outputs,
    name_classes,
    recognise,
)
from chiaroscuro.detectors.adapters.torchvision.settings import AS_IT_IS
from chiaroscuro.detectors.checkpoint import read_checkpoint, write_checkpoint


def save_checkpoint(
    path: Path | str,
    model: nn.Module,
    builder: str,
    class_names: Sequence[str],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Save a model so that ``load_detector(path)`` builds it again without further options.

    The file holds the weights, the builder, the class names, and what a state dict leaves out: the
    size that pictures are resized to, and the epsilon of the normalisation layers (0 in
    models that started from some of torchvision's weights, 1e-5 otherwise). Thresholds are not
    kept: a detector has its own score floor, and the builder's suppression.

    Args:
        path: ends in ``.safetensors``; an existing file is replaced in one step.
        model: of that builder, with other weights.
        builder: name in ``torchvision.models.detection``.
        class_names: of the foreground classes.
        about: further JSON values, such as what it was trained on.

    Raises:
        UnknownNameError: if torchvision has no such builder.
        CheckpointError: if the model is not of that builder, or the path has another suffix.
        InputError: if the class names do not fit the model.
    """
    state = model.state_dict()
    check_fit(state, check_builder(builder))
    stated: dict[str, Any] = {
        **(about or {}),
        "builder": builder,
        "class_names": name_classes(model, class_names)[0],
        "epsilon": {
            name: float(module.eps)
            for name, module in model.named_modules()
            if isinstance(getattr(module, "eps", None), (int, float))
        },
    }
    transform: Any = model.transform
    if transform.fixed_size is None and tuple(transform.min_size) != AS_IT_IS:
        stated |= {"min_size": transform.min_size[-1], "max_size": transform.max_size}
    write_checkpoint(path, state, stated)


def from_file(path: Path, builder: str | None) -> tuple[nn.Module, dict[str, Any], str]:
    """A model with the weights of a file, the detector options in that file, and the builder."""
    checkpoint = read_checkpoint(path)
    used = ("builder", "class_names", "epsilon", "min_size", "max_size")
    stated = {key: checkpoint.about[key] for key in used if key in checkpoint.about}
    epsilon = stated.pop("epsilon", {})
    stated_builder = stated.pop("builder", None)
    weights = checkpoint.state_dict
    if "detector" in checkpoint.about:
        raise CheckpointError(
            f"{path} holds weights of {checkpoint.about['detector']}, wanted those of "
            f"torchvision's {builder or 'detectors'}; give the path alone as the detector"
        )
    if stated_builder is not None and stated_builder not in builders():
        raise CheckpointError(
            f"{path} holds weights of {stated_builder}, which is no torchvision builder; try "
            f"load_detector({stated_builder!r}, weights={str(path)!r})"
        )
    try:
        builder = check_builder(builder or stated_builder or recognise(weights))
        model = build(builder, check_fit(weights, builder))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    model.load_state_dict(weights)
    for name, module in model.named_modules():
        if name in epsilon:
            module.eps = epsilon[name]
    published = published_weights(builder).get("DEFAULT")
    categories = published.meta["categories"] if published else ()
    if len(categories) > 2 and len(categories) == count_outputs(weights):  # one of torchvision's
        stated.setdefault("class_names", categories[1:])
    return model, stated, builder
