"""Detectors with several classes: which class a target is explained as."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import chiaroscuro as cs
from chiaroscuro.cli import app
from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.plan import Plan, Selection
from chiaroscuro.results.explaining import explain_picture
from chiaroscuro.results.picture import Picture

NAMES = ("face", "hand")
HEIGHT, WIDTH = 48, 80
BOX, ELSEWHERE = [8.0, 8.0, 32.0, 32.0], [50.0, 10.0, 70.0, 30.0]
LEFT, RIGHT = (slice(10, 30), slice(10, 18)), (slice(10, 30), slice(22, 30))


class TwoClasses:
    """A face scored by the left of its box and, in nearly the same place, a hand by the right."""

    info = cs.DetectorInfo(name="two", class_names=NAMES)

    def detect(self, images: Tensor) -> list[cs.Proposals]:
        unit = images.float() / (255 if images.dtype == torch.uint8 else 1)
        return [
            cs.Proposals(
                boxes=[BOX, [8.0, 8.0, 32.0, 31.0]],
                scores=[
                    0.9 * float(image[:, LEFT[0], LEFT[1]].mean()),
                    0.7 * float(image[:, RIGHT[0], RIGHT[1]].mean()),
                ],
                labels=[0, 1],
            )
            for image in unit
        ]


@pytest.fixture
def picture() -> Tensor:
    return torch.full((3, HEIGHT, WIDTH), 0.9)


def peak(result: cs.Explanation) -> str:
    row, column = divmod(int(result.saliency[0].argmax()), WIDTH)
    assert LEFT[0].start - 4 <= row < LEFT[0].stop + 4
    return "left" if column < 20 else "right"


def test_a_box_over_a_found_object_takes_its_class_and_says_so(picture: Tensor) -> None:
    result = cs.explain(picture, TwoClasses(), [BOX], n_passes=200)
    assert result.targets[0].label == 0
    assert result.targets[0].origin == "drawn"
    assert (
        "target 1: it is drawn over a found face (score 0.81) and takes its class"
        in result.notes[0]
    )
    assert peak(result) == "left"


@pytest.mark.parametrize(
    ("name", "side"), [("face", "left"), ("hand", "right"), (" HAND", "right")]
)
def test_the_named_class_is_explained(picture: Tensor, name: str, side: str) -> None:
    result = cs.explain(picture, TwoClasses(), [BOX], target_class=name, n_passes=200)
    assert peak(result) == side
    assert not any("takes its class" in note for note in result.notes)


def test_of_what_is_found_only_the_named_class_is_explained(picture: Tensor) -> None:
    assert [t.label for t in cs.explain(picture, TwoClasses(), n_passes=4).targets] == [0, 1]
    hands = cs.explain(picture, TwoClasses(), target_class="hand", n_passes=4)
    assert [t.label for t in hands.targets] == [1]


def test_a_box_over_nothing_matches_any_class(picture: Tensor) -> None:
    result = cs.explain(picture, TwoClasses(), [ELSEWHERE], n_passes=4)
    assert result.targets[0].label is None


def test_an_unknown_class_is_refused(picture: Tensor) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown class 'hat'.*face, hand"):
        cs.explain(picture, TwoClasses(), [BOX], target_class="hat", n_passes=4)


def test_the_workflow_does_the_same(picture: Tensor, tmp_path: Path) -> None:
    made = explain_picture(
        Picture(source="a.png", image=picture),
        TwoClasses(),
        cs.explain(picture, TwoClasses(), [BOX], n_passes=4).targets,
        tmp_path / "labelled",
        Plan(n_passes=8),
    )
    assert made.result.targets[0].label == 0
    for chosen, label in ((None, 0), ("hand", 1)):
        box = (cs.Target(box=BOX),)
        made = explain_picture(
            Picture(source="a.png", image=picture),
            TwoClasses(),
            box,
            tmp_path / str(chosen),
            Plan(n_passes=8),
            selection=Selection(target_class=chosen),
        )
        assert made.result.targets[0].label == label
        manifest = json.loads((made.folder / "manifest.json").read_text())
        assert manifest["targets"][0]["label"] == label
        assert any(note["kind"] == "class taken" for note in manifest["notes"]) == (chosen is None)


def test_the_command_line_refuses_an_unknown_class_before_any_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "twin.py").write_text("def find(images):\n    raise RuntimeError('was run')\n")
    Image.new("RGB", (WIDTH, HEIGHT)).save("a.png")
    words = ["explain", "a.png", "-d", "twin:find", "--target-class", "hand"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "unknown class 'hand'" in done.stderr


def test_the_workbench_does_the_same(picture: Tensor) -> None:
    pytest.importorskip("starlette")
    from chiaroscuro.web.painting import Detectors, Painting

    detectors = Detectors(["two"])
    detectors._loaded["two"] = TwoClasses()
    painting = Painting(Picture(source="a.png", image=picture), detectors)
    drawn = cs.Target(box=BOX)
    painting.observed["two"] = cs.observe(picture, TwoClasses(), n_passes=20)
    answer = painting.result("two", drawn)
    assert answer["label"] == 0
    assert "takes its class" in answer["notes"][0]
    assert painting.explain_all("two", [drawn]).targets[0].label == 0
