"""The pages are followed as a reader would, and checked against the code that they describe.

On tutorial and how-to pages, in the order of the page and in one fresh folder:

- a ``python`` block is run;
- a ``code-block`` with a caption is written to the file of that name;
- in a ``console`` block, what follows ``$`` is run;
- a ``text`` block is what the block before it prints, numbers to within 0.02.
"""

import importlib
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import chiaroscuro as cs
from chiaroscuro.cli import app
from chiaroscuro.core.plan import Plan
from chiaroscuro.methods import METHODS
from chiaroscuro.results.explaining import explain_picture
from chiaroscuro.results.picture import Picture

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FOLLOWED = [page for page in PAGES if page.parent.name in ("tutorials", "how-to")]
NEEDS_WEIGHTS = ("first-painting", "large-pictures", "face-detectors")
BLOCK = re.compile(
    r"^```(\{code-block\} )?(?P<kind>\w+)\n(:caption: (?P<file>\S+)\n\n)?(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
DIGEST = re.compile(r"@[0-9a-f]{8}\b")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, from which modules can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    if str(tmp_path / "installed") in sys.path:
        sys.path.remove(str(tmp_path / "installed"))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, id=p.stem, marks=[pytest.mark.weights] * (p.stem in NEEDS_WEIGHTS))
        for p in FOLLOWED
    ],
)
def test_page_does_what_it_shows(page: Path, folder: Path) -> None:
    if page.stem == "face-detectors":
        for package in ("facenet_pytorch", "dlib"):
            pytest.importorskip(package, reason="`make test` installs it")
    bring_what_the_reader_has(page, folder)
    scope: dict[str, object] = {"__name__": page.stem}
    text, printed, n_run = page.read_text(), "", 0
    for block in BLOCK.finditer(text):
        kind, body = block["kind"], block["body"]
        if block["file"]:
            (folder / block["file"]).write_text(body)
            if block["file"] == "pyproject.toml":
                install(folder)
                sys.path.insert(0, str(folder / "installed"))
                del sys.modules["glow_detector"]
        elif kind == "python":
            lines_above = text[: block.start("body")].count("\n")
            code = compile("\n" * lines_above + body, str(page), "exec")
            with redirect_stdout(io.StringIO()) as output:
                exec(code, scope)
            printed, n_run = output.getvalue(), n_run + 1
        elif kind == "console":
            for line in body.splitlines():
                run_command(line.removeprefix("$ "), folder)
        elif kind == "text":
            assert_alike(printed, body)
    assert n_run


def bring_what_the_reader_has(page: Path, folder: Path) -> None:
    """Files that a page takes for granted."""
    if page.stem == "onnx":
        (folder / "model.onnx").write_bytes(small_onnx_model())
        (folder / "two-outputs.onnx").write_bytes(onnx_model_of_two_outputs())
        (folder / "yolox_faces.onnx").write_bytes(raw_yolox_model())
        Image.new("RGB", (90, 60), "grey").save(folder / "painting.png")
    if page.stem == "face-detectors":
        from chiaroscuro.data.samples import sample_painting

        with Image.open(sample_painting(439933).path) as painting:
            painting.thumbnail((480, 480))
            painting.crop((130, 40, 330, 200)).save(folder / "painting.png")
    if page.stem == "large-pictures":
        from chiaroscuro.data.samples import sample_painting

        with Image.open(sample_painting(436838).path) as painting:
            painting.resize((1200, 992)).save(folder / "scan.png")


def small_onnx_model() -> bytes:
    """Eight boxes of one class in the layout of YOLOv8; brighter pictures score higher."""
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(0).uniform(0.2, 1, size=(1, 5, 8)).astype(np.float32)
    table[:, :4] *= 40
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["brightness"], keepdims=0),
        helper.make_node("Mul", ["table", "brightness"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 96])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 5, 8])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def onnx_model_of_two_outputs() -> bytes:
    """One box, centre and size in [0, 1], and its score."""
    boxes = np.array([[[0.5, 0.5, 0.25, 0.5]]], dtype=np.float32)
    return steady_onnx_model(where=boxes, how_sure=np.full((1, 1, 1), 0.8, dtype=np.float32))


def raw_yolox_model() -> bytes:
    """One box at 32, 16, 64, 48 of 96 x 64 pixels, as offsets from its cell of 8 pixels."""
    table = np.zeros((1, 126, 6), dtype=np.float32)
    table[0, 4 * 12 + 6] = (0, 0, np.log(4), np.log(4), 1, 0.9)
    return steady_onnx_model(output=table)


