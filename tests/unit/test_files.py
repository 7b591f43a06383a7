"""Files of our own: what is wrong with one is said with its name, the place and a remedy."""

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import chiaroscuro as cs
from chiaroscuro.core.errors import BundleError, CheckpointError, InputError
from chiaroscuro.core.plan import Plan
from chiaroscuro.detectors.checkpoint import read_about, read_checkpoint, write_checkpoint
from chiaroscuro.results.explaining import explain_picture
from chiaroscuro.results.folder import ResultFolder
from chiaroscuro.results.picture import open_picture
from chiaroscuro.store import bundle
from chiaroscuro.store.schema import RunRecord, folder_name
from chiaroscuro.studies.run import Run

BOX = (6, 4, 22, 16)
Arrays = dict[str, Any]


def bright(images: torch.Tensor) -> list[list[list[float]]]:
    scores = images[:, :, 4:16, 6:22].float().mean(dim=(1, 2, 3)).clamp(0, 1)
    return [[[*BOX, float(score)]] for score in scores]


@pytest.fixture
def picture() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(100, 255, (3, 20, 28), generator=generator, dtype=torch.uint8)


@pytest.fixture
def evidence(picture: torch.Tensor, tmp_path: Path) -> Path:
    return Path(cs.observe(picture, bright, n_passes=6).save(tmp_path / "evidence.npz"))


@pytest.fixture
def result(picture: torch.Tensor, tmp_path: Path) -> Path:
    return Path(cs.explain(picture, bright, n_passes=6).save(tmp_path / "out"))


def change(path: Path, edit: Callable[[Arrays], object]) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    edit(arrays)
    np.savez(path, **arrays)


def settings_of(edit: Callable[[Arrays], object]) -> Callable[[Arrays], None]:
    def changed(arrays: Arrays) -> None:
        settings = json.loads(str(arrays["settings"]))
        edit(settings)
        arrays["settings"] = np.array(json.dumps(settings))

    return changed


def set_first(name: str, value: float) -> Callable[[Arrays], None]:
    def changed(arrays: Arrays) -> None:
        arrays[name].reshape(-1)[0] = value

    return changed


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda a: a.pop("counts"), "holds no counts"),
        (lambda a: a.update(extra=np.zeros(3)), r"holds 'extra\.npy', which is none of settings"),
        (lambda a: a.update(boxes=a["boxes"].astype("f8")), "boxes: wanted float32, got float64"),
        (lambda a: a.update(boxes=a["boxes"].astype(">f4")), "boxes: wanted float32, got >f4"),
        (lambda a: a.update(image=a["image"][:2]), r"image: wanted shape \(3, height, width\)"),
        (lambda a: a.update(scores=a["scores"][:-1]), r"scores: wanted shape \(6,\), got \(5,\)"),
        (lambda a: a.update(labels=np.array([{}] * 6)), "labels: wanted plain arrays, got Python"),
        (set_first("counts", -1), "counts: wanted numbers of at least 0, got -1"),
        (set_first("counts", 2), "wanted 7 proposals, as counts say, got 6"),
        (set_first("boxes", np.nan), "boxes: wanted finite numbers"),
        (set_first("boxes", 27), r"boxes: wanted x1 <= x2"),
        (set_first("scores", 1.5), "scores: wanted numbers from 0 to 1, got .* to 1.5"),
        (set_first("labels", -1), "labels: wanted numbers from 0 to"),
        (set_first("labels", 2**40), "labels: wanted numbers from 0 to"),
        (set_first("image", 3), "another image_sha256"),
        (settings_of(lambda s: s.update(seed=-1)), r"settings\.seed: wanted a whole number from 0"),
        (settings_of(lambda s: s.update(seed=1.5)), r"settings\.seed: .* got 1.5"),
        (settings_of(lambda s: s.update(seed=True)), r"settings\.seed: .* got True"),
        (settings_of(lambda s: s.pop("seed")), r"settings\.seed is absent"),
        (settings_of(lambda s: s.update(n_passes=7)), "settings say 7 masks, counts 6"),
        (settings_of(lambda s: s.update(detector=None)), r"settings\.detector: wanted text"),
        (
            settings_of(lambda s: s["design"].update(grid_size=[3])),
            r"settings\.design\.grid_size: wanted a list of 2, got \[3\]",
        ),
        (settings_of(lambda s: s["design"].update(fill="red")), "fill"),
        (settings_of(lambda s: s["design"].update(fill="image")), "its fill is 'image'"),
        (settings_of(lambda s: s.update(design=[])), r"settings\.design: wanted an object"),
        (lambda a: a.update(settings=np.array("[" * 9000)), "nested too deeply|no readable JSON"),
        (lambda a: a.update(settings=np.array('{"seed": NaN}')), "wanted numbers, got NaN"),
    ],
)
def test_damaged_evidence_is_named(
    evidence: Path, edit: Callable[[Arrays], object], says: str
) -> None:
    change(evidence, edit)
    with pytest.raises(BundleError, match=says) as caught:
        cs.Evidence.load(evidence)
    assert str(caught.value).startswith(f"{evidence}: ")
    assert "explain again into a new folder" in str(caught.value)


