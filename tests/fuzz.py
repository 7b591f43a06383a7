"""Damaged input for every reader: nothing but errors of chiaroscuro may come out.

Valid files are made, copied and damaged by a fixed seed: bits, pieces, JSON values, headers and
types. Each reader then reads them under a memory limit and a time limit.

Run as a program (``--help``); ``tests/integration/test_fuzz.py`` runs a few hundred cases, and
``benchmarks/fuzz.py`` ten thousand. A failure prints the command that repeats it alone.
"""

import argparse
import faulthandler
import io
import json
import os
import re
import resource
import shutil
import struct
import sys
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import chiaroscuro as cs
from chiaroscuro.cli import app
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import ChiaroscuroError
from chiaroscuro.core.plan import EvaluationSettings, Plan, StudySettings
from chiaroscuro.core.windows import Window
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.detectors.adapters.retinaface import RetinaFaceNetwork, save_checkpoint
from chiaroscuro.detectors.checkpoint import read_about, read_checkpoint, write_checkpoint
from chiaroscuro.evaluation.evaluate import evaluate_folder
from chiaroscuro.figures import encode
from chiaroscuro.results.explaining import explain_picture
from chiaroscuro.results.folder import ResultFolder, explained_detector, result_paths
from chiaroscuro.results.picture import open_picture
from chiaroscuro.studies.compare import compare
from chiaroscuro.studies.export import coco_results
from chiaroscuro.studies.run import Run, study
from chiaroscuro.studies.summary import summarise, summarise_targets
from chiaroscuro.training.settings import TrainingSettings
from chiaroscuro.training.state import State, StateFile

SECONDS = 60  # of one case, after which it counts as a hang
MEMORY = 3 * 2**30  # beyond what the program has when the cases begin
HEIGHT, WIDTH = 24, 32
BOX = (10, 6, 22, 18)

Random = np.random.Generator


# what is mutated ----------------------------------------------------------------------------------


def hostile_numbers(draw: Random) -> str:
    """A number as text, of a kind that readers stumble over."""
    numbers = [
        "-1", "0", "1.5", "1e999", "-1e999", "NaN", "Infinity", "1e308", "1e-320", "9" * 400,
        str(2**31), str(2**63), str(-(2**63) - 1), str(2**64), "0x10", "1_000", "٣", "00", "", "-",
    ]  # fmt: skip
    return str(draw.choice(numbers))


def hostile_values(draw: Random) -> str:
    """A JSON value as text, sometimes no JSON at all."""
    values = [
        "null", "true", "false", '""', '"x"', '"3"', '"\\ud800"', '"\\u0000"', '"../../x"', "[]",
        "{}", "[[]]", "[1,2]", '{"a":1}', '{"a":1,"a":2}', "[" * 100_000, "[" * 900 + "]" * 900,
        '"' + "y" * 100_000 + '"', "[NaN]", "[1,2,3,4]", "[4,3,2,1]", "[0,0,1e999,1]", "undefined",
    ]  # fmt: skip
    return hostile_numbers(draw) if draw.random() < 0.4 else str(draw.choice(values))


def bytes_mutated(content: bytes, draw: Random) -> bytes:
    """Bits flipped, cut short, spliced, overwritten or grown."""
    if not content:
        return bytes(draw.integers(0, 256, 20, dtype=np.uint8))
    data = bytearray(content)
    for _ in range(int(draw.integers(1, 4))):
        place = int(draw.integers(0, max(1, len(data))))
        size = int(draw.integers(1, 64))
        kind = draw.integers(0, 7)
        if kind == 0:
            for _ in range(int(draw.integers(1, 9))):
                if data:
                    data[int(draw.integers(0, len(data)))] ^= 1 << int(draw.integers(0, 8))
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            other = int(draw.integers(0, len(data) + 1))
            data[place:place] = data[other : other + size]
        elif kind == 3:
            data[place : place + size] = bytes(draw.integers(0, 256, size, dtype=np.uint8))
        elif kind == 4:
            del data[place : place + size]
        elif kind == 5:
            extreme = int(draw.choice([0, 1, 2**31 - 1, 2**32 - 1]))
            data[place : place + 4] = struct.pack("<I", extreme)
        else:
            data[place : place + size] = b"\0" * size
    return bytes(data)


