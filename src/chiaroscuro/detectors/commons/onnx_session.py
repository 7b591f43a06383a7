"""ONNX Runtime sessions, and the device that they run on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chiaroscuro.core.errors import CheckpointError, MissingDependencyError
from chiaroscuro.detectors.foreign import refusal

if TYPE_CHECKING:
    import onnxruntime


def make_session(model: str | bytes, device: str = "auto") -> "onnxruntime.InferenceSession":
    """A session on an ONNX file or its bytes, with as many threads as torch uses.

    ``"auto"`` is CUDA where both torch and ONNX Runtime have it.
    """
    import onnxruntime

    providers = _providers(device, onnxruntime.get_available_providers())
    what = "the ONNX model" if isinstance(model, bytes) else model
    if isinstance(model, str) and not Path(model).is_file():
        raise CheckpointError(f"{what} does not exist; wanted an ONNX file")
    if isinstance(model, str) and (problem := refusal(Path(model))):
        raise CheckpointError(problem)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    # Threads that wait in a busy loop would take the cores from mask making between two passes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise CheckpointError(
            f"{what} cannot be loaded; wanted an ONNX model that ONNX Runtime "
            f"{onnxruntime.__version__} can run, got: {error}; it may be damaged, or newer"
        ) from error


def session_device(session: "onnxruntime.InferenceSession") -> str:
    """Where a session runs, as torch spells it."""
    options = session.get_provider_options().get("CUDAExecutionProvider")
    return "cpu" if options is None else f"cuda:{options.get('device_id', 0)}"


def _providers(device: str, available: list[str]) -> list[Any]:
    has_cuda = "CUDAExecutionProvider" in available
    if device == "auto":
        device = "cuda" if has_cuda and torch.cuda.is_available() else "cpu"
    wanted = torch.device(device)
    providers: list[Any] = ["CPUExecutionProvider"]
    if wanted.type == "cuda":
        if not has_cuda:
            raise MissingDependencyError(
                f"device {device}: this ONNX Runtime has no CUDA; "
                "wanted `pip install onnxruntime-gpu` in place of onnxruntime, or device='cpu'"
            )
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": wanted.index or 0}))
    return providers
