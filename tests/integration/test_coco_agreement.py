"""Matches and precision of a run are those of pycocotools on the files that it wrote."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import chiaroscuro as cs
from chiaroscuro.core.plan import Plan, Reading, StudySettings
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.studies.export import export
from chiaroscuro.studies.run import Run, study
from chiaroscuro.studies.summary import summarise

WIDTH, HEIGHT, PICTURES = 60, 44, 4


class Scripted:
    """Reports boxes written down for each picture, whatever hides its pixels but the last row."""

    def __init__(self, rows: dict[int, cs.Proposals], class_names: tuple[str, ...]) -> None:
        self.info = cs.DetectorInfo(name="scripted", class_names=class_names)
        self._rows = rows
        self._last = 0

    def detect(self, images: Any) -> list[cs.Proposals]:
        numbers = [int(image[0, 0, 0]) for image in images]
        if images.dtype.is_floating_point:
            numbers = [round(float(image[0, 0, 0]) * 255) for image in images]
        return [self._rows.get(number, cs.Proposals.empty()) for number in numbers]


def data_set(folder: Path, seed: int, classes: list[str]) -> tuple[Path, dict[int, cs.Proposals]]:
    """Pictures numbered by their first pixel, annotations with crowds, and detections near them."""
    chance = np.random.default_rng(seed)
    images, rows, found = [], [], {}
    for number in range(1, PICTURES + 1):
        pixels = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        images.append(
            {"id": f"p{number}", "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT}
        )
        near = []
        for _ in range(chance.integers(1, 7)):
            x, y, w, h = chance.integers((0, 0, 6, 6), (40, 30, 20, 14)).tolist()
            label = int(chance.integers(len(classes)))
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": f"p{number}",
                    "category_id": label + 5,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(chance.random() < 0.3),
                }
            )
            for _ in range(chance.integers(0, 4)):
                moved = np.array([x, y, x + w, y + h]) + chance.integers(-2, 3, 4)
                near.append((moved, float(chance.choice([0.2, 0.5, 0.5, 0.7, 0.9])), label))
        found[number] = cs.Proposals(
            boxes=np.array([box for box, _, _ in near], dtype=float).reshape(-1, 4),
            scores=[score for _, score, _ in near],
            labels=[label for _, _, label in near],
        )
    file = folder / "annotations.json"
    categories = [{"id": label + 5, "name": name} for label, name in enumerate(classes)]
    file.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return file, found


def judged(file: Path, results: Path) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        judge = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def studied(folder: Path, file: Path, detector: Any, **options: Any) -> Run:
    settings = StudySettings(plan=Plan(n_passes=2), min_score=0.05, **options)
    run = study(open_data_set(file), detector, folder / "run", settings)
    assert run.failed() == {}
    export(run, summarise(run))
    return run


@pytest.mark.parametrize(("seed", "classes"), [(0, ["face"]), (1, ["face"]), (2, ["face", "hand"])])
def test_a_run_agrees_with_pycocotools(tmp_path: Path, seed: int, classes: list[str]) -> None:
    file, found = data_set(tmp_path, seed, classes)
    run = studied(tmp_path, file, Scripted(found, tuple(classes)))
    judge = judged(file, run.folder / "detections.json")
    figures = summarise(run).figures
    precision = figures["average_precision"]
    assert precision["ap"] == pytest.approx(judge.stats[0], abs=1e-12)
    assert precision["ap50"] == pytest.approx(judge.stats[1], abs=1e-12)
    assert precision["ap75"] == pytest.approx(judge.stats[2], abs=1e-12)
    at_half = [one for one in judge.evalImgs if one is not None and one["aRng"] == [0, 1e10]]
    ignored = sum(int(one["dtIgnore"][0].sum()) for one in at_half)
    hits = sum(
        int(((one["dtMatches"][0] > 0) & ~one["dtIgnore"][0].astype(bool)).sum()) for one in at_half
    )
    scored = sum(int((~np.asarray(one["gtIgnore"], bool)).sum()) for one in at_half)
    targets = figures["targets"]
    assert (targets.get("hit", 0), targets.get("ignored", 0)) == (hits, ignored)
    assert targets.get("missed", 0) == scored - hits
    assert ignored > 0
    assert hits > 0


def test_boxes_to_ignore_are_ignored_whatever_pycocotools_does(tmp_path: Path) -> None:
    """It overwrites ``ignore``; the rule otherwise is its own."""
    file, found = data_set(tmp_path, 3, ["face"])
    content = json.loads(file.read_text())
    for row in content["annotations"]:
        row |= {"ignore": int(row["id"] % 3 == 0), "iscrowd": int(row["id"] % 4 == 0)}
    file.write_text(json.dumps(content))
    run = studied(tmp_path, file, Scripted(found, ("face",)))

    class Respectful(COCOeval):  # type: ignore[misc]
        def _prepare(self) -> None:
            super()._prepare()
            for rows in self._gts.values():
                for row in rows:
                    row["ignore"] = int(
                        row["iscrowd"]
                        or next(
                            one["ignore"]
                            for one in content["annotations"]
                            if one["id"] == row["id"]
                        )
                    )

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        judge = Respectful(truth, truth.loadRes(str(run.folder / "detections.json")), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert summarise(run).figures["average_precision"]["ap"] == pytest.approx(judge.stats[0])


def test_a_class_that_the_set_lacks_is_nobody_elses(tmp_path: Path) -> None:
    """The detector's person has label 1, which is the id of the set's face."""
    Image.new("RGB", (WIDTH, HEIGHT), (1, 1, 1)).save(tmp_path / "1.png")
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [2, 2, 9, 9],
                "area": 81,
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 1, "name": "face"}, {"id": 2, "name": "hat"}],
    }
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(content))
    found = {
        1: cs.Proposals(boxes=[[2, 2, 11, 11], [2, 2, 11, 11]], scores=[0.9, 0.5], labels=[1, 0])
    }
    run = studied(tmp_path, file, Scripted(found, ("face", "person")))
    rows = json.loads((tmp_path / "run" / "detections.json").read_text())
    assert [row["category_id"] for row in rows] == [3, 1]
    ap = summarise(run).figures["average_precision"]["ap"]
    assert ap == pytest.approx(judged(file, tmp_path / "run" / "detections.json").stats[0])


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    """Also in a reduced picture, where boxes have many digits."""
    file, _ = data_set(tmp_path, 4, ["face"])
    run = studied(tmp_path, file, Scripted({}, ("face",)), reading=Reading(max_side=37))
    data = open_data_set(file)
    for entry in data.entries:
        truth = run.picture(entry.name).truth
        assert truth is not None
        assert entry.truth is not None
        assert truth.boxes.tolist() == entry.truth.scaled(37 / WIDTH).boxes.tolist()
        assert truth.crowd.tolist() == entry.truth.crowd.tolist()
