"""``chiaroscuro evaluate`` on results of a detector of our own."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from chiaroscuro.cli import app

BRIGHT = """
import torch
import chiaroscuro as cs

passes = 0

def find(images):
    global passes
    passes += len(images)
    rows = []
    for picture in images:
        score = float(picture[:, 10:30, 20:44].mean())
        rows.append([[20, 10, 44, 30, min(1, 2 * score)]])
    return rows

def nothing(images):
    return [[] for _ in images]

def stops(images):
    if passes > stop_at:
        raise KeyboardInterrupt
    return find(images)

stop_at = 10**9

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.look = torch.nn.Linear(64 * 40, 2, bias=False)
        self.say = torch.nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            place = torch.zeros(40, 64)
            place[10:30, 20:44] = 1 / 480
            self.look.weight.copy_(torch.stack([place.flatten(), place.flatten() * 0]))
            self.say.weight.copy_(torch.tensor([[1.0, 0.0]]))

class Trained:
    def __init__(self):
        self.network = Network()
        self.info = cs.DetectorInfo(name="bright:trained")

    @torch.no_grad()
    def detect(self, images):
        brightness = images.float().mean(dim=1).flatten(1)
        scores = self.network.say(self.network.look(brightness)).clamp(0, 1)
        return [cs.Proposals(boxes=[[20, 10, 44, 30]], scores=score) for score in scores]

