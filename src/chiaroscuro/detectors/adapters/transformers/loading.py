"""Models of Transformers by name, from a folder, or given by the caller."""

from pathlib import Path
from typing import Any

from torch import nn

from chiaroscuro.core.errors import CheckpointError, InputError, MissingDependencyError
from chiaroscuro.core.install import install_hint
from chiaroscuro.detectors.adapters.transformers.detector import TransformersDetector
from chiaroscuro.detectors.checkpoint import named_by_content
from chiaroscuro.detectors.commons.networks import pick_device, refuse_move
from chiaroscuro.detectors.source import needs

is_missing = needs("transformers", f"needs Transformers: {install_hint('transformers')}")
_HUB_TIMEOUT = 5  # seconds without an answer, after which the hub counts as out of reach


def load(
    rest: str | nn.Module,
    *,
    processor: Any = None,
    device: str = "auto",
    min_score: float | None = None,
) -> TransformersDetector:
    """A detector from the name of a model on the hub, a folder, or a model."""
    if missing := is_missing():
        raise MissingDependencyError(f"transformers: {missing}")
    if isinstance(rest, str):
        return _from_pretrained(rest, processor, device, min_score)
    model: Any = rest
    refuse_move(model, device)
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
            f"{lost[0]}, and would be random; load the model yourself and pass it to accept that"
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
        # code of a repository is never run
        return getattr(transformers, kind).from_pretrained(
            name, trust_remote_code=False, local_files_only=bool(away), **options
        )
    except ImportError as error:
        raise MissingDependencyError(f"{name} needs another package: {error}") from error
    except Exception as error:  # offline, absent, damaged or no detector: each raises its own
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
    except Exception as error:  # of any HTTP client
        return f"{constants.ENDPOINT}: {error or type(error).__name__}"
    return ""
