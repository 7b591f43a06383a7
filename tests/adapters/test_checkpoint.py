import argparse
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from chiaroscuro.core.errors import CheckpointError
from chiaroscuro.detectors.checkpoint import (
    named_by_content,
    read_checkpoint,
    write_checkpoint,
)


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.0, -1.0])}


def assert_same(got, wanted) -> None:
    assert list(got) == list(wanted)
    for name in wanted:
        assert torch.equal(got[name], wanted[name])


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PTH"])
def test_reads_what_torch_saved(tmp_path, weights, suffix):
    path = tmp_path / f"model{suffix}"
    torch.save(weights, path)
    checkpoint = read_checkpoint(path)
    assert_same(checkpoint.state_dict, weights)
    assert checkpoint.about == {}


def test_reads_safetensors_of_others(tmp_path, weights):
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = read_checkpoint(str(tmp_path / "model.safetensors"))
    assert checkpoint.state_dict.keys() == weights.keys()
    assert checkpoint.about == {}


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "model."])
def test_unwraps(tmp_path, weights, wrapper, prefix):
    named = {prefix + name: value for name, value in weights.items()}
    torch.save({wrapper: named, "epoch": 3, "best": 0.5}, tmp_path / "model.pth")
    assert_same(read_checkpoint(tmp_path / "model.pth").state_dict, weights)


def test_a_prefix_that_not_all_names_share_stays(tmp_path, weights):
    weights["module.extra"] = torch.zeros(1)
    torch.save(weights, tmp_path / "model.pth")
    assert_same(read_checkpoint(tmp_path / "model.pth").state_dict, weights)


def test_reads_checkpoints_of_torchvisions_training_scripts(tmp_path, weights):
    content = {"model": weights, "args": argparse.Namespace(lr=0.02), "epoch": 1}
    torch.save(content, tmp_path / "model.pth")
    assert_same(read_checkpoint(tmp_path / "model.pth").state_dict, weights)


def save_zip(content, path):
    torch.save(content, path)


def save_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_bare_2(content, path):
    path.write_bytes(pickle.dumps(content["extra"], protocol=2))


def save_bare_4(content, path):
    path.write_bytes(pickle.dumps(content["extra"], protocol=4))


def load_unsafely(path, save):
    with path.open("rb") as file:
        return (
            pickle.load(file)
            if save in (save_bare_2, save_bare_4)
            else torch.load(file, weights_only=False)
        )


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_bare_2, save_bare_4])
@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.safetensors", "model"])
def test_a_hostile_pickle_does_not_run(tmp_path, weights, save, name):
    trace, path = tmp_path / "it-ran", tmp_path / name
    save({"state_dict": weights, "extra": Payload(trace)}, path)

    with pytest.raises(CheckpointError, match="model"):
        read_checkpoint(path)
    assert not trace.exists()

    load_unsafely(path, save)
    assert trace.exists()  # so the payload was live


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_bare_2])
def test_the_refusal_names_the_object_and_the_mend(tmp_path, weights, save):
    path = tmp_path / "model.pth"
    save({"state_dict": weights, "extra": Payload(tmp_path / "x")}, path)
    with pytest.raises(CheckpointError, match=r"was not opened.*(posix|nt)\.mkdir.*state_dict"):
        read_checkpoint(path)


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(nn.Linear(2, 3), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"nn\.modules\.linear\.Linear.*whole pickled model"):
        read_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_missing_empty_and_junk_files(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(tmp_path)  # a folder
    path.touch()
    with pytest.raises(CheckpointError, match="is empty"):
        read_checkpoint(path)
    path.write_bytes(b"no weights at all " * 20)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    state = nn.Linear(20, 30).state_dict()
    torch.save(state, folder / "model.pth")
    save_legacy(state, folder / "legacy.pth")
    save_file(state, folder / "model.safetensors")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@given(share=st.floats(0.01, 0.99), data=st.data())
def test_truncated_files(whole_files, tmp_path_factory, share, data):
    name = data.draw(st.sampled_from(sorted(whole_files)))
    content = whole_files[name]
    path = tmp_path_factory.getbasetemp() / f"truncated-{name}"
    path.write_bytes(content[: max(1, int(share * len(content)))])
    with pytest.raises(CheckpointError, match=rf"truncated-{name} (could not|was not|is damaged)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ({}, "{}"),
        ([torch.zeros(2)], "list"),
        (torch.zeros(2), "Tensor"),
        ({"epoch": 3}, "'epoch': int"),
        ({3: torch.zeros(2)}, "3: Tensor"),
        ({"a": torch.zeros(2), "b": {"c": 1}}, "'b': dict"),
    ],
)
def test_no_state_dict(tmp_path, content, got):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=rf"wanted a state dict.*got.*{got}"):
        read_checkpoint(tmp_path / "model.pth")


def test_ours_comes_back_with_what_was_said_of_it(tmp_path):
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    about = {"builder": "x", "class_names": ["face", "Gesicht", "visage é"]}
    path = tmp_path / "new" / "model.safetensors"
    write_checkpoint(path, model.state_dict(), about)
    checkpoint = read_checkpoint(path)
    assert checkpoint.about == about
    assert torch.equal(checkpoint.state_dict["weight"], model.weight)
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]  # nothing left over


def test_writing_leaves_the_old_file_when_it_fails(tmp_path, weights):
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, weights, {})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_checkpoint(path, weights, {"score": float("nan")})
    assert path.read_bytes() == before


def test_writing_wants_safetensors(tmp_path, weights):
    with pytest.raises(CheckpointError, match=r"ends in \.safetensors"):
        write_checkpoint(tmp_path / "model.pth", weights, {})


def test_tied_weights_can_be_written(tmp_path):
    shared = torch.arange(4.0)
    write_checkpoint(tmp_path / "model.safetensors", {"a": shared, "b": shared}, {})
    read = read_checkpoint(tmp_path / "model.safetensors").state_dict
    assert torch.equal(read["a"], read["b"])


@pytest.mark.parametrize("entry", ["no JSON {", json.dumps([1, 2])])
def test_foreign_metadata(tmp_path, weights, entry):
    save_file(weights, tmp_path / "model.safetensors", metadata={"chiaroscuro": entry})
    with pytest.raises(CheckpointError, match="metadata"):
        read_checkpoint(tmp_path / "model.safetensors")


def test_files_and_folders_are_named_by_what_is_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes(b"{}")
    file = folder / "weights.bin"
    names = []
    for content in (b"1", b"2", b"1"):
        file.write_bytes(content)
        names.append((named_by_content(file), named_by_content(folder)))
    assert names[0] == names[2]
    for first, second in zip(*names[:2], strict=True):
        assert first.split("@")[0] == second.split("@")[0]
        assert first != second
    assert names[0][0] == "weights.bin@6b86b273"  # as sha256sum says
    with pytest.raises(CheckpointError, match="cannot be read"):
        named_by_content(tmp_path / "absent.pth")
