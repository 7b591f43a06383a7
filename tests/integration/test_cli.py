"""The command line as a person uses it, on a detector of our own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result
from waiting import wait_for

import chiaroscuro as cs
from chiaroscuro.cli import app

FINDS_BRIGHT = """
import os, sys, time

def find(images):
    rows = []
    for picture in images:
        score = float(picture[:, 10:30, 20:44].mean())
        rows.append([[20, 10, 44, 30, min(1, 2 * score)]])
    return rows

def nothing(images):
    return [[] for _ in images]

def slow(images):
    global passes
    passes += len(images)
    if passes > 20 and not os.path.exists("under-way"):
        open("under-way", "w").close()
        print("under way", file=sys.stderr, flush=True)
        time.sleep(3600)  # until the signal comes
    return find(images)

passes = 0

def counting(images):
    global passes
    passes += len(images)
    return find(images)

def fails_late(images):
    global passes
    passes += len(images)
    if passes > 9:
        raise RuntimeError("the camera fell off")
    return find(images)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a detector and a dark picture with one bright patch, 64 wide and 40 high."""
    (tmp_path / "bright.py").write_text(FINDS_BRIGHT)
    pixels = np.full((40, 64, 3), 12, dtype=np.uint8)
    pixels[10:30, 20:44] = 220
    Image.fromarray(pixels).save(tmp_path / "painting.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("bright", None)
    yield tmp_path
    sys.modules.pop("bright", None)


def run(*words: str, expect: int = 0) -> Result:
    """A command; without close-ups, which take time, unless they are in its words."""
    plain = words[:1] in (("explain",), ("study",)) and not {"--closeup", "--help"} & {*words}
    result = CliRunner().invoke(app, [*words, *["--no-closeup"] * plain])
    assert result.exit_code == expect, result.output
    return result


def test_explain_writes_what_it_says(folder: Path) -> None:
    result = run("explain", "painting.png", "-d", "bright:find", "--n-passes", "60", "--out", "out")
    made = folder / "out" / "painting"
    assert sorted(p.name for p in made.iterdir()) == [
        "contact-sheet.png",
        "evidence.npz",
        "manifest.json",
        "saliency.npz",
        "target-01.png",
    ]
    assert "box 20,10,44,30" in result.stdout
    assert "contact-sheet.png" in result.stdout
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["settings"]["n_passes"] == 60
    assert manifest["settings"]["seed"] == 0
    assert manifest["picture"]["width"] == 64
    explanation = cs.Explanation.load(made)
    y, x = divmod(int(explanation.saliency[0].argmax()), 64)
    assert 10 <= y < 30
    assert 20 <= x < 44


def test_explain_makes_close_ups(folder: Path) -> None:
    words = ("explain", "painting.png", "-d", "bright:find", "--n-passes", "100", "--closeup")
    result = run(*words, "--out", "out")
    made = folder / "out" / "painting"
    (record,) = json.loads((made / "manifest.json").read_text())["targets"]
    assert record["closeup"]["source"]["n_masks"] == 100
    assert (made / "closeup-01.npz").is_file()
    assert "close-up 0." in result.stdout
    assert "and 132 in 1 close-up, the cost of 232 passes" in result.stdout
    before = (made / "closeup-01.npz").read_bytes()
    run(*words, "--out", "out")
    assert (made / "closeup-01.npz").read_bytes() == before


def test_evidence_of_one_target_is_kept_when_another_is_explained(folder: Path) -> None:
    words = ("explain", "painting.png", "-d", "bright:counting", "--n-passes", "40", "--closeup")
    run(*words, "--out", "out")
    file = folder / "out" / "painting" / "evidence.npz"
    before = cs.Evidence.load(file)
    run(*words, "--out", "out", "--target", "18,8,40,28")
    after = cs.Evidence.load(file)
    assert {one.kept_for for one in before.closeups} < {one.kept_for for one in after.closeups}
    bright = sys.modules["bright"]
    seen = bright.passes
    run(*words, "--out", "out")
    assert bright.passes - seen <= 2  # the picture, and the picture mirrored


def test_explain_prints_json(folder: Path) -> None:
    result = run(
        *("explain", "painting.png", "-d", "bright:find", "--n-passes", "20", "--json"),
        *("--target", "all", "--target", "1,2,30,35"),
    )
    (printed,) = json.loads(result.stdout)
    assert [t["origin"] for t in printed["targets"]] == ["found", "drawn"]
    assert printed["targets"][1]["box_in_file"] == [1, 2, 30, 35]
    assert Path(printed["targets"][1]["overlay"]).exists()


def test_same_seed_same_maps(folder: Path) -> None:
    for out, batch in (("a", "1"), ("b", "7")):
        run(
            *("explain", "painting.png", "-d", "bright:find", "--n-passes", "30", "--seed", "5"),
            *("--out", out, "--batch-size", batch),
        )
    first, second = (cs.Explanation.load(folder / out / "painting") for out in "ab")
    assert bool((first.saliency == second.saliency).all())


def test_another_target_costs_no_pass(folder: Path) -> None:
    run("explain", "painting.png", "-d", "bright:counting", "--n-passes", "25", "--out", "out")
    passes = sys.modules["bright"].passes
    look = 2  # the whole picture, and once mirrored: its box could be x y width height too
    assert passes == 25 + look
    run(
        *("explain", "painting.png", "-d", "bright:counting", "--n-passes", "25", "--out", "out"),
        *("--target", "2,2,40,38"),
    )
    assert sys.modules["bright"].passes == passes + look
    run("explain", "painting.png", "-d", "bright:counting", "--n-passes", "40", "--out", "out")
    assert sys.modules["bright"].passes == passes + 2 * look + 15


def test_evidence_of_something_else_is_not_mixed_in(folder: Path) -> None:
    words = ("explain", "painting.png", "-d", "bright:find", "--n-passes", "20", "--out", "out")
    run(*words)
    result = run(*words, "--seed", "1", expect=1)
    assert "seed was 0, is 1" in result.stderr
    assert "--overwrite" in result.stderr
    run(*words, "--seed", "1", "--overwrite")


def test_larger_pictures_are_reduced_and_boxes_stay_in_the_files_pixels(folder: Path) -> None:
    with Image.open("painting.png") as picture:
        picture.resize((640, 400), Image.Resampling.NEAREST).save("large.png")
    result = run(
        *("explain", "large.png", "-d", "bright:find", "--n-passes", "20", "--json"),
        *("--max-side", "64", "--target", "200,100,440,300"),
    )
    (printed,) = json.loads(result.stdout)
    assert printed["picture"]["scale"] == pytest.approx(0.1)
    assert printed["targets"][0]["box"] == [20, 10, 44, 30]
    assert printed["targets"][0]["box_in_file"] == [200, 100, 440, 300]
    assert "reduced to 64x40" in result.stderr


FINDS_RECTANGLES = """
import torch