trained = Trained()
"""
FACE = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 10, 24, 20], "ignore": 0}


def run(*words: str, expect: int = 0) -> Result:
    """A command; without close-ups, which take time, unless they are in its words."""
    plain = words[:1] in (("explain",), ("study",)) and not {"--closeup", "--help"} & {*words}
    result = CliRunner().invoke(app, [*words, *["--no-closeup"] * plain])
    assert result.exit_code == expect, result.output
    return result


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one picture explained, 64 wide and 40 high."""
    (tmp_path / "bright.py").write_text(BRIGHT)
    pixels = np.random.default_rng(0).integers(5, 20, (40, 64, 3)).astype(np.uint8)
    pixels[10:30, 20:44] += 120
    Image.fromarray(pixels).save(tmp_path / "painting.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("bright", None)
    explain("painting.png")
    yield tmp_path / "out"
    sys.modules.pop("bright", None)


def explain(*words: str, detector: str = "bright:find") -> None:
    run("explain", *words, "-d", detector, "--n-passes", "60", "--out", "out", "--min-score", "0.1")


def coco(**changes: object) -> None:
    content = {
        "images": [{"id": 1, "file_name": "some/painting.png", "width": 64, "height": 40}],
        "categories": [{"id": 1, "name": "person's face"}],
        "annotations": [FACE],
        **changes,
    }
    Path("annotations.json").write_text(json.dumps(content))


def test_a_table_figures_and_files_others_open(results: Path) -> None:
    coco()
    printed = run("evaluate", "out", "--annotations", "annotations.json").stdout
    out = results / "evaluation-chiaroscuro"
    assert "protocol chiaroscuro" in printed
    lines = {line.split()[0]: line.split() for line in printed.splitlines() if line}
    assert lines["map"][:2] in (["map", "targets"], ["map", "1"])
    assert set(lines) >= {"map", "box", "centre", "edges", "random", "whole"}
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    ours = next(row for row in rows if row["map"] == "map")
    assert len(rows) == 5
    assert ours["picture"] == "painting"
    assert ours["pointing_game"] == 1
    assert ours["overall"] == pytest.approx(ours["insertion"] - ours["deletion"])
    noise = next(row for row in rows if row["map"] == "random")
    assert ours["overall"] > noise["overall"] + 0.1
    curves = pq.read_table(out / "curves.parquet").to_pylist()
    assert len(curves) == 10
    assert curves[0]["fraction"][0] == 0
    assert {len(curve["similarity"]) for curve in curves} == {19}
    record = json.loads((out / "evaluation.json").read_text())
    assert record["protocol"]["name"] == "chiaroscuro"
    assert record["metrics"]["deletion"]["better"] == "lower"
    assert record["summary"]["map"]["insertion"]["median"] == pytest.approx(ours["insertion"])
    insertion, deletion = record["collection"]
    assert insertion["n_boxes"] == 1
    assert (insertion["ap50"][-1], deletion["ap50"][0]) == pytest.approx((1, 1))
    for file in record["files"]:
        assert (out / file).stat().st_size > 0
    with Image.open(out / "curves.png") as figure:
        assert figure.width > 1000
    assert "<svg" in (out / "collection.svg").read_text()


def test_two_runs_write_the_same_bytes_but_for_nothing(results: Path) -> None:
    for folder in ("a", "b"):
        run("evaluate", "out", "--out", folder)
    for file in ("curves.svg", "evaluation.json"):
        assert Path("a", file).read_text() == Path("b", file).read_text()


def test_json_is_what_the_file_holds(results: Path) -> None:
    printed = json.loads(run("evaluate", "out/painting", "--no-baselines", "--json").stdout)
    assert list(printed["summary"]) == ["map"]
    assert printed["detector"] == "bright:find"
    assert Path(printed["folder"], "evaluation.json").is_file()


def test_a_second_run_makes_no_detector_pass(results: Path) -> None:
    run("evaluate", "out")
    before = sys.modules["bright"].passes  # type: ignore[attr-defined]
    run("evaluate", "out")
    assert sys.modules["bright"].passes == before  # type: ignore[attr-defined]
    run("evaluate", "out", "--protocol", "painting")  # another question
    look = 1  # a picture mirrored: the box could be x y width height too
    passes = 5 * 2 * 19 + look
    assert sys.modules["bright"].passes == before + passes  # type: ignore[attr-defined]


def test_after_a_stop_what_was_done_is_kept(results: Path) -> None:
    Image.open("painting.png").transpose(Image.Transpose.FLIP_TOP_BOTTOM).save("z.png")
    explain("painting.png", "z.png", "--overwrite", detector="bright:stops")
    bright = sys.modules["bright"]
    passes = 5 * 2 * 19 + 1  # and a picture mirrored, to know the format of the boxes
    bright.stop_at = bright.passes + passes - 1  # type: ignore[attr-defined]
    words = ("evaluate", "out", "--batch-size", "1")
    stopped = run(*words, expect=1)
    assert "resumes from there" in stopped.stderr
    assert Path("out/evaluation-chiaroscuro/pictures/painting.json").is_file()
    assert not Path("out/evaluation-chiaroscuro/evaluation.json").exists()
    before, bright.stop_at = bright.passes, 10**9  # type: ignore[attr-defined]
    run(*words)
    assert bright.passes == before + passes  # type: ignore[attr-defined]


def test_shuffled_weights(results: Path) -> None:
    explain("painting.png", "--overwrite", detector="bright:trained")
    printed = run("evaluate", "out", "--randomisation", "--no-baselines").stdout
    assert "after shuffling weights, stage 2: linear" in printed
    rows = pq.read_table("out/evaluation-chiaroscuro/randomisation.parquet").to_pylist()
    assert [(row["stage"], row["layer"], row["share"] == 1) for row in rows] == [
        (1, "say", False),
        (2, "look", True),
    ]
    assert rows[1]["linear"] < 0.99  # the patch is bright, whatever the weights
    assert 0 < rows[1]["mean_weight"] < 0.5


def test_stability_is_stated_by_what_was_changed(results: Path) -> None:
    printed = run("evaluate", "out", "--stability", "--no-baselines").stdout
    assert "correlation with the map of another seed: linear 0.9" in printed
    rows = pq.read_table("out/evaluation-chiaroscuro/stability.parquet").to_pylist()
    assert [row["variant"] for row in rows] == [
        *("another seed", "fill mean", "fill blur", "grid 8x8", "grid 32x32"),
    ]


def test_a_black_box_cannot_be_shuffled(results: Path) -> None:
    result = run("evaluate", "out", "--randomisation", expect=1)
    assert "black box here" in result.stderr


def test_what_has_no_figure_is_counted_and_reported(results: Path) -> None:
    run(
        *("explain", "painting.png", "-d", "bright:nothing", "--n-passes", "8", "--overwrite"),
        *("--out", "out", "--target", "20,10,44,30"),
    )
    result = run("evaluate", "out")
    assert (
        "left out: picture painting target 1 map map: the map has the same value" in result.stderr
    )
    assert "\nmap " not in result.stdout.split("whole")[0].replace("\nmap     targets", "")
    record = json.loads(Path("out/evaluation-chiaroscuro/evaluation.json").read_text())
    assert record["summary"]["box"]["insertion"]["mean"] == 0  # the detector never fires


def test_all_maps_are_averaged_over_the_same_targets(results: Path) -> None:
    boxes = ("--target", "20,10,44,30", "--target", "2,32,12,39")  # nothing is reported in one
    explain("painting.png", *boxes, "--overwrite")
    run("evaluate", "out")
    record = json.loads(Path("out/evaluation-chiaroscuro/evaluation.json").read_text())
    counts = {
        what: (figures["insertion"]["n"], figures["insertion"]["undefined"])
        for what, figures in record["summary"].items()
    }
    assert counts == dict.fromkeys(("map", "box", "centre", "edges", "random"), (1, 1))
    rows = pq.read_table("out/evaluation-chiaroscuro/scores.parquet").to_pylist()
    (first,) = [r["insertion"] for r in rows if r["map"] == "box" and r["target"] == 1]
    assert record["summary"]["box"]["insertion"]["mean"] == pytest.approx(first)
    table = run("evaluate", "out").stdout
    lines = {line.split()[0]: line.split() for line in table.splitlines() if line}
    assert all(lines[what][1:3] == ["1", "1"] for what in counts)


def test_pictures_without_targets_or_annotations_are_reported(results: Path) -> None:
    Image.new("RGB", (64, 40)).save("black.png")
    explain("black.png", "--target", "all")
    coco(images=[{"id": 1, "file_name": "painting.png", "width": 64, "height": 40}])
    result = run("evaluate", "out", "--annotations", "annotations.json")
    assert "left out: picture black: nothing was explained in it" in result.stderr
    assert "annotations.json has no picture black.png" in result.stderr
    record = json.loads(Path("out/evaluation-chiaroscuro/evaluation.json").read_text())
    assert record["collection"][0]["n_pictures"] == 1


@pytest.mark.parametrize(
    ("words", "says", "status"),
    [
        (("evaluate", "nowhere"), "holds no results", 1),
        (("evaluate", "out", "--protocol", "pointing"), "unknown protocol", 2),
        (("evaluate", "out", "-a", "absent.json"), "absent.json does not exist", 1),
        (("evaluate", "out", "-d", "bright:nothing"), "explain bright:find, not bright:nothing", 1),
        (("evaluate", "out", "-a", "bright.py"), "not readable JSON", 1),
        (
            ("evaluate", "out", "-a", "annotations.json", "-p", "rise"),
            "differ from picture to picture",
            1,
        ),
    ],
)
def test_wrong_use_states_the_remedy(
    results: Path, words: tuple[str, ...], says: str, status: int
) -> None:
    coco()
    assert says in run(*words, expect=status).stderr


def test_sets_that_do_not_fit_are_refused(results: Path) -> None:
    coco(annotations=[])
    assert (
        "no picture has an annotated box"
        in run("evaluate", "out", "-a", "annotations.json", expect=1).stderr
    )
    coco(annotations=[{**FACE, "image_id": 7}])
    assert "belongs to image 7" in run("evaluate", "out", "-a", "annotations.json", expect=1).stderr
    coco(
        categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        annotations=[FACE, {**FACE, "id": 2, "category_id": 2}],
    )
    assert (
        "(cat, dog) are none of the detector's (face)"
        in run("evaluate", "out", "-a", "annotations.json", expect=1).stderr
    )


def test_results_of_two_detectors_are_not_mixed(results: Path) -> None:
    Image.open("painting.png").save("second.png")
    explain("second.png", detector="bright:stops")
    result = run("evaluate", "out", expect=1)
    assert "several detectors (bright:find, bright:stops)" in result.stderr


def test_other_methods_are_scored_beside(results: Path) -> None:
    printed = run("evaluate", "out", "--methods", "occlusion,rise,gradcam", "--no-baselines")
    lines = {line.split()[0]: line.split() for line in printed.stdout.splitlines() if line}
    assert set(lines) >= {"map", "occlusion", "rise"}
    assert "left out: picture painting map gradcam: method gradcam: wanted" in printed.stderr
    assert "black box" in printed.stderr
    out = results / "evaluation-chiaroscuro"
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    assert [row["map"] for row in rows] == ["map", "occlusion", "rise"]
    assert rows[1]["fidelity"] is None
    costs = {row["method"]: row for row in pq.read_table(out / "costs.parquet").to_pylist()}
    assert costs["occlusion"]["n_passes"] <= 60  # as many as the saved map had
    assert costs["rise"]["n_passes"] == 60
    record = json.loads((out / "evaluation.json").read_text())["methods"]
    assert record["occlusion"]["family"] == "perturbation"
    assert record["occlusion"]["n_passes"]["median"] == costs["occlusion"]["n_passes"]
    kept = json.loads((out / "methods/occlusion/painting/manifest.json").read_text())
    assert kept["settings"]["method"] == "occlusion"


def test_maps_of_other_methods_are_made_once(results: Path) -> None:
    run("evaluate", "out", "--methods", "occlusion", "--no-baselines")
    before = sys.modules["bright"].passes  # type: ignore[attr-defined]
    run("evaluate", "out", "--methods", "occlusion", "--no-baselines")
    assert sys.modules["bright"].passes == before  # type: ignore[attr-defined]
    other = ("evaluate", "out", "--methods", "occlusion", "--no-baselines", "--n-passes", "30")
    refused = run(*other, expect=1).stderr
    assert "passes of occlusion were auto, are 30" in refused
    assert "another --out" in refused
    assert sys.modules["bright"].passes == before  # type: ignore[attr-defined]
    run(*other, "--overwrite")
    assert sys.modules["bright"].passes > before  # type: ignore[attr-defined]


def test_other_methods_are_as_steady_as_they_are(results: Path) -> None:
    explain("painting.png", "--overwrite", detector="bright:trained")
    options = ("--stability", "--randomisation", "--no-baselines")
    printed = run("evaluate", "out", "-m", "occlusion", *options).stdout
    assert "occlusion, stability, another seed: linear 1.000" in printed
    assert "occlusion, stability, slight noise: linear" in printed
    assert "occlusion, randomisation, stage 2: linear" in printed
    rows = pq.read_table("out/evaluation-chiaroscuro/randomisation.parquet").to_pylist()
    assert [row["map"] for row in rows] == ["map", "map", "occlusion", "occlusion"]
    assert rows[2]["mean_weight"] is None


def test_a_map_of_another_method_is_evaluated_like_any(results: Path) -> None:
    explain("painting.png", "--method", "occlusion", "--overwrite")
    printed = run("evaluate", "out", "--stability", "--no-baselines").stdout
    assert "correlation with the map of slight noise: linear" in printed
    assert {line.split()[0] for line in printed.splitlines() if line} >= {"map"}


def test_unknown_methods_are_refused_before_any_pass(results: Path) -> None:
    before = sys.modules["bright"].passes  # type: ignore[attr-defined]
    result = run("evaluate", "out", "--methods", "occlusion,lyme", expect=2)
    assert "unknown method 'lyme'" in result.stderr
    assert sys.modules["bright"].passes == before  # type: ignore[attr-defined]


def contents_of(folder: Path) -> dict[str, object]:
    """The tables and what evaluation.json says, without times and counts of passes a second."""
    record = json.loads((folder / "evaluation.json").read_text())
    for method in record["methods"].values():
        del method["times_a_pass"]
    tables = {
        name: pq.read_table(folder / f"{name}.parquet").to_pylist()
        for name in ("scores", "curves", "stability", "randomisation")
    }
    return {**tables, **record}


PARTS = {
    "baselines": (),
    "methods": ("--no-baselines", "--methods", "occlusion"),
    "stability": ("--no-baselines", "--stability", "--methods", "occlusion"),
    "randomisation": ("--no-baselines", "--randomisation", "--methods", "occlusion"),
    "annotations": ("--no-baselines", "--annotations", "annotations.json"),
}


def test_commands_in_any_order_add_up_to_one_with_all_options(results: Path) -> None:
    coco()
    explain("painting.png", "--overwrite", detector="bright:trained")
    words = [word for part in PARTS.values() for word in part if word != "--no-baselines"]
    run("evaluate", "out", "--out", "whole", *words)
    whole = contents_of(Path("whole"))
    names = list(PARTS)
    for turn in range(len(names)):  # every part comes first, and last, once
        folder = f"turn-{turn}"
        for name in (*names[turn:], *names[:turn]):
            run("evaluate", "out", "--out", folder, *PARTS[name])
        assert contents_of(Path(folder)) == whole
    last = run("evaluate", "out", "--out", folder, "--no-baselines").stdout
    lines = {line.split()[0] for line in last.splitlines() if line}
    assert {"map", "box", "random", "occlusion", "whole", "correlation"} <= lines


def test_figures_of_other_maps_or_settings_are_refused_with_the_remedy(results: Path) -> None:
    coco()
    run("evaluate", "out", "-a", "annotations.json")
    before = Path("out/evaluation-chiaroscuro/evaluation.json").read_bytes()
    explain("painting.png")  # the same maps again
    run("evaluate", "out", "-a", "annotations.json")
    folder = ("--out", "out/evaluation-chiaroscuro")
    refused = run("evaluate", "out", "-p", "painting", *folder, expect=1).stderr
    assert "protocol was chiaroscuro, is painting" in refused
    coco(annotations=[{**FACE, "bbox": [20, 10, 20, 20]}])
    refused = run("evaluate", "out", "-a", "annotations.json", expect=1).stderr
    assert "the curves of the whole set are of other annotations" in refused
    assert "--overwrite" in refused
    explain("painting.png", "--target", "2,32,12,39", "--target", "20,10,44,30")
    refused = run("evaluate", "out", expect=1).stderr
    assert "the maps of painting have changed since" in refused
    assert Path("out/evaluation-chiaroscuro/evaluation.json").read_bytes() == before
    run("evaluate", "out", "--no-baselines", "--overwrite")
    record = json.loads(Path("out/evaluation-chiaroscuro/evaluation.json").read_text())
    assert list(record["summary"]) == ["map"]  # what was of the other maps is gone
    assert not record["collection"]


def test_what_is_measured_on_some_pictures_is_in_no_summary(results: Path) -> None:
    run("evaluate", "out", "--methods", "occlusion")
    Image.open("painting.png").transpose(Image.Transpose.FLIP_TOP_BOTTOM).save("z.png")
    explain("z.png")
    out = run("evaluate", "out", "--no-baselines")
    assert "occlusion was measured on 1 of 2 pictures" in out.stderr
    assert "the baselines were measured on 1 of 2 pictures" in out.stderr
    record = json.loads(Path("out/evaluation-chiaroscuro/evaluation.json").read_text())
    assert list(record["summary"]) == ["map"]
    assert record["summary"]["map"]["insertion"]["n"] == 2
    rows = pq.read_table("out/evaluation-chiaroscuro/scores.parquet").to_pylist()
    assert {row["map"] for row in rows if row["picture"] == "painting"} >= {"occlusion", "box"}
    assert "measured on 1 of 2" not in run("evaluate", "out", "--methods", "occlusion").stderr


def test_stability_is_compared_over_the_same_targets(results: Path) -> None:
    boxes = ("--target", "20,10,44,30", "--target", "2,32,12,39")  # nothing is reported in one
    explain("painting.png", *boxes, "--overwrite")
    printed = run("evaluate", "out", "--no-baselines", "--stability").stdout
    record = json.loads(Path("out/evaluation-chiaroscuro/evaluation.json").read_text())
    counts = {
        (figures["n"], figures["undefined"])
        for kinds in record["stability"].values()
        for figures in kinds.values()
    }
    assert counts == {(1, 1)}
    assert "1 target" in printed
