"""``chiaroscuro train`` as a person uses it, on a detector of one weight; alone and as two."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner, Result
from waiting import PATIENCE_S

import chiaroscuro.training.folds
from chiaroscuro.cli import app

LEARNER = '''
import os
import torch
from torch import nn
import chiaroscuro as cs
from chiaroscuro.detectors.checkpoint import write_checkpoint


class Learner:
    """Its loss is a mean over crops; one of its weights is never used."""

    def __init__(self, stop_at=0, broken_at=0):
        self.network = nn.ModuleDict({"used": nn.Linear(1, 1), "spare": nn.Linear(1, 1)})
        for parameter in self.network.parameters():
            nn.init.constant_(parameter, 0.1)
        self.info = cs.DetectorInfo(name="learner")
        self.stop_at, self.broken_at, self.calls = stop_at, broken_at, 0

    def say(self, images):
        return self.network["used"](images.mean(dim=(1, 2, 3))[:, None])

    def detect(self, images):
        with torch.no_grad():
            scores = self.say(images.float() / 255).sigmoid()
        return [cs.Proposals(boxes=[[30, 20, 50, 40]], scores=score) for score in scores]

    def losses(self, images, truth):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        wanted = torch.tensor([[float(len(faces) > 0)] for faces in truth])
        loss = nn.functional.binary_cross_entropy_with_logits(self.say(images), wanted)
        return {"class": loss * float("nan") if self.calls == self.broken_at else loss}

    def save(self, path, about=None):
        write_checkpoint(path, self.network.state_dict(), about or {})


whole, diverges = Learner(), Learner(broken_at=28)
folds_stopped = Learner(stop_at=4)
'''
AS_RANK = """
import os, sys
import torch
from chiaroscuro.cli import app
import learner

try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    torch.save(learner.whole.network.state_dict(), f"rank-{os.environ['RANK']}.pt")
"""
SETTINGS = ["--steps", "30", "--batch-size", "5", "--learning-rate", "0.1"]
CROPS = ["--crop-size", "64", "--long-side", "90,90"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a detector, and four pictures of one bright face each, 90 x 70."""
    (tmp_path / "learner.py").write_text(LEARNER)
    images, annotations = [], []
    for i in range(4):
        pixels = np.full((70, 90, 3), 20 + 10 * i, np.uint8)
        pixels[20:40, 30:50] = 230
        Image.fromarray(pixels).save(tmp_path / f"p{i}.png")
        images.append({"id": i, "file_name": f"p{i}.png", "width": 90, "height": 70})
        annotations.append({"image_id": i, "category_id": 1, "bbox": [30, 20, 20, 20]})
    content = {"images": images, "categories": [{"id": 1, "name": "face"}]}
    (tmp_path / "annotations.json").write_text(json.dumps({**content, "annotations": annotations}))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("learner", None)
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def train(start: str, *words: str) -> Result:
    sys.modules.pop("learner", None)  # every command begins with fresh weights
    options = ["--from", f"learner:{start}", "-o", "out.safetensors", *SETTINGS, *CROPS, *words]
    return CliRunner().invoke(app, ["train", "annotations.json", *options])


def test_a_stopped_command_resumes_and_leaves_no_scratch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_interval = lambda *_, n_resamples: np.full(n_resamples, np.nan)  # noqa: E731  (they are slow)
    monkeypatch.setattr(chiaroscuro.training.folds, "resampled_ap50", no_interval)
    stopped = train("folds_stopped", "--folds", "2")
    assert stopped.exit_code == 1
    assert (
        "what is done is kept in out.training. The same command resumes from there"
        in stopped.stderr
    )
    done = train("whole", "--folds", "2", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pictures"] == 4
    made = folder / "out.training"
    names = {str(path.relative_to(made)) for path in made.rglob("*.*")}
    assert names >= {"log.csv", "samples.png", "folds.json", "fold-1/log.csv", "fold-2/log.csv"}
    assert not list(folder.rglob("state.pt"))


def test_after_nan_the_command_with_a_lower_rate_resumes(folder: Path) -> None:
    failed = train("diverges")
    assert failed.exit_code == 1
    assert "nan at step 28; the last good weights, of step 25, are kept" in failed.stderr
    assert "Lower the learning rate (--learning-rate), now 0.1" in failed.stderr
    assert not (folder / "out.safetensors").exists()
    done = train("whole", "--learning-rate", "0.05")
    assert done.exit_code == 0, done.output
    assert "resumed from step 25, with a learning rate of 0.05" in done.stderr
    assert len((folder / "out.training" / "log.csv").read_text().splitlines()) == 31


def test_broken_pictures_and_boxes_are_reported(folder: Path) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    content["images"].append({"id": 9, "file_name": "none.png", "width": 90, "height": 70})
    content["annotations"].append({"image_id": 0, "category_id": 1, "bbox": [80, 60, 50, 50]})
    content["annotations"].append({"image_id": 0, "category_id": 1, "bbox": [200, 60, 50, 50]})
    (folder / "annotations.json").write_text(json.dumps(content))
    (folder / "p3.png").write_bytes(b"no picture")
    done = train("whole")
    assert done.exit_code == 0, done.output
    for said in (
        "1 picture missing, such as none.png",
        ": the box 200,60,250,110 lies outside the picture",
        "cut to the picture: 1 box that extended past it, such as in p0",
        "left out: 1 unusable picture, such as",
    ):
        assert said in done.stderr
    assert "learned from 3 pictures" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--long-side", "900"), "wanted two numbers of pixels"),
        (("--long-side", "900,500"), "wanted two numbers"),
        (("--patience", "2"), "wanted --validation with it"),
    ],
)
def test_wrong_use_is_said(folder: Path, words: tuple[str, ...], said: str) -> None:
    failed = train("whole", *words)
    assert failed.exit_code == 2
    assert said in failed.stderr


def test_two_processes_train_as_one(folder: Path) -> None:
    """Shares of 2 and 3 crops; the weights are those of one process, and only one speaks."""
    options = ["--validation", "0.3", "--seed", "3"]
    alone = train("whole", *options)
    assert alone.exit_code == 0, alone.output
    wanted = load_file(folder / "out.safetensors")
    log = (folder / "out.training" / "log.csv").read_text()
    (folder / "as_rank.py").write_text(AS_RANK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["train", "annotations.json", "--from", "learner:whole", "-o", "two.safetensors"]
    running = [
        subprocess.Popen(
            [sys.executable, "as_rank.py", *words, *SETTINGS, *CROPS, *options],
            env={
                **os.environ,
                "WORLD_SIZE": "2",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=PATIENCE_S) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert "learned from 3 pictures" in said[0][0]
    assert said[1][0] == ""
    ranks = [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]
    got = load_file(folder / "two.safetensors")
    for name, value in wanted.items():
        assert torch.equal(ranks[0][name], ranks[1][name])
        assert torch.equal(ranks[0][name], got[name])
        torch.testing.assert_close(got[name], value, atol=1e-5, rtol=0)
    assert len((folder / "two.training" / "log.csv").read_text().splitlines()) == len(
        log.splitlines()
    )