def json_mutated(content: bytes, draw: Random) -> bytes:
    """One place of a JSON document replaced, removed, renamed or doubled."""
    token = "@hostile@"
    try:
        document = json.loads(content)
    except ValueError:
        return bytes_mutated(content, draw)
    for _ in range(int(draw.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        parent, key = places[int(draw.integers(0, len(places)))]
        kind = draw.integers(0, 6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[str(key) + "x"] = parent.pop(key)
        elif kind == 2:
            parent[key] = [parent[key]]
        elif kind == 3:
            other, at = places[int(draw.integers(0, len(places)))]
            parent[key] = json.loads(json.dumps(other[at])) if _has(other, at) else token
        else:
            parent[key] = token
    text = json.dumps(document)
    while f'"{token}"' in text:
        text = text.replace(f'"{token}"', hostile_values(draw), 1)
    if draw.random() < 0.05:
        text = text.replace("{", '{"width": 3, "width": 4, ', 1)
    return text.encode(errors="surrogatepass")


def _has(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


def _places(value: Any) -> Any:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(inside):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def text_mutated(content: bytes, draw: Random) -> bytes:
    """Numbers and words replaced, lines removed and doubled, other encodings."""
    text = content.decode(errors="replace")
    kind = draw.integers(0, 5)
    if kind == 0:
        found = list(re.finditer(r"-?\d+(\.\d+)?", text))
        if found:
            one = found[int(draw.integers(0, len(found)))]
            text = text[: one.start()] + hostile_numbers(draw) + text[one.end() :]
    elif kind == 1:
        found = list(re.finditer(r"[A-Za-z]+", text))
        if found:
            one = found[int(draw.integers(0, len(found)))]
            text = text[: one.start()] + hostile_values(draw) + text[one.end() :]
    elif kind in (2, 3):
        lines = text.splitlines(keepends=True) or [""]
        place = int(draw.integers(0, len(lines)))
        lines[place : place + 1] = [] if kind == 2 else [lines[place]] * 2
        text = "".join(lines)
    else:
        encoding = str(draw.choice(["utf-16", "utf-8-sig", "latin-1", "utf-32"]))
        return text.encode(encoding, errors="replace")
    return text.encode(errors="surrogatepass")


def npz_mutated(content: bytes, draw: Random) -> bytes:
    """An archive with one array of another dtype, shape, value, header or name."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = str(draw.choice(list(arrays)))
    array, raw = arrays[name], None
    kind = draw.integers(0, 10)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[str(draw.choice(["unknown", "../x", "a/b", ""]))] = array
    elif kind == 2 and array.dtype.kind != "U":
        dtype = draw.choice(["f8", "f2", ">f4", "i4", "u8", "c8", "?", "S4", "U3", "M8[s]", "V4"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays[name] = array.astype(str(dtype))
    elif kind == 3:
        arrays[name] = array[..., None] if draw.random() < 0.5 else array.reshape(-1)[:-1]
    elif kind == 4 and array.size and array.dtype.kind != "U":
        changed = array.copy().reshape(-1)
        extreme = [np.nan, np.inf, -1, -(2**62), 2**62, 1e30] if array.dtype.kind == "f" else []
        extreme = extreme or [0, 1, 127, 255] if array.dtype == np.uint8 else extreme or [-1, 2**62]
        changed[int(draw.integers(0, changed.size))] = extreme[int(draw.integers(0, len(extreme)))]
        arrays[name] = changed.reshape(array.shape)
    elif kind == 5:
        arrays[name] = np.asfortranarray(array)
    elif kind == 6:
        raw = _header_claiming(draw, array)
    elif kind == 7:
        arrays[name] = np.zeros(0, array.dtype)
    elif kind == 8 and "settings" in arrays:
        text = json_mutated(str(arrays["settings"]).encode(), draw).decode(errors="replace")
        arrays["settings"] = np.array(text.rstrip("\0"))
    else:
        arrays[name] = np.resize(array, tuple(int(n) for n in draw.integers(0, 9, array.ndim)))
    return _archive(arrays, name if raw is not None else "", raw)


def _header_claiming(draw: Random, array: Any) -> bytes:
    """A ``.npy`` whose header claims what its content does not have."""
    shapes = ["(2, 2, 2**40)", "(-1,)", "(4000000000000,)", "(0, 9999999999)", "(True,)", "'x'",
              "(1.5,)", "(" * 200 + ")" * 200, "(1000000000, 4)", "()"]  # fmt: skip
    shape = str(draw.choice(shapes)).replace("2**40", str(2**40))
    descr = str(draw.choice([repr(array.dtype.str), "'|O'", "'<U999999999'", "[('a', '<f4')]"]))
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    version = bytes([int(draw.integers(0, 5)), 0])
    width = "<I" if version > b"\1\0" else "<H"
    return b"\x93NUMPY" + version + struct.pack(width, len(header)) + header + array.tobytes()


def _archive(arrays: dict[str, Any], replaced: str, raw: bytes | None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=True)
            content = raw if name == replaced and raw is not None else member.getvalue()
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def safetensors_mutated(content: bytes, draw: Random) -> bytes:
    """Another header: its length, its JSON, or the JSON inside its metadata."""
    (length,) = struct.unpack("<Q", content[:8])
    header, tensors = json.loads(content[8 : 8 + length]), content[8 + length :]
    if draw.random() < 0.15:
        wrong = int(draw.choice(np.array([0, 1, 2**31, 2**60, 2**63], dtype=np.uint64)))
        return struct.pack("<Q", wrong) + content[8:]
    if draw.random() < 0.5 and "chiaroscuro" in header.get("__metadata__", {}):
        about = json_mutated(header["__metadata__"]["chiaroscuro"].encode(), draw)
        header["__metadata__"]["chiaroscuro"] = about.decode(errors="replace")
        made = json.dumps(header).encode()
    else:
        made = json_mutated(json.dumps(header).encode(), draw)
    return struct.pack("<Q", len(made)) + made + tensors


def onnx_mutated(content: bytes, draw: Random) -> bytes:
    """A model with another name, shape, type, constant, operator or metadata."""
    model = onnx.load_from_string(content)
    graph, words = model.graph, ["x", "", "a b", "boxes", "scores", "\u00e9"]
    value = [*graph.input, *graph.output][int(draw.integers(0, 1 + len(graph.output)))]
    kind = draw.integers(0, 9)
    if kind == 0:
        new = str(draw.choice(words))
        for node in graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    names[i] = new if name == value.name else name
        value.name = new
    elif kind == 1:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[int(draw.integers(0, 4))].dim_value = int(draw.choice([0, 1, 3, 7, -1, 2**40]))
    elif kind == 2:
        value.type.tensor_type.elem_type = int(draw.integers(0, 17))
    elif kind == 3:
        rows = [[np.nan] * 4, [np.inf] * 4, [22, 18, 10, 6], [-1e30, 0, 1e30, 5], [0, 0, 1, 1]]
        values = np.array([rows[int(draw.integers(0, len(rows)))]], dtype=np.float32)
        if draw.random() < 0.3:
            values = np.resize(values, tuple(draw.integers(0, 6, int(draw.integers(0, 4)))))
        graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "box"))
    elif kind == 4:
        del graph.output[int(draw.integers(0, 3))]
    elif kind == 5:
        del graph.node[int(draw.integers(0, len(graph.node)))]
    elif kind == 6:
        graph.node[-1].attribute[0].i = int(draw.integers(0, 17))
    elif kind == 7:
        helper.set_model_props(model, {"names": hostile_values(draw)[:2000], "task": "detect"})
    else:
        graph.initializer[2].CopyFrom(
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [float(draw.choice([-1, 7.5, 1e9]))])
        )
    return bytes(model.SerializeToString())


def mutated(path: Path, content: bytes, draw: Random) -> bytes:
    """A file's content, damaged with knowledge of what it is, or without."""
    aware: dict[str, Callable[[bytes, Random], bytes]] = {
        ".json": json_mutated,
        ".npz": npz_mutated,
        ".onnx": onnx_mutated,
        ".safetensors": safetensors_mutated,
        ".txt": text_mutated,
        ".xml": text_mutated,
        ".yaml": text_mutated,
        ".names": text_mutated,
    }
    mutate = aware.get(path.suffix)
    return (mutate if mutate and draw.random() < 0.7 else bytes_mutated)(content, draw)


# what reads ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        name: of the reader.
        make: fills a folder with valid input.
        read: reads the folder; or, with ``single``, the one file in it that was damaged.
        files: those that are damaged.
        weight: how often, relative to others.
        single: whether every file is input by itself.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    files: str = "*"
    weight: int = 2
    single: bool = False


def bright(images: Tensor) -> list[Tensor]:
    """A detector of the bright patch."""
    x1, y1, x2, y2 = BOX
    scores = images[:, :, y1:y2, x1:x2].float().mean(dim=(1, 2, 3)).clamp(0, 1)
    return [torch.tensor([[*BOX, float(score)]]) for score in scores]


def pixels(seed: int = 0) -> Any:
    values = np.random.default_rng(seed).integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    values[BOX[1] : BOX[3], BOX[0] : BOX[2]] += 150
    return values


def an_evidence() -> cs.Evidence:
    """Evidence with every array that there can be."""
    picture = torch.from_numpy(pixels()).permute(2, 0, 1).contiguous()
    n = 12
    classes = torch.full((n, 2), 0.5)
    return cs.Evidence(
        window=Window.whole(picture.shape[1:]),
        area=Window.whole(picture.shape[1:]),
        image=picture,
        boxes=torch.tensor([BOX], dtype=torch.float32).repeat(n, 1),
        scores=torch.linspace(0.1, 0.9, n),
        labels=torch.arange(n) % 2,
        counts=torch.tensor([3] * (n // 3)),
        class_probabilities=classes,
        objectness=torch.linspace(0.2, 0.8, n),
        design=cs.MaskDesign(fill=picture.flip(2)),
        detector="by hand",
    )


def make_evidence(folder: Path) -> None:
    an_evidence().save(folder / "evidence.npz")


def read_evidence(folder: Path) -> None:
    cs.Evidence.load_image(folder / "evidence.npz")
    evidence = cs.Evidence.load(folder / "evidence.npz")
    plain(evidence.settings())
    evidence.explain([BOX], estimator="centred")


def make_explanation(folder: Path) -> None:
    cs.explain(pixels(), bright, n_passes=6).save(folder)


def read_explanation(folder: Path) -> None:
    plain(cs.Explanation.load(folder).manifest())


def make_result(folder: Path) -> None:
    Image.fromarray(pixels()).save(folder / "painting.png")
    explain_picture(
        open_picture(folder / "painting.png"),
        cs.load_detector(bright),
        None,
        folder / "out",
        Plan(n_passes=6),
    )


def read_result(folder: Path) -> None:
    (place,) = result_paths(folder / "out")
    explained_detector([place])
    saved = ResultFolder(place)
    saved.evidence()
    saved.image()
    saved.source_file().name.encode(errors="surrogateescape")
    named = [saved.manifest.settings.detector, *map(saved.caption, range(len(saved.explanation)))]
    " ".join(named).encode()


def make_evaluated(folder: Path) -> None:
    make_result(folder)
    read_evaluated(folder)


def read_evaluated(folder: Path) -> None:
    with patch.object(encode, "save", lambda _, path: path):  # the figures are made, not rendered
        evaluate_folder(
            folder / "out",
            cs.load_detector(bright),
            EvaluationSettings(baselines=False),
            folder / "evaluation",
        )


def make_coco(folder: Path) -> None:
    for number in range(2):
        Image.fromarray(pixels(number)).save(folder / f"{number}.png")
    x1, y1, x2, y2 = BOX
    boxed = {"category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0, "area": 144}
    polygon = {"segmentation": [[x1, y1, x2, y1, x2, y2]]}
    annotations = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in (0, 1)
        ],
        "categories": [{"id": 1, "name": "face", "supercategory": "none"}],
        "annotations": [
            {"id": 1, "image_id": 0, **boxed, **polygon},
            {"id": 2, "image_id": 1, **boxed, "iscrowd": 1},
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(annotations))


def make_runs(folder: Path) -> None:
    make_coco(folder)
    settings = StudySettings(plan=Plan(n_passes=6), min_score=0.1)
    for name in ("one", "other"):
        run = study(
            open_data_set(folder / "annotations.json"),
            cs.load_detector(bright),
            folder / name,
            settings,
        )
    (run.path("1") / "manifest.json").unlink()
    (run.path("1") / "failed.json").write_text('{"picture": "1.png", "reason": "broken"}')


def read_runs(folder: Path) -> None:
    one, other = Run.load(folder / "one"), Run.load(folder / "other")
    other.failed()
    for run in (one, other):
        summarise_targets(run)
        summarise(run)
        json.dumps(coco_results(run), allow_nan=False)
    compare(one, other)


def make_checkpoint(folder: Path) -> None:
    weights = {"a.weight": torch.rand(3, 4), "b.bias": torch.rand(3)}
    about = {"builder": "fcos", "class_names": ["face"], "epsilon": {"a": 1e-5}, "min_size": 64}
    write_checkpoint(folder / "weights.safetensors", weights, about)
    torch.save({"state_dict": weights}, folder / "weights.pth")
    save_checkpoint(folder / "faces.safetensors", RetinaFaceNetwork(), {"trained": "never"})


def read_checkpoint_file(file: Path) -> None:
    if file.name.startswith("faces"):
        cs.load_detector(file)
    else:
        read_checkpoint(file)
        read_about(file)


def _training(folder: Path) -> tuple[State, StateFile]:
    network, settings = torch.nn.Linear(2, 2), TrainingSettings()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    state = State(network, list(network.parameters()), settings)
    return state, StateFile(folder, settings, network.state_dict(), ((), ()))


def make_training(folder: Path) -> None:
    state, file = _training(folder)
    for parameter in state._parameters:
        parameter.grad = torch.ones_like(parameter)
    state.advance()
    state.log({"loss": 1.0}, 0.5)
    state.judge(0.5)
    file.write(state.content())


def read_training(folder: Path) -> None:
    state, file = _training(folder)
    content = file.read()
    if content is not None:
        state.resume(content)
        file.write(state.content())
        state.take_best()


def make_voc(folder: Path) -> None:
    (folder / "Annotations").mkdir()
    (folder / "JPEGImages").mkdir()
    Image.fromarray(pixels()).save(folder / "JPEGImages" / "a.png")
    names = ("xmin", "ymin", "xmax", "ymax")
    corners = "".join(f"<{n}>{v}</{n}>\n" for n, v in zip(names, BOX, strict=True))
    (folder / "Annotations" / "a.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotation>\n<filename>a.png</filename>\n'
        f"<size>\n<width>{WIDTH}</width>\n<height>{HEIGHT}</height>\n<depth>3</depth>\n</size>\n"
        f"<object>\n<name>face</name>\n<difficult>0</difficult>\n<bndbox>\n{corners}</bndbox>\n"
        "</object>\n</annotation>\n"
    )


def make_yolo(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    Image.fromarray(pixels()).save(folder / "images" / "a.png")
    (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.3 0.4\n1 0.2 0.2 0.1 0.1\n")
    (folder / "data.yaml").write_text(
        "path: .\ntrain: images\nval: images\nnc: 2\nnames:\n  0: face\n  1: hand\n"
    )


def read_data_set(folder: Path) -> None:
    coco = folder / "annotations.json"
    data = open_data_set(coco if coco.exists() else folder)
    for entry in data.entries:
        cs.read_image(entry.path)


def make_pictures(folder: Path) -> None:
    picture = Image.fromarray(pixels())
    for suffix in ("png", "jpg", "tif", "gif", "webp", "bmp", "ppm"):
        picture.save(folder / f"a.{suffix}")
    Image.fromarray(pixels()[..., 0].astype(np.uint16) * 200).save(folder / "deep.tif")
    Image.fromarray(pixels()[..., 0]).convert("P").save(folder / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=exif)


def make_onnx(folder: Path) -> None:
    """A network that reports one box, of the picture's mean brightness."""
    box = helper.make_tensor("box", TensorProto.FLOAT, [1, 4], [float(v) for v in BOX])
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["box"], ["boxes"]),
            helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
            helper.make_node("Reshape", ["mean", "one"], ["scores"]),
            helper.make_node("Cast", ["zero"], ["labels"], to=TensorProto.INT64),
        ],
        "bright",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["n"]),
        ],
        [
            box,
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "bright.onnx")


def read_onnx(folder: Path) -> None:
    detector = cs.load_detector(folder / "bright.onnx")
    cs.observe(pixels(), detector, n_passes=2)


def make_function(folder: Path) -> None:
    rows = {"boxes": [list(BOX)], "scores": [0.5], "labels": [0]}
    (folder / "rows.json").write_text(json.dumps([rows]))


def read_function(folder: Path) -> None:
    """What a function returns, as text; the text is not ours to read, so its damage is no error."""
    try:
        returned = json.loads((folder / "rows.json").read_bytes())
    except (ValueError, RecursionError):
        return
    kind = zlib.crc32((folder / "rows.json").read_bytes()) % 3

    def find(images: Tensor) -> Any:
        if kind and isinstance(returned, list) and returned and isinstance(returned[0], dict):
            convert = (np.array, torch.tensor)[kind - 1]
            try:
                return [{key: convert(value) for key, value in returned[0].items()}]
            except Exception:
                return returned
        return returned

    cs.observe(pixels(), find, n_passes=2, batch_size=1)


def make_words(folder: Path) -> None:
    Image.fromarray(pixels()).save(folder / "a.png")
    (folder / "patches.py").write_text(
        "def find(images):\n    return [[[10, 6, 22, 18, 0.5]] for _ in images]\n"
    )
    words = {
        "--n-passes": "3", "--seed": "1", "--fidelity": "0.5", "--grid-size": "4",
        "--keep-probability": "0.5", "--fill": "blur", "--min-score": "0.1", "--max-side": "20",
        "--target": "1,2,9,8", "--batch-size": "2", "--estimator": "centred", "--colours": "x",
        "--method": "drise", "-O": "min_score=0.2", "--device": "cpu",
    }  # fmt: skip
    (folder / "words.json").write_text(json.dumps(words))


def read_words(folder: Path) -> None:
    """Options of the command line; each run damages its values."""
    try:
        words = json.loads((folder / "words.json").read_bytes())
    except (ValueError, RecursionError):
        return
    if not isinstance(words, dict):
        return
    line = ["explain", str(folder / "a.png"), "-d", "patches:find", "--out", str(folder / "out")]
    for key in sorted(words)[: 1 + zlib.crc32(json.dumps(words).encode()) % 4]:
        value = words[key]
        line += [key, value if isinstance(value, str) else json.dumps(value)]
    if "--n-passes" not in line:
        line += ["--n-passes", "3"]
    result = CliRunner().invoke(app, [word.replace("\0", "") for word in line])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


READERS = {
    reader.name: reader
    for reader in (
        Reader("evidence", make_evidence, read_evidence, weight=6),
        Reader("explanation", make_explanation, read_explanation, weight=4),
        Reader("result", make_result, read_result, files="out/*/*.*[nz]", weight=4),
        Reader("evaluation", make_evaluated, read_evaluated, "evaluation/**/*.json", weight=1),
        Reader("runs", make_runs, read_runs, files="o*/**/*.*[nz]", weight=4),
        Reader("checkpoint", make_checkpoint, read_checkpoint_file, weight=4, single=True),
        Reader("training", make_training, read_training, files="state.pt"),
        Reader("coco", make_coco, read_data_set, files="annotations.json", weight=4),
        Reader("voc", make_voc, read_data_set, files="Annotations/*.xml", weight=3),
        Reader("yolo", make_yolo, read_data_set, files="**/*.[ty]*", weight=3),
        Reader("picture", make_pictures, cs.read_image, weight=6, single=True),
        Reader("onnx", make_onnx, read_onnx, weight=3),
        Reader("function", make_function, read_function, weight=3),
        Reader("words", make_words, read_words, files="words.json", weight=1),
    )
}


# running ------------------------------------------------------------------------------------------


def _files(reader: Reader, folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob(reader.files) if file.is_file())


class Fuzz:
    """Valid input of the readers, made once, and cases that damage copies of it."""

    def __init__(self, seed: int, names: list[str], place: Path) -> None:
        self.seed, self._place = seed, place
        self.counts: Counter[tuple[str, str]] = Counter()
        self._order = [n for name in names for n in [name] * READERS[name].weight]
        self._valid = place / "valid"
        for name in names:
            folder = self._valid / name
            folder.mkdir(parents=True)
            READERS[name].make(folder)
            for place in _files(READERS[name], folder) if READERS[name].single else [folder]:
                READERS[name].read(place)  # undamaged, it is read

    def case(self, number: int) -> str | None:
        """Run a case; the traceback of what should not have come out, or None."""
        reader = READERS[self._order[number % len(self._order)]]
        draw = np.random.default_rng([self.seed, number])
        folder = self._place / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._valid / reader.name, folder)
        files = _files(reader, folder)
        file = files[int(draw.integers(0, len(files)))]
        file.write_bytes(mutated(file, file.read_bytes(), draw))
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(file if reader.single else folder)
                self.counts[reader.name, "read"] += 1
        except ChiaroscuroError as error:
            str(error).encode()
            self.counts[reader.name, "refused"] += 1
        except Exception:
            where = file.relative_to(folder)
            return f"{reader.name}, {where}:\n{traceback.format_exc(limit=-6)}"
        finally:
            faulthandler.cancel_dump_traceback_later()
        return None


def main() -> int:
    """Run cases and print those that fail; their number, at most 100."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--readers", nargs="*", default=list(READERS), choices=list(READERS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        sys.path.insert(0, str(Path(place) / "valid" / "words"))
        fuzz = Fuzz(options.seed, options.readers, Path(place))
        used = int(re.search(r"VmData:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))
        for number in range(options.first, options.first + options.cases):
            if number % 100 == 0:
                print(f"case {number}", file=sys.stderr, flush=True)
            problem = fuzz.case(number)
            if problem:
                failed += 1
                print(
                    f"\nCASE {number} of seed {options.seed} (again: --seed {options.seed} "
                    f"--cases 1 --first {number} --readers {' '.join(options.readers)}): {problem}",
                    flush=True,
                )
        counts = fuzz.counts
    for name in options.readers:
        print(f"{name:12} {counts[name, 'read']:6} read {counts[name, 'refused']:6} refused")
    print(f"{options.cases} cases of seed {options.seed}, {failed} failed")
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