def steady_onnx_model(**outputs: npt.NDArray[np.float32]) -> bytes:
    """The same outputs for every picture."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["images"], ["brightness"], keepdims=0),
        helper.make_node("Sub", ["brightness", "brightness"], ["nothing"]),
        *(helper.make_node("Add", [f"{name} here", "nothing"], [name]) for name in outputs),
    ]
    graph = helper.make_graph(
        nodes,
        "steady",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 96])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
            for name, value in outputs.items()
        ],
        [numpy_helper.from_array(value, f"{name} here") for name, value in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def install(folder: Path) -> None:
    """Install the package that a page shows into ``installed``, as pip does, from nothing else."""
    package = folder / "package"
    package.mkdir()
    for file in ("pyproject.toml", "glow_detector.py"):
        (package / file).write_text((folder / file).read_text())
        (folder / file).unlink()
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(folder / "installed")]
    done = subprocess.run([*command, str(package)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "installed" / "glow_detector.py").is_file()
    importlib.invalidate_caches()


def run_command(line: str, folder: Path) -> None:
    program, *words = shlex.split(line)
    if program == "chiaroscuro":
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"{line}\n{result.output}"
    else:
        assert program == "pytest"
        command = [sys.executable, "-m", program, "-p", "no:cacheprovider", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def assert_alike(printed: str, shown: str) -> None:
    """The same words, and numbers that differ by 0.02 at most; digests may be any."""
    printed, shown = (DIGEST.sub("@digest", text) for text in (printed, shown))
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    for got, wanted in zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True):
        assert float(got) == pytest.approx(float(wanted), abs=0.02), printed


def test_command_line_reference_is_up_to_date() -> None:
    reference = runpy.run_path(str(DOCS / "cli_reference.py"))["reference"]
    page = DOCS / "reference" / "cli.md"
    assert page.read_text() == reference(), "run: python docs/cli_reference.py"


def test_table_of_methods_is_up_to_date() -> None:
    taxonomy = runpy.run_path(str(DOCS / "methods_table.py"))["taxonomy"]
    page = DOCS / "methods" / "taxonomy.md"
    assert page.read_text() == taxonomy(), "run: python docs/methods_table.py"


@pytest.mark.parametrize("name", METHODS)
def test_method_has_a_page_with_its_unit_and_source(name: str) -> None:
    folder, method = DOCS / "methods", METHODS[name]
    page = runpy.run_path(str(DOCS / "methods_table.py"))["page_of"](name)
    text = " ".join((folder / f"{page}.md").read_text().split())
    assert f"(`{name}`)" in text.split(" ## ")[0]
    assert method.meaning in text
    for number in re.findall(r"arXiv:\d+\.\d+", method.source):
        assert number in text
    assert page in (folder / "index.md").read_text().split("```{toctree}")[1].split()


@pytest.mark.parametrize("name", cs.__all__)
def test_public_name_is_in_the_reference(name: str) -> None:
    text = (DOCS / "reference" / "python.md").read_text()
    assert re.search(rf"(`cs\.|:: |:: chiaroscuro\.){name}\b", text)


def test_files_reference_names_what_is_written(tmp_path: Path) -> None:
    def find(images: Tensor) -> list[cs.Proposals]:
        return [
            cs.Proposals(
                boxes=[[2, 3, 20, 16]],
                scores=[0.5],
                class_probabilities=[[0.5, 0.2, 0.1]],
                objectness=[0.9],
            )
            for _ in images
        ]

    image = torch.full((3, 24, 36), 0.5)
    made = explain_picture(
        Picture(source="night.png", image=image),
        cs.load_detector(find, class_names=("face", "hand", "hat")),
        None,
        tmp_path,
        Plan(n_passes=5, design=cs.MaskDesign(fill=image)),
    ).folder
    page = (DOCS / "reference" / "files.md").read_text()
    for name in ("saliency.npz", "evidence.npz"):
        with np.load(made / name) as arrays:
            assert first_column(page, name) == set(arrays.files)
    manifest = json.loads((made / "manifest.json").read_text())
    assert first_column(page, "manifest.json") == set(manifest)
    named = set(re.findall(r"`(\w+)`", page))
    assert set(manifest["settings"]) | set(manifest["targets"][0]) <= named
    assert set(manifest["picture"]) | set(manifest["settings"]["design"]) <= named
    for path in made.iterdir():
        assert f"`{path.name}`" in page


def first_column(page: str, heading: str) -> set[str]:
    """Names in code type in the first column of the table under a heading."""
    table = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.MULTILINE))))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).is_file(), link


def test_pictures_are_small_and_shown() -> None:
    text = "".join(page.read_text() for page in [*PAGES, DOCS.parent / "README.md"])
    for picture in (DOCS / "pictures").iterdir():
        assert picture.stat().st_size < 150_000, picture
        assert f"pictures/{picture.name})" in text, picture


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "trees"]
    done = subprocess.run(
        [*command, DOCS, tmp_path / "html"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "reference" / "python.html").is_file()


def test_architecture_shows_every_folder_in_the_order_of_its_contract() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    rows = [set(layer.split(" | ")) for layer in layers if layer != "__main__"]
    drawing = (DOCS / "pictures" / "architecture.svg").read_text(encoding="utf-8")
    boxes = re.findall(r'class="name" x="\d+" y="(\d+)">(\w+)<', drawing)
    assert [{name for y, name in boxes if y == row} for row in dict(boxes)] == rows
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set().union(*rows)