def find(images):  # white rectangles of 8 to 80 pixels, from their upper left corners
    rows = []
    for picture in images.float().mean(dim=1) > 0.5:
        dark = torch.nn.functional.pad(~picture, (1, 1, 1, 1), value=True)
        found = []
        for y, x in (picture & dark[:-2, 1:-1] & dark[1:-1, :-2]).nonzero().tolist():
            width = int(dark[y + 1, x + 1:].int().argmax())
            height = int(dark[y + 1:, x + 1].int().argmax())
            if 8 <= min(width, height) and max(width, height) <= 80:
                score = 1 / (1 + abs(width - 30) / 30)
                found.append([x, y, x + width, y + height, score])
        rows.append(found)
    return rows
"""


def test_large_pictures_are_searched_and_explained_in_tiles(folder: Path) -> None:
    (folder / "rectangles.py").write_text(FINDS_RECTANGLES)
    pixels = np.zeros((1000, 2000, 3), np.uint8)
    boxes = [(60, 50, 90, 80), (1900, 900, 1930, 940), (900, 400, 1040, 540)]
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = 255
    Image.fromarray(pixels).save("scan.png")
    found = json.loads(run("detect", "scan.png", "-d", "rectangles:find", "--json").stdout)
    detected = sorted(tuple(row["box"]) for row in found[0]["detections"])
    assert np.allclose(detected, sorted(boxes), atol=2)
    words = ("explain", "scan.png", "-d", "rectangles:find", "--n-passes", "8", "--no-windows")
    result = run(*words, "--out", "out", "--json")
    assert "of 2000x1000 pixels, so explained in tiles: 3 targets in 3 tiles" in result.stderr
    printed = json.loads(result.stdout)
    explained = [target["box_in_file"] for one in printed for target in one["targets"]]
    assert np.allclose(sorted(explained), sorted(boxes), atol=2)
    names = sorted(path.name for path in (folder / "out").iterdir())
    assert names == ["scan", "scan__0-0-1160-1000", "scan__840-0-2000-1000"]
    assert printed[0]["picture"]["scale"] == 0.5
    assert printed[1]["picture"]["part"] == [0, 0, 1160, 1000]
    again = run(*words, "--out", "out", "--target", "1880,880,1940,960", "--json")
    (one,) = json.loads(again.stdout)
    assert one["folder"].endswith("scan__840-0-2000-1000")
    assert one["targets"][0]["box_in_file"] == [1880, 880, 1940, 960]
    run("evaluate", "out", "-d", "rectangles:find", "--no-baselines")
    ramp = np.repeat(np.arange(2000, dtype=np.uint16)[None] // 8, 1000, axis=0).astype(np.uint8)
    Image.fromarray(ramp).save("ramp.png")
    run(*words, "--out", "filled", "--target", "1880,880,1940,960", "--fill", "ramp.png")
    fill = cs.Evidence.load(
        folder / "filled" / "scan__840-0-2000-1000" / "evidence.npz"
    ).design.fill
    assert int(fill[0, 5, 5]) == 845 // 8  # the tile's part of the fill
    Image.new("RGB", (1600, 900)).save("dark.png")
    nothing = run("explain", "dark.png", "-d", "rectangles:find", "--out", "nothing")
    assert "lower the score (--min-score 0.1)" in nothing.stderr
    whole = run(*words, "--out", "whole", "--max-side", "0", "--json")
    assert [len(one["targets"]) for one in json.loads(whole.stdout)] == [2]  # the large one is not


def test_nothing_found_is_no_failure(folder: Path) -> None:
    result = run("explain", "painting.png", "-d", "bright:nothing", "--out", "out")
    assert "--min-score" in result.stderr
    assert "--target x1,y1,x2,y2" in result.stderr
    assert (folder / "out" / "painting" / "manifest.json").exists()
    result = run("detect", "painting.png", "-d", "bright:nothing")
    assert result.stdout == ""
    assert "--min-score" in result.stderr


def test_detect_prints_boxes_and_json(folder: Path) -> None:
    assert "20.0,10.0,44.0,30.0" in run("detect", "painting.png", "-d", "bright:find").stdout
    (printed,) = json.loads(run("detect", "painting.png", "-d", "bright:find", "--json").stdout)
    assert printed["detections"][0]["box"] == [20, 10, 44, 30]
    assert printed["detections"][0]["class"] == "face"


def test_detectors_lists_what_would_make_them_usable(folder: Path) -> None:
    assert "centerface" in run("detectors").stdout
    printed = {entry["name"]: entry for entry in json.loads(run("detectors", "--json").stdout)}
    assert printed["torchvision"]["usable"]
    assert all(entry["usable"] or entry["missing"] for entry in printed.values())


def test_a_broken_picture_is_reported_and_the_others_are_explained(folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not much of a picture")
    result = run(
        *("explain", "broken.jpg", "painting.png", "absent.png", "-d", "bright:find"),
        *("--n-passes", "10", "--out", "out"),
        expect=1,
    )
    assert "broken.jpg" in result.stderr
    assert "absent.png" in result.stderr
    assert (folder / "out" / "painting" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["explain"], 2, "Missing argument"),
        (["explain", "painting.png", "-d", "facefinder"], 2, "unknown detector"),
        (["explain", "painting.png", "-d", "bright:find", "--target", "1,2,3"], 2, "four numbers"),
        (["explain", "painting.png", "-d", "bright:find", "-t", "9,9,3,3"], 2, "without area"),
        (["explain", "painting.png", "-d", "bright:find", "-t", "90,9,99,30"], 2, "outside"),
        (["explain", "painting.png", "-d", "bright:find", "--n-passes", "few"], 2, "auto"),
        (["explain", "painting.png", "-d", "bright:find", "--fill", "noise"], 2, "black, mean"),
        (["explain", "painting.png", "-d", "bright:find", "--colours", "no"], 2, "signed"),
        (["explain", "painting.png", "-d", "bright:find", "--ground", "beige"], 2, "light"),
        (["explain", "painting.png", "-d", "bright:find", "--estimator", "x"], 2, "centred"),
        (["explain", "painting.png", "-d", "bright:find", "--fidelity", "2"], 2, "fidelity"),
        (["explain", "painting.png", "-d", "bright:find", "-O", "layout"], 2, "KEY=VALUE"),
        (["explain", "painting.png", "-d", "weights.pth"], 1, "does not exist"),
        (["detect", "absent.png", "-d", "bright:find"], 1, "absent.png"),
    ],
)
def test_wrong_use_and_failures_name_the_remedy(
    folder: Path, words: list[str], status: int, says: str
) -> None:
    result = run(*words, expect=status)
    assert says in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_detector_that_raises_leaves_its_evidence_and_the_run_is_resumed(folder: Path) -> None:
    words = ("explain", "painting.png", "--n-passes", "30", "--batch-size", "1", "--out", "out")
    result = run(*words, "-d", "bright:fails_late", expect=1)
    assert "the camera fell off" in result.stderr
    kept = cs.Evidence.load(folder / "out" / "painting" / "evidence.npz")
    assert kept.n_masks == 7  # of nine passes, beside the picture and the picture mirrored
    assert not (folder / "out" / "painting" / "manifest.json").exists()
    sys.modules["bright"].passes = -1000
    run(*words, "-d", "bright:fails_late")
    assert sys.modules["bright"].passes == -1000 + 2 + 23


def test_fill_by_picture_and_other_fills(folder: Path) -> None:
    Image.new("RGB", (10, 10), "grey").save("grey.png")
    maps = {}
    for fill, stated in (("blur", "blur"), ("mean", "mean"), ("grey.png", "image")):
        run(
            *("explain", "painting.png", "-d", "bright:find", "--n-passes", "8"),
            *("--fill", fill, "--out", f"out-{fill}"),
        )
        made = Path(f"out-{fill}") / "painting"
        assert cs.Explanation.load(made).settings.design.fill == stated
        maps[fill] = cs.Explanation.load(made).saliency
    assert not torch.equal(maps["blur"], maps["mean"])
    assert not torch.equal(maps["grey.png"], maps["mean"])
    grey = cs.Evidence.load(Path("out-grey.png") / "painting" / "evidence.npz").design.fill
    assert set(grey.flatten().tolist()) == {128}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_what_is_done_and_the_same_command_resumes(
    folder: Path, number: signal.Signals
) -> None:
    words = [
        *(sys.executable, "-m", "chiaroscuro", "explain", "painting.png", "-d", "bright:slow"),
        *("--n-passes", "400", "--batch-size", "2", "--out", "out", "--no-closeup"),
    ]
    process = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        # a test run in the background ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(process, "under way")
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert "The same command resumes from there" in errors
    kept = cs.Evidence.load(folder / "out" / "painting" / "evidence.npz").n_masks
    assert 0 < kept < 400
    run(
        *("explain", "painting.png", "-d", "bright:slow", "--n-passes", "400", "--out", "out"),
        *("--batch-size", "2"),
    )
    resumed = cs.Explanation.load(folder / "out" / "painting")
    fresh = cs.explain(
        cs.read_image("painting.png"),
        sys.modules["bright"].find,
        [[20, 10, 44, 30]],
        n_passes=400,
    )
    assert bool((resumed.saliency[0] == fresh.saliency[0]).all())


def test_help_teaches(folder: Path) -> None:
    for command in ("demo", "detectors", "detect", "explain"):
        assert "Usage" in run(command, "--help").stdout
    assert "the same command resumes" in " ".join(run("explain", "--help").stdout.split())
    assert run("--version").stdout.startswith("chiaroscuro 0.")


def test_explain_by_another_method(folder: Path) -> None:
    words = ("explain", "painting.png", "-d", "bright:find", "--n-passes", "60", "--out", "out")
    result = run(*words, "--method", "occlusion")
    assert "fidelity" not in result.stdout
    made = folder / "out" / "painting"
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["settings"]["method"] == "occlusion"
    assert manifest["settings"]["n_passes"] <= 60
    assert manifest["targets"][0]["fidelity"] is None
    assert "mean over the windows" in manifest["meaning"]
    assert cs.Evidence.load(made / "evidence.npz").n_masks == 0
    run(*words)  # D-RISE resumes in the same folder
    assert cs.Evidence.load(made / "evidence.npz").n_masks == 60
    run(*words, "--method", "rise")
    assert cs.Evidence.load(made / "evidence.npz").n_masks == 60


def test_explain_says_what_a_method_needs(folder: Path) -> None:
    words = ("explain", "painting.png", "-d", "bright:find", "--method")
    gradient = run(*words, "gradcam", expect=1)
    assert "black box" in gradient.stderr
    assert "no network, propose and feature_layers" in gradient.stderr
    assert "unknown method 'gradkam'" in run(*words, "gradkam", expect=2).stderr
    assert "search: wanted at least" in run(*words, "search", "--n-passes", "9", expect=1).stderr


def test_a_result_of_another_picture_is_not_written_over_by_any_method(folder: Path) -> None:
    words = ("explain", "painting.png", "-d", "bright:find", "--n-passes", "20", "--out", "out")
    run(*words)
    Image.new("RGB", (64, 40), "grey").save("painting.png")
    refused = run(*words, "--method", "occlusion", expect=1)
    assert "--overwrite" in refused.stderr


@pytest.mark.parametrize(
    ("box", "says"),
    [
        (
            "500,10,600,90",
            "target 500,10,600,90 lies outside the picture, which is 400 pixels wide",
        ),
        ("10,350,20,360", "400 pixels wide and 300 high"),
        ("10,10,10,50", "got 10,10,10,50, a box without area"),
    ],
)
def test_errors_of_targets_are_in_the_pixels_of_the_file(folder: Path, box: str, says: str) -> None:
    Image.new("RGB", (400, 300)).save(folder / "big.png")
    words = ("explain", str(folder / "big.png"), "-d", "bright:find", "--max-side", "64")
    result = CliRunner().invoke(app, [*words, "-o", str(folder / "out"), "--target", box])
    assert result.exit_code == 2
    assert says in result.stderr
