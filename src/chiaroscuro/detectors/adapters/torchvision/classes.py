"""Class names of a model, without the background."""

from collections.abc import Sequence

from torch import nn

from chiaroscuro.core.errors import InputError
from chiaroscuro.detectors.adapters.torchvision.fitting import count_outputs
from chiaroscuro.detectors.commons.options import checked_names


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
