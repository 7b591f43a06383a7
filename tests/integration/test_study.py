"""``chiaroscuro study`` on a set whose matches, misses and averages are known by hand."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner, Result
from waiting import wait_for

import chiaroscuro as cs
from chiaroscuro.cli import app
from chiaroscuro.store.bundle import as_path

FINDS_PATCHES = """
import os, sys, time

PLACES = [(10, 10), (50, 10), (10, 40), (50, 40)]  # of patches of 20 x 16

def patches(picture):
    rows = []
    for x, y in PLACES:
        score = float(picture[:, y : y + 16, x : x + 20].mean())
        if score > 0.02:
            rows.append([x, y, x + 20, y + 16, score])
    return rows

def find(images):
    return [patches(picture) for picture in images]

def held_after_two(images):
    # says when the second picture is done, and waits to be killed, once
    if os.path.exists("run/pictures/p1/manifest.json") and not os.path.exists("held"):
        open("held", "w").close()
        print("two pictures are done", file=sys.stderr, flush=True)
        time.sleep(3600)
    return find(images)

def left_only(images):
    return [[row for row in patches(picture) if row[0] == 10] for picture in images]

def deadly_on_blue(images):
    if bool((images[:, 2].mean(dim=(1, 2)) > 0.4).any()):
        os.kill(os.getpid(), 9)
    return find(images)

def dies_once(images):
    if not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), 9)
    return find(images)

def fails_on_blue(images):
    if bool((images[:, 2].mean(dim=(1, 2)) > 0.4).any()):
        raise RuntimeError("blue is too much")
    return find(images)
"""
HIT, MISS, ELSEWHERE = [10, 10, 20, 16], [50, 40, 20, 16], [2, 44, 10, 10]


def run(*words: str, expect: int = 0) -> Result:
    """A command; without close-ups, which take time, unless they are in its words."""
    plain = words[:1] in (("explain",), ("study",)) and not {"--closeup", "--help"} & {*words}
    result = CliRunner().invoke(app, [*words, *["--no-closeup"] * plain])
    assert result.exit_code == expect, result.output
    return result


def paint(path: Path, **levels: int) -> None:
    """A dark picture, 80 wide and 64 high, whose patches have these brightnesses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((64, 80, 3), 2, dtype=np.uint8)
    for name, (x, y) in {"a": (10, 10), "b": (50, 10), "c": (10, 40), "d": (50, 40)}.items():
        pixels[y : y + 16, x : x + 20] = levels.get(name, 2)
    Image.fromarray(pixels).save(path)