def test_columns_first_are_read_as_they_are(evidence: Path) -> None:
    wanted = cs.Evidence.load(evidence).boxes
    change(evidence, lambda a: a.update(boxes=np.asfortranarray(a["boxes"])))
    assert torch.equal(cs.Evidence.load(evidence).boxes, wanted)


def member(path: Path, name: str, content: bytes) -> None:
    """Replace one array's bytes in an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, old in members.items():
            archive.writestr(n, content if n == f"{name}.npy" else old)


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("(1000000000000, 4)", "its header says 16000000000.* bytes, the archive"),
        ("(-1, 4)", r"boxes: .*-1"),
        ("'x'", "no readable .npz"),
        ("(True, 4)", "header says"),
        ("(1.5, 4)", "no readable .npz"),
        ("(" * 300 + ")" * 300, "no readable .npz"),
    ],
)
def test_headers_are_checked_before_anything_is_unpacked(
    evidence: Path, shape: str, says: str
) -> None:
    member(evidence, "boxes", header(shape) + bytes(64))
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match=says):
            cs.Evidence.load(evidence)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_refused_unopened(evidence: Path) -> None:
    rows = 40 * 2**20  # 640 MiB
    with zipfile.ZipFile(evidence) as archive:
        members = {n: archive.read(n) for n in archive.namelist() if n != "boxes.npy"}
    with zipfile.ZipFile(evidence, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("boxes.npy", "w", force_zip64=True) as stream:
            stream.write(header(f"({rows}, 4)"))
            for _ in range(40):
                stream.write(bytes(2**24))
        for name, content in members.items():
            archive.writestr(name, content)
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="zip bomb"):
            cs.Evidence.load(evidence)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def test_a_blank_picture_is_no_bomb(tmp_path: Path) -> None:
    blank = torch.zeros(3, 2000, 3000, dtype=torch.uint8)
    saved = cs.observe(blank, lambda images: [[]] * len(images), n_passes=1).save(
        tmp_path / "e.npz"
    )
    assert cs.Evidence.load(saved).image.shape == blank.shape


def test_the_picture_alone_is_checked_too(evidence: Path) -> None:
    assert cs.Evidence.load_image(evidence).shape == (3, 20, 28)
    change(evidence, set_first("image", 3))
    with pytest.raises(BundleError, match="another image_sha256"):
        cs.Evidence.load_image(evidence)


def edit_json(path: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda m: m.pop("targets"), "targets is absent"),
        (lambda m: m.update(targets={}), "targets: wanted a list, got {}"),
        (lambda m: m["targets"][0].update(box=[1, 2, 3]), r"targets\[0\]\.box: wanted a list of 4"),
        (lambda m: m["targets"][0].update(box=[9, 2, 3, 4]), r"targets\[0\]\.box: wanted x1 <= x2"),
        (lambda m: m["targets"][0].update(label=-1), r"targets\[0\]\.label: wanted a whole number"),
        (lambda m: m["targets"][0].update(label="face"), r"targets\[0\]\.label"),
        (lambda m: m["targets"][0].update(score=7), r"targets\[0\]\.score: wanted a number from 0"),
        (lambda m: m["targets"][0].update(origin="sky"), "origin: wanted found or drawn or truth"),
        (lambda m: m["targets"][0].update(score=0.123), "do not belong together: the scores"),
        (lambda m: m.update(height=21), r"do not belong together: \(1, 21, 28\) maps"),
        (lambda m: m["targets"].append(m["targets"][0]), "do not belong together"),
        (lambda m: m.update(notes="x"), "notes: wanted a list"),
        (lambda m: m.update(meaning=3), "meaning: wanted text, got 3"),
        (lambda m: m.update(meaning="\ud800"), "meaning: wanted text without lone surrogates"),
        (lambda m: m["settings"].update(seed=10**30), r"settings\.seed: wanted a whole number"),
        (lambda m: m["settings"]["design"].update(keep_probability=0), "keep_probability"),
    ],
)
def test_a_damaged_manifest_is_named(
    result: Path, edit: Callable[[Any], object], says: str
) -> None:
    edit_json(result / "manifest.json", edit)
    with pytest.raises(BundleError, match=says) as caught:
        cs.Explanation.load(result)
    assert str(result) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "key 'a' is there twice"),
        ('{"a": NaN}', "got NaN"),
        ('{"a": -Infinity}', "got -Infinity"),
        ('{"a": 1e999}', "'1e999' is beyond the range"),
        ('{"a": ' + "9" * 5000 + "}", "no readable JSON"),
        ("[1]", "wanted a JSON object, got list"),
        ('{"a": ' * 100_000, "no readable JSON"),
        ("", "no readable JSON"),
        ("\xff", "settings is absent|not readable|no readable JSON"),
    ],
)
def test_json_is_strict(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=says) as caught:
        bundle.read_record(path, RunRecord)
    assert str(path) in str(caught.value)


def test_a_folder_or_nothing_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "evidence.npz").mkdir()
    (tmp_path / "manifest.json").mkdir()
    for read in (cs.Evidence.load, cs.Evidence.load_image):
        with pytest.raises(BundleError, match="does not exist"):
            read(tmp_path / "evidence.npz")
    with pytest.raises(BundleError, match="incomplete"):
        cs.Explanation.load(tmp_path)


def test_maps_and_evidence_of_two_pictures_do_not_mix(tmp_path: Path) -> None:
    from PIL import Image

    detector = cs.load_detector(bright)
    for name, level in (("one", 150), ("other", 200)):
        Image.new("RGB", (28, 20), (level, level, level)).save(tmp_path / f"{name}.png")
        picture = open_picture(tmp_path / f"{name}.png")
        explain_picture(picture, detector, None, tmp_path / "out", Plan(n_passes=6))
    one, other = (tmp_path / "out" / name for name in ("one", "other"))
    ResultFolder(one).evidence()
    (other / "evidence.npz").replace(one / "evidence.npz")
    for read in (ResultFolder(one).evidence, ResultFolder(one).image):
        with pytest.raises(BundleError, match="of another picture than"):
            read()


def test_names_in_a_run_stay_in_its_folder() -> None:
    for name in ("../x", "/etc/x", "a/../../x", "..", ".", "", "a\0b"):
        with pytest.raises(InputError, match="wanted the name of a folder"):
            folder_name("pictures", name)
    assert folder_name("pictures", "a__b é") == "a__b é"


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"version": "1", "detector": {"name": 3}}')
    with pytest.raises(BundleError, match=r"run\.json: detector\.name: wanted text, got 3|absent"):
        Run.load(tmp_path)


def weights() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.tensor(3.0)}


def test_weights_that_are_not_those_saved_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_checkpoint(path, weights(), {"class_names": ["face"]})
    assert torch.equal(read_checkpoint(path).state_dict["b"], torch.tensor(3.0))
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="its weights are not those that were saved"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ("[" * 100_000, "nested too deeply|no readable JSON"),
        ("[]", "wanted an object"),
        ('{"detector": ["retinaface"]}', "detector: wanted text"),
        ('{"class_names": "face"}', "class_names: wanted a list"),
        ('{"class_names": [1]}', r"class_names\[0\]: wanted text"),
        ('{"epsilon": {"a": NaN}}', "got NaN"),
        ('{"epsilon": {"a": -1}}', r"epsilon\.a: wanted a number from 0 to 1"),
        ('{"min_size": 1000000000000}', "min_size: wanted a whole number from 1 to 100000"),
        ('{"builder": "x", "builder": "y"}', "there twice"),
    ],
)
def test_hostile_metadata_of_weights(tmp_path: Path, about: str, says: str) -> None:
    path = tmp_path / "w.safetensors"
    save_file(weights(), path, metadata={"chiaroscuro": about})
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(path)
    assert read_about(path) == {}
    with pytest.raises(CheckpointError):
        cs.load_detector(path)


@pytest.mark.parametrize("length", [0, 2**31, 2**60, 2**63])
def test_a_safetensors_header_that_claims_too_much(tmp_path: Path, length: int) -> None:
    path = tmp_path / "w.safetensors"
    save_file(weights(), path)
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match=r"w\.safetensors is damaged"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="damaged"):
        cs.load_detector(path)


def test_metadata_that_is_no_text(tmp_path: Path) -> None:
    header_text = json.dumps({"__metadata__": {"chiaroscuro": {"detector": 1}}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header_text)) + header_text)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_a_pickle_that_runs_code_is_not_opened(tmp_path: Path) -> None:
    import pickle

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    for suffix in ("pth", "pt", "bin"):
        path = tmp_path / f"w.{suffix}"
        torch.save({"a": Hostile()}, path)
        with pytest.raises(CheckpointError, match="can run any code"):
            read_checkpoint(path)
        stream = io.BytesIO()
        pickle.dump(Hostile(), stream)
        path.write_bytes(stream.getvalue())
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
    assert not (tmp_path / "ran").exists()
