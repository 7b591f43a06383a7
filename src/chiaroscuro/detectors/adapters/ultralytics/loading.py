"""Networks of Ultralytics from a file, a name, a description, or given by the caller."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chiaroscuro.core.errors import CheckpointError, InputError, MissingDependencyError
from chiaroscuro.core.install import install_hint
from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.detectors.adapters.ultralytics.detector import UltralyticsDetector
from chiaroscuro.detectors.checkpoint import named_by_content
from chiaroscuro.detectors.commons.networks import pick_device, refuse_move
from chiaroscuro.detectors.source import is_of_package, needs

is_missing = needs("ultralytics", f"needs Ultralytics (AGPL-3.0): {install_hint('ultralytics')}")


def load(
    rest: str | nn.Module, *, device: str = "auto", trust: bool = False, **options: Any
) -> UltralyticsDetector:
    """A detector from a name, a path or a module.

    Args:
        rest: a ``.pt`` or ``.yaml`` file, the name of published weights (downloaded to torch's
            cache), or a ``YOLO`` or ``DetectionModel``.
        device: where to put a network that is loaded.
        trust: a ``.pt`` file is a pickle. Without ``trust`` only the known classes of torch and
            Ultralytics are built from it. With ``trust`` everything in the file is built, and it
            may run any code on this machine; the same holds for the layers of a ``.yaml``.
        options: of :class:`UltralyticsDetector`.
    """
    if isinstance(rest, nn.Module):
        return _given(rest, device, options)
    suffix = Path(rest).suffix.lower()
    if suffix not in (".pt", ".yaml", ".yml") or "://" in rest:
        raise InputError(
            "ultralytics: wanted a file of weights, the name of published ones or a model "
            f"description, such as ultralytics/yolo11n.pt or ultralytics/yolo11n.yaml, got {rest!r}"
        )
    tasks = _import_tasks()
    with (
        PROCESS_WIDE,
        redirect_stdout(sys.stderr),
        nullcontext() if trust else _restricted(tasks, rest),
    ):
        network = _from_weights(tasks, rest, trust) if suffix == ".pt" else _new(tasks, rest)
    is_local = suffix == ".pt" and Path(rest).is_file()
    called = named_by_content(rest) if is_local else Path(rest).name
    options = {"name": f"ultralytics/{called}", **options}
    return UltralyticsDetector(network.float().to(pick_device(device)), **options)


def _given(module: nn.Module, device: str, options: dict[str, Any]) -> UltralyticsDetector:
    network = (
        module.model if is_of_package(module, "ultralytics", "Model") else module
    )  # a YOLO holds its network
    if not isinstance(network, nn.Module):
        raise InputError(
            f"ultralytics: wanted a YOLO with a torch network, got one with {network!r}; an "
            "exported model is loaded by its own path"
        )
    refuse_move(network, device)
    return UltralyticsDetector(network, **options)


@contextmanager
def _restricted(tasks: Any, rest: str) -> Iterator[None]:
    """Only known classes are built from files, and nothing in them is run as code."""
    if not hasattr(tasks, "SAFE_LOAD"):
        raise CheckpointError(
            f"{rest}: this Ultralytics cannot open models without running the code in them; "
            "wanted a newer one (pip install -U ultralytics), or trust=True if you trust the file"
        )
    own, known = tasks.SAFE_LOAD, torch.serialization.get_safe_globals()
    tasks.SAFE_LOAD = True
    try:
        yield
    finally:
        tasks.SAFE_LOAD = own
        torch.serialization.clear_safe_globals()  # else its classes stay allowed
        torch.serialization.add_safe_globals(known)


def _from_weights(tasks: Any, rest: str, trust: bool) -> Any:
    path = _find_weights(rest)
    try:
        if trust:
            content = torch.load(path, map_location="cpu", weights_only=False)
        else:
            content, _ = tasks.torch_safe_load(str(path), safe_only=True)
    except Exception as error:  # damage and refusals surface as almost any error
        raise CheckpointError(
            f"{rest} cannot be loaded: wanted weights that Ultralytics saved, holding nothing but "
            f"its own classes, got: {error}; if you trust the file, trust=True runs the code in it"
        ) from error
    network = None
    if isinstance(content, dict):
        network = content.get("ema") or content.get("model")
    if not isinstance(network, nn.Module) or not is_of_package(
        network, "ultralytics", "DetectionModel"
    ):
        raise CheckpointError(
            f"{rest}: wanted a detection network of Ultralytics, got {type(network).__name__}"
        )
    if not getattr(network, "args", None):
        network.args = content.get("train_args")
    return network


def _find_weights(rest: str) -> Path:
    """The file, downloaded first where it is the name of published weights."""
    if Path(rest).is_file():
        return Path(rest)
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if rest not in GITHUB_ASSETS_NAMES:
        raise CheckpointError(
            f"{rest} does not exist, nor do published weights of that name; wanted a path or a "
            "name such as yolo11n.pt"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / rest
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Path(attempt_download_asset(path))
    except Exception as error:  # no network: any error of the download
        raise CheckpointError(
            f"{rest} could not be downloaded ({error}); wanted a network, or the file itself: copy "
            f"it here and give its path"
        ) from error


def _new(tasks: Any, rest: str) -> Any:
    """A network with random weights from its description."""
    try:
        description = tasks.yaml_model_load(rest)
        is_rtdetr = description["head"][-1][2] == "RTDETRDecoder"
        kind = tasks.RTDETRDetectionModel if is_rtdetr else tasks.DetectionModel
        return kind(description, verbose=False)
    except Exception as error:  # any error of any layer
        raise CheckpointError(
            f"{rest}: wanted the description of a detection network, with nothing but layers of "
            f"torch and Ultralytics, got: {type(error).__name__}: {error}"
        ) from error


def _import_tasks() -> Any:
    if missing := is_missing():
        raise MissingDependencyError(f"ultralytics: {missing}")
    threads = os.environ.get("OMP_NUM_THREADS")
    try:
        with PROCESS_WIDE, redirect_stdout(sys.stderr):  # its messages
            from ultralytics.nn import tasks
    except ImportError as error:
        raise MissingDependencyError(
            f"Ultralytics is installed but cannot be imported: {error}. On a machine without a "
            "screen replace its OpenCV: pip uninstall opencv-python, then pip install "
            "opencv-python-headless"
        ) from error
    finally:
        if threads is None:  # it limits every child process to one thread
            os.environ.pop("OMP_NUM_THREADS", None)
    return tasks
