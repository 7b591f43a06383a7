"""Files with a detector in a form that cannot run here: what they are, and the remedy."""

import zipfile
from pathlib import Path

_FUNCTION = "or run it in a function of your own that returns boxes, and give module:function"
_EXPORT = "export the network that it was made from to ONNX"

# By kind: the suffixes, what such a file is, the remedy.
_KINDS = {
    "tflite": (
        ".tflite .lite",
        "a TensorFlow Lite model",
        "convert it: python -m tf2onnx.convert --tflite FILE --output model.onnx",
    ),
    "openvino": (".xml", "an OpenVINO model (.xml and .bin)", _EXPORT),
    "bin": (
        ".bin",
        "weights of OpenVINO or of a model of Transformers",
        "give 'transformers/FOLDER' for a folder with config.json, or export the network to ONNX",
    ),
    "torchscript": (
        ".torchscript .ptl",
        "a TorchScript program",
        "export it to ONNX: torch.onnx.export(torch.jit.load(FILE), picture, 'model.onnx', "
        "dynamo=False)",
    ),
    "coreml": (".mlmodel .mlpackage .mlmodelc", "a Core ML model", _EXPORT),
    "tensorrt": (
        ".engine .plan .trt",
        "a TensorRT engine (made for one kind of GPU)",
        "give the ONNX file that it was built from",
    ),
    "pt2": (
        ".pt2",
        "a program of torch.export",
        "export the network to ONNX: torch.onnx.export(torch.export.load(FILE), ...)",
    ),
    "tensorflow": (
        ".pb",
        "a TensorFlow model",
        "convert it: python -m tf2onnx.convert --saved-model FOLDER (or --graphdef FILE --inputs "
        "... --outputs ...) --output model.onnx",
    ),
    "keras": (
        ".h5 .hdf5 .keras",
        "a Keras model",
        "save it as a SavedModel and convert it: python -m tf2onnx.convert --saved-model FOLDER "
        "--output model.onnx",
    ),
    "caffe": (
        ".caffemodel .prototxt",
        "a Caffe model (.prototxt and .caffemodel)",
        "convert it to ONNX (caffe2onnx)",
    ),
    "paddle": (
        ".pdmodel .pdiparams .pdparams",
        "a PaddlePaddle model",
        "convert it: paddle2onnx --model_dir FOLDER --model_filename STEM.pdmodel "
        "--params_filename STEM.pdiparams --save_file model.onnx",
    ),
    "darknet": (".cfg .weights", "a Darknet network (.cfg and .weights)", "convert it to ONNX"),
    "ncnn": (".param", "an ncnn network (.param and .bin)", _EXPORT),
    "mnn": (".mnn", "an MNN network", _EXPORT),
    "chip": (".rknn .hef .blob", "a network compiled for one kind of chip", _EXPORT),
    "gguf": (".gguf", "a GGUF model, which is no detector", "give an ONNX file or a checkpoint"),
    "checkpoint": (
        ".ckpt .tar",
        "a training checkpoint",
        "save its weights alone: torch.save(checkpoint['state_dict'], 'weights.pth'), and give "
        "that",
    ),
    "pickle": (
        ".pkl .pickle .joblib",
        "a pickle (it can run any code when opened)",
        "where it was made, save the weights as .safetensors or export the network to ONNX",
    ),
    "transformers": (
        "",
        "a folder of a Transformers model",
        "give it as 'transformers/FILE'",
    ),
    "folder": (
        "",
        "a folder",
        "give the path of an ONNX file or of weights; for a folder that save_pretrained wrote, "
        "'transformers/FILE'",
    ),
}

_SUFFIXES = {
    suffix: kind for kind, (suffixes, _, _) in _KINDS.items() for suffix in suffixes.split()
}


def refusal(path: Path) -> str | None:
    """Why a file or folder cannot be a detector, and the remedy; None where it is none of these.

    An absent file is judged by its suffix.
    """
    kind = _kind(path)
    if kind is None:
        return None
    _, what, remedy = _KINDS[kind]
    folder = path if path.is_dir() else path.parent
    for word, value in (("FILE", path), ("FOLDER", folder), ("STEM", path.stem)):
        remedy = remedy.replace(word, str(value))
    absent = "" if path.exists() else "does not exist; it "
    return f"{path} {absent}is {what}, which is not run here: {remedy}, {_FUNCTION}"


def unknown_file(path: Path) -> str:
    """The remedy for a file of unknown suffix and content."""
    return (
        f"{path} is a file of an unknown kind; wanted an ONNX file (.onnx), or weights "
        f"of torchvision or of this package (.pth, .pt, .safetensors); give onnx/{path} where it "
        f"is ONNX under another name, {_FUNCTION}"
    )


def _kind(path: Path) -> str | None:
    if path.is_dir():
        return _kind_of_folder(path)
    by_suffix = _SUFFIXES.get(path.suffix.lower())
    if not path.is_file():
        return by_suffix
    return _kind_of_content(path) or by_suffix


def _kind_of_folder(path: Path) -> str:
    if (path / "config.json").is_file():
        return "transformers"
    if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
        return "tensorflow"
    if path.suffix.lower() in (".mlpackage", ".mlmodelc"):
        return "coreml"
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in (".pdmodel", ".xml", ".param"):
            return _SUFFIXES[file.suffix.lower()]
    return "folder"


def _kind_of_content(path: Path) -> str | None:
    """The kind by the first bytes, whatever the file's name."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        return None
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:4] == b"\x89HDF":
        return "keras"
    if head[:4] == b"GGUF":
        return "gguf"
    return _kind_of_archive(path) if head[:4] == b"PK\x03\x04" else None


def _kind_of_archive(path: Path) -> str | None:
    """TorchScript keeps its code beside its tensors, torch.export a graph in JSON."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            inside = {name.partition("/")[2] for name in names} | set(names)
            if any(name.startswith("code/") and name.endswith(".py") for name in inside):
                return "torchscript"
            if "serialized_exported_program.json" in inside or any(
                name.startswith("models/") and name.endswith(".json") for name in inside
            ):
                return "pt2"
            if "config.json" in inside and "model.weights.h5" in inside:
                return "keras"
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    return None