def annotate(**boxes: list[list[float]]) -> None:
    images = [
        {"id": 100 + i, "file_name": f"{name}.png", "width": 80, "height": 64}
        for i, name in enumerate(boxes)
    ]
    annotations = [
        {"id": i, "image_id": 100 + list(boxes).index(name), "category_id": 7, "bbox": box}
        for i, (name, box) in enumerate((name, box) for name, rows in boxes.items() for box in rows)
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "face"}],
    }
    Path("annotations.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two pictures: one with a hit and a missed face, one with a hit and a false positive."""
    (tmp_path / "patches.py").write_text(FINDS_PATCHES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("patches", None)
    paint(Path("one.png"), a=230, d=60)
    paint(Path("two.png"), a=200, b=180)
    annotate(one=[HIT, MISS], two=[HIT])
    yield tmp_path
    sys.modules.pop("patches", None)


STUDY = (
    *("study", "annotations.json", "-d", "patches:find", "--n-passes", "100", "-o", "run"),
    *("--grid-size", "20"),  # cells of a quarter of a patch
)


def test_hits_false_positives_and_misses(folder: Path) -> None:
    printed = run(*STUDY).stdout
    assert "2 pictures, the cost of 200 passes: 2 hit, 1 missed, 1 false positive" in printed
    rows = pq.read_table("run/targets.parquet").to_pylist()
    assert [(row["picture"], row["kind"], row["match"]) for row in rows] == [
        ("one", "hit", "hit"),
        ("one", "missed", None),
        ("two", "hit", "hit"),
        ("two", "false positive", "background"),
    ]
    assert [rows[1][name] for name in ("x1", "y1", "x2", "y2")] == [50, 40, 70, 56]
    assert rows[0]["score"] == pytest.approx(230 / 255, abs=1e-3)
    assert rows[0]["in_box"] > 0.4
    figures = json.loads(Path("run/summary.json").read_text())
    assert figures["precision"]["value"] == pytest.approx(2 / 3)
    assert figures["recall"]["value"] == pytest.approx(2 / 3)
    # three annotated; found down to a low score: all of them, and one false positive third by score
    assert figures["average_precision"]["ap50"] == pytest.approx((67 + 34 * 3 / 4) / 101)
    assert figures["misses"] == {"weak": 1}


def test_a_missed_face_is_read_from_what_is_proposed_in_its_place(folder: Path) -> None:
    run(*STUDY)
    missed = pq.read_table("run/targets.parquet").to_pylist()[1]
    assert missed["reading"] == "weak"  # its patch has a score of .24, below .3, under any mask
    assert missed["whole_score"] == pytest.approx(60 / 255, abs=1e-3)
    assert missed["best_score"] <= missed["whole_score"] + 1e-3
    assert missed["share_found"] == 0
    assert "lost when proposals are scored" in missed["why"]


def test_the_report_is_one_file_that_says_what_the_tables_say(folder: Path) -> None:
    run(*STUDY)
    page = Path("run/report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2 * 4 + 2 * 3
    assert "http" not in page.replace("http://www.w3.org", "")
    for text in ("0.667", "Missed faces", "False positives", "1 is proposed with too low a score"):
        assert text in page


def test_averages_are_those_of_the_boxes(folder: Path) -> None:
    run(*STUDY)
    with np.load("run/average-hit.npz") as average:
        assert average["n_targets"] == 2
        saliency, face, count = average["saliency"], average["face"], average["count"]
    assert saliency.shape == (128, 128)
    # the box is the middle 64: bright there, dark around it
    brightness = (230 + 200) / 2 / 255
    assert face[:, 40:88, 40:88].mean() == pytest.approx(brightness, abs=0.01)
    assert face[:, :24].mean() < 0.1
    assert saliency[40:88, 40:88].mean() > 3 * saliency[:16].mean()
    assert count.max() == 2
    with np.load("run/average-missed.npz") as average:
        assert average["count"][:, -1].max() == 1  # 10 px right of the box are still inside
        assert average["n_targets"] == 1


def test_coco_results_are_in_the_files_own_numbers(folder: Path) -> None:
    Image.open("one.png").resize((160, 128), Image.Resampling.NEAREST).save("large.png")
    annotate(large=[[20, 20, 40, 32]])
    content = json.loads(Path("annotations.json").read_text())
    content["images"][0].update(width=160, height=128)
    Path("annotations.json").write_text(json.dumps(content))
    run(*STUDY, "--max-side", "80")
    rows = json.loads(Path("run/detections.json").read_text())
    best = max(rows, key=lambda row: row["score"])
    assert best["image_id"] == 100
    assert best["category_id"] == 7
    assert best["bbox"] == [20, 20, 40, 32]
    assert pq.read_table("run/targets.parquet").to_pylist()[0]["kind"] == "hit"


def test_a_second_run_computes_nothing_and_other_settings_are_refused(folder: Path) -> None:
    run(*STUDY)
    before = {path: path.stat().st_mtime_ns for path in Path("run/pictures").rglob("*.npz")}
    run(*STUDY)
    assert before == {path: path.stat().st_mtime_ns for path in Path("run/pictures").rglob("*.npz")}
    refused = run(*STUDY, "--seed", "3", "--match-iou", "0.4", expect=1)
    assert "settings.plan.seed was 0, is 3; settings.match_iou was 0.5, is 0.4" in refused.stderr
    annotate(one=[HIT], two=[HIT])
    assert "1 picture changed, or its annotations have (one)" in run(*STUDY, expect=1).stderr


def test_a_broken_picture_is_reported_and_skipped(folder: Path) -> None:
    Path("one.png").write_text("no picture")
    result = run(*STUDY, expect=1)
    assert "one: " in result.stderr
    assert "1 picture, the cost of 100 passes" in result.stdout
    assert "not a picture" in result.stderr
    paint(Path("one.png"), a=230, d=60)
    again = run(*STUDY, expect=1)  # its content has changed, so it is another data set
    assert "changed" in again.stderr


def test_a_detector_that_fails_on_one_picture(folder: Path) -> None:
    Image.new("RGB", (80, 64), (0, 0, 255)).save("blue.png")
    annotate(one=[HIT], blue=[HIT], two=[HIT])
    words = [word if word != "patches:find" else "patches:fails_on_blue" for word in STUDY]
    result = run(*words, expect=1)
    assert "blue is too much" in result.stderr
    assert "2 pictures, the cost of 200 passes" in result.stdout


def test_a_folder_without_annotations(folder: Path) -> None:
    Path("pictures").mkdir()
    Path("one.png").rename("pictures/one.png")
    result = run("study", "pictures", "-d", "patches:find", "--n-passes", "60", "-o", "run")
    assert "1 picture, the cost of 60 passes: 1 found" in result.stdout
    assert "precision" not in result.stdout
    assert "Detections" in Path("run/report.html").read_text()


def test_missing_pictures_are_reported(folder: Path) -> None:
    Path("two.png").unlink()
    result = run(*STUDY)
    assert "1 picture missing, such as two.png" in result.stderr
    assert "1 picture not on this machine" in Path("run/report.html").read_text()


def test_two_processes_do_not_share_a_run_folder(folder: Path) -> None:
    Path("run").mkdir()
    with FileLock("run/.lock"):
        result = run(*STUDY, expect=1)
    assert "another process is working in run" in result.stderr


def test_a_file_where_the_folder_should_be(folder: Path) -> None:
    Path("run").write_text("")
    assert "cannot be written" in run(*STUDY, expect=1).stderr


def test_a_killed_run_is_resumed_to_the_same_bits(folder: Path) -> None:
    for i in range(4):
        paint(Path(f"p{i}.png"), a=200 + 10 * i, b=90)
    annotate(**{f"p{i}": [HIT] for i in range(4)})
    words = [word if word != "patches:find" else "patches:held_after_two" for word in STUDY]
    command = [sys.executable, "-m", "chiaroscuro", *words, "--no-closeup"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    said = wait_for(process, "two pictures are done")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert Path("run/pictures/p1/manifest.json").exists(), said
    assert not Path("run/pictures/p3/manifest.json").exists()
    run(*words)
    whole = [word if word != "run" else "whole" for word in words]
    run(*whole)
    for i in range(4):
        halves = [cs.Explanation.load(Path(out, "pictures", f"p{i}")) for out in ("run", "whole")]
        assert bool((halves[0].saliency == halves[1].saliency).all())
    assert Path("run/targets.parquet").read_bytes() == Path("whole/targets.parquet").read_bytes()


def test_no_detection_and_no_annotation_is_a_result(folder: Path) -> None:
    paint(Path("dark.png"))
    annotate(dark=[], one=[HIT])
    result = run(*STUDY)
    assert "2 pictures, the cost of 100 passes: 1 hit" in result.stdout


def test_evaluate_reads_a_run_folder(folder: Path) -> None:
    run(*STUDY)
    run("evaluate", "run", "--no-baselines", "-a", "annotations.json")
    assert Path("run/evaluation-chiaroscuro/scores.parquet").is_file()
    run(*STUDY)
    assert "<svg" in Path("run/report.html").read_text()


def second_run(*changes: str) -> None:
    words = [word if word != "patches:find" else "patches:left_only" for word in STUDY]
    run(*[word if word != "run" else "other" for word in words], *changes)


def test_two_detectors_on_the_same_masks(folder: Path) -> None:
    """Both find the left face; the right patch is a false positive, or missed by both."""
    run(*STUDY)
    second_run()
    printed = run("compare", "run", "other", "-o", "both").stdout
    assert "faces: 2 both, 1 neither" in printed
    assert "false positives: 1 only patches:find" in printed
    rows = pq.read_table("both/pairs.parquet").to_pylist()
    assert [(row["picture"], row["what"], row["status"]) for row in rows] == [
        ("one", "face", "both"),
        ("one", "face", "neither"),
        ("two", "face", "both"),
        ("two", "false positive", "only first"),
    ]
    same = rows[0]  # both detectors say the same of the left face, under the same masks
    assert same["linear"] == pytest.approx(1)
    assert same["in_box_first"] == same["in_box_second"]
    assert (same["score_first"], rows[1]["score_first"]) == (
        pytest.approx(230 / 255, abs=1e-3),
        None,
    )
    figures = json.loads(Path("both/comparison.json").read_text())
    assert figures["context"]["n"] == 2
    assert figures["context"]["in_box"]["difference"]["value"] == 0
    assert (
        figures["average_precision"]["first"]["ap50"]
        > figures["average_precision"]["second"]["ap50"]
    )
    page = Path("both/report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4 * 4 + 2 * 2
    assert "False positives of patches:find only" in page
    assert "was also asked about" not in page  # all passes were on the whole picture
    assert not Path("both/passes").exists()


def test_the_other_detector_is_asked_about_a_false_positive(folder: Path) -> None:
    run(*STUDY, "--closeup")
    second_run("--closeup")
    printed = run("compare", "run", "other", "-o", "both").stdout
    assert "patches:left_only was also asked about 1 box" in Path("both/report.html").read_text()
    assert "patches:left_only: asked about 1 box of the other run, for " in printed
    kept = Path("both/passes/second/two.npz")
    first_time, at = kept.read_bytes(), kept.stat().st_mtime_ns
    evidence = cs.Evidence.load(kept)
    assert ((50, 10, 70, 26), 0) in {one for part in evidence.closeups for one in part.kept_for}
    pairs = Path("both/pairs.parquet").read_bytes()
    run("compare", "run", "other", "-o", "both")
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == (first_time, at)
    assert Path("both/pairs.parquet").read_bytes() == pairs
    without = run("compare", "run", "other", "-o", "without", "--no-passes").stdout
    assert "asked" not in without
    assert not Path("without/passes").exists()
    kept.write_bytes(b"damaged")
    run("compare", "run", "other", "-o", "both")
    assert cs.Evidence.load(kept).cost == evidence.cost
    Path("patches.py").unlink()
    sys.modules.pop("patches")
    gone = run("compare", "run", "other", "-o", "gone")
    assert "are compared from the passes there are" in gone.stderr


def test_runs_that_differ_are_not_compared(folder: Path) -> None:
    run(*STUDY)
    second_run("--seed", "1")
    refused = run("compare", "run", "other", "-o", "both", expect=1)
    assert "seed is 0 in one and 1 in the other" in refused.stderr
    assert "is no run folder" in run("compare", "run", "nowhere", "-o", "both", expect=1).stderr


def test_curves_of_two_evaluations_share_a_figure(folder: Path) -> None:
    run(*STUDY)
    second_run()
    for out in ("run", "other"):
        run("evaluate", out, "--no-baselines", "-a", "annotations.json")
    run("compare", "run", "other", "-o", "both")
    assert Path("both/figures/curves-chiaroscuro.png").is_file()
    page = Path("both/report.html").read_text()
    assert "patches:left_only, deletion" in page


def on_ray(detector: str, out: str) -> list[str]:
    words = ["study", "annotations.json", "-d", f"patches:{detector}", "-o", out]
    return [*words, "--n-passes", "60", "--ray", "local", "--workers", "2"]


def test_two_workers_on_ray_give_the_same_bits_though_one_is_killed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folder))
    for i in range(3):
        paint(Path(f"p{i}.png"), a=200 + 10 * i, b=90)
    annotate(**{f"p{i}": [HIT] for i in range(3)})
    result = run(*on_ray("dies_once", "ray"))
    assert "3 pictures, the cost of 180 passes: 3 hit, 3 false positive" in result.stdout
    run(*on_ray("dies_once", "alone")[:-4])
    for i in range(3):
        first, second = (
            cs.Explanation.load(Path(o, "pictures", f"p{i}")) for o in ("ray", "alone")
        )
        assert bool((first.saliency == second.saliency).all())
    assert Path("ray/targets.parquet").read_bytes() == Path("alone/targets.parquet").read_bytes()
    run(*on_ray("dies_once", "ray"))  # nothing left to do


def test_a_picture_that_kills_its_worker_twice_is_recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folder))
    Image.new("RGB", (80, 64), (0, 0, 255)).save("blue.png")
    annotate(one=[HIT], blue=[HIT], two=[HIT])
    result = run(*on_ray("deadly_on_blue", "ray"), expect=1)
    assert "blue: its worker died 2 times" in result.stderr
    assert "2 pictures, the cost of 120 passes" in result.stdout


def test_an_export_for_fiftyone(folder: Path) -> None:
    """The loader is run against the few names of FiftyOne that it uses."""
    run(*STUDY, "--fiftyone")
    made = Path("run/fiftyone")
    labels = json.loads((made / "labels.json").read_text())
    assert [Path(image["file_name"]).name for image in labels["images"]] == ["one.png", "two.png"]
    assert labels["annotations"][0]["bbox"] == HIT
    with Image.open(made / "maps" / "one-01.png") as heat:
        assert (heat.size, heat.mode) == ((80, 64), "L")
        assert heat.getextrema()[1] == 255
    Path("fiftyone.py").write_text(STAND_IN)
    done = subprocess.run(
        [sys.executable, made / "load.py", "faces"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    (first, _) = json.loads(done.stdout)
    assert first["map_1_hit"]["map_path"].endswith("maps/one-01.png")
    assert first["ground_truth"]["detections"][0]["bounding_box"] == pytest.approx(
        [10 / 80, 10 / 64, 20 / 80, 16 / 64]
    )
    assert first["predictions"]["detections"][0]["confidence"] == pytest.approx(0.9, abs=0.01)


STAND_IN = """
import json

class Fields(dict):
    def __init__(self, **fields):
        super().__init__(fields)

Detection = Detections = Heatmap = Sample = Fields

class Dataset:
    def __init__(self, name, overwrite):
        self.samples = []

    def add_sample(self, sample):
        self.samples.append(sample)

    def __str__(self):
        return json.dumps(self.samples)
"""


def test_a_run_folder_may_be_an_address_that_fsspec_knows(folder: Path) -> None:
    """Memory stands for an object store: no files, no locks, no renaming."""
    store = "memory://bucket/run"
    words = [word if word != "run" else store for word in STUDY]
    first = run(*words).stdout
    assert "2 hit, 1 missed, 1 false positive" in first
    place = as_path(store)
    assert "<html" in (place / "report.html").read_text()
    assert run(*words).stdout == first
    run("evaluate", store, "--no-baselines", "-a", "annotations.json")
    assert (place / "evaluation-chiaroscuro" / "scores.parquet").is_file()
    run(*STUDY)
    run("compare", "run", store, "-o", "both")
    for name in ("one", "two"):
        here, there = (cs.Explanation.load(p / "pictures" / name) for p in (Path("run"), place))
        assert bool((here.saliency == there.saliency).all())
