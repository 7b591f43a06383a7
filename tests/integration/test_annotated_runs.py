"""Annotations where runs use them: study, its tables, evaluate, train; each in the right frame."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import chiaroscuro as cs
from chiaroscuro.cli.options import DataOptions, parse_class_map
from chiaroscuro.core.errors import AnnotationError, BundleError, TrainingError
from chiaroscuro.core.plan import EvaluationSettings, Plan, Reading, StudySettings
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.formats import read_annotations
from chiaroscuro.evaluation.evaluate import evaluate_folder
from chiaroscuro.studies.compare import compare
from chiaroscuro.studies.run import Run, labels_of, notes_on, study
from chiaroscuro.training.pictures import training_pictures

WIDTH, HEIGHT = 32, 48  # upright; the file is stored lying on its side
FACE = [6.0, 20.0, 18.0, 40.0]


class Bright:
    """Reports the bright patch of a picture."""

    def __init__(self, class_names: tuple[str, ...] = ("face",), label: int = 0) -> None:
        self.info = cs.DetectorInfo(name="bright", class_names=class_names)
        self._label = label

    def detect(self, images: Any) -> list[cs.Proposals]:
        return [self._found(image.float().mean(dim=0)) for image in images]

    def _found(self, grey: Any) -> cs.Proposals:
        ys, xs = torch.nonzero(grey > grey.max() / 2, as_tuple=True)
        if float(grey.max()) < 0.5:
            return cs.Proposals.empty()
        box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
        return cs.Proposals(boxes=[box], scores=[0.9], labels=[self._label])


def lying(path: Path, orientation: int = 6) -> None:
    """A picture with a face in it, stored so that EXIF must turn it."""
    x1, y1, x2, y2 = map(int, FACE)
    pixels = np.full((HEIGHT, WIDTH, 3), 3, np.uint8)
    pixels[y1:y2, x1:x2] = 250
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turn = {1: None, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    (upright if turn is None else upright.transpose(turn)).save(path, exif=exif)


def coco(folder: Path, name: str = "face", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    x1, y1, x2, y2 = FACE
    sx, sy = (1, 1) if {*size} <= {0, WIDTH, HEIGHT} else (size[0] / WIDTH, size[1] / HEIGHT)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 3,
                "bbox": [x1 * sx, y1 * sy, (x2 - x1) * sx, (y2 - y1) * sy],
            }
        ],
        "categories": [{"id": 3, "name": name}],
    }
    file = folder / "a.json"
    file.write_text(json.dumps(content))
    return file


def studied(folder: Path, data: Any, detector: Any = None, name: str = "run") -> Run:
    settings = StudySettings(plan=Plan(n_passes=8), reading=Reading(max_side=30))
    return study(data, detector or Bright(), folder / name, settings)


def kinds(run: Run) -> list[str]:
    return [one.kind for picture in run.pictures() for one in picture.study.targets]


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_study_has_the_face_in_the_picture_as_it_is_read(tmp_path: Path, orientation: int) -> None:
    lying(tmp_path / "a.png", orientation)
    for i, size in enumerate(((WIDTH, HEIGHT), (0, 0), (WIDTH * 2, HEIGHT * 2), (HEIGHT, WIDTH))):
        data = open_data_set(coco(tmp_path, size=size), frame="upright")
        run = studied(tmp_path, data, name=f"run-{i}")
        assert kinds(run) == ["hit"]
        truth = run.picture("a").truth
        assert truth is not None
        scale = 30 / HEIGHT
        assert truth.boxes.tolist()[0] == pytest.approx([v * scale for v in FACE], abs=1e-4)


def test_a_picture_of_another_size_is_recorded_as_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lying(tmp_path / "a.png")
    data = open_data_set(coco(tmp_path))
    Image.new("RGB", (WIDTH, HEIGHT + 9)).save(tmp_path / "a.png")
    run = studied(tmp_path, data)
    assert "open it again" in run.failed()["a"]
    with pytest.raises(TrainingError, match="in the 0 readable pictures"):
        training_pictures(data, {0: 0})
    assert caplog.messages[0].startswith("left out: 1 unusable picture, such as ")


def test_a_class_map_is_kept_in_the_run_and_checked(tmp_path: Path) -> None:
    lying(tmp_path / "a.png")
    file = coco(tmp_path, name="visage")
    detector = Bright(("hand", "face"), label=1)
    with pytest.raises(AnnotationError, match=r"--class-map visage=hand"):
        studied(tmp_path, open_data_set(file), detector)
    mapped = open_data_set(file, class_map={"Visage": "face"})
    run = studied(tmp_path, mapped, detector)
    assert kinds(run) == ["hit"]
    assert Run.load(run.folder).record.data.class_map == {"Visage": "face"}
    studied(tmp_path, mapped, detector)
    other = open_data_set(file, class_map={"visage": "hand"})
    with pytest.raises(BundleError, match="class_map"):
        studied(tmp_path, other, detector)
    assert training_pictures(mapped, labels_of(mapped, detector))[0].truth.labels.tolist() == [1]
    assert notes_on(mapped, detector) == []


def test_compare_judges_each_run_in_its_own_labels(tmp_path: Path) -> None:
    lying(tmp_path / "a.png")
    data = open_data_set(coco(tmp_path))
    first = studied(tmp_path, data, Bright(), name="first")
    second = studied(tmp_path, data, Bright(("hand", "face"), label=1), name="second")
    precision = compare(first, second).figures["average_precision"]
    assert [precision[which]["ap50"] for which in ("first", "second")] == pytest.approx([1, 1])


@pytest.mark.parametrize("gone", [False, True])
def test_evaluate_has_annotations_in_the_pixels_of_the_maps(tmp_path: Path, gone: bool) -> None:
    lying(tmp_path / "a.png")
    run = studied(tmp_path, open_data_set(coco(tmp_path)))
    if gone:
        (tmp_path / "a.png").unlink()
    settings = EvaluationSettings(protocol="painting", baselines=False)
    for size in ((WIDTH, HEIGHT), (0, 0), (WIDTH * 2, HEIGHT * 2)):
        annotations = read_annotations(coco(tmp_path, size=size))
        evaluation = evaluate_folder(
            run.folder, Bright(), settings, tmp_path / "out", annotations=annotations
        )
        insertion, _ = evaluation.collection
        assert float(insertion.ap50[-1]) == pytest.approx(1)
        assert bool(evaluation.notes) == (size[0] > WIDTH)
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert record["annotations"]["notes"] == list(evaluation.notes)
    swapped = read_annotations(coco(tmp_path, size=(HEIGHT + 7, WIDTH)))
    with pytest.raises(cs.errors.InputError, match="no picture with a map"):
        evaluate_folder(run.folder, Bright(), settings, tmp_path / "apart", annotations=swapped)


def test_options_of_the_command_line() -> None:
    assert parse_class_map(None) == {}
    assert parse_class_map(["visage=face", " a=b = hand "]) == {"visage": "face", "a=b": "hand"}
    assert DataOptions(frame="stored").checked_frame == "stored"
    for wrong in (["visage"], ["=face"], ["visage="], ["visage=face", "visage=hand"]):
        with pytest.raises(Exception, match=r"visage|wanted NAME=NAME"):
            parse_class_map(wrong)
    with pytest.raises(Exception, match="wanted upright or stored"):
        _ = DataOptions(frame="sideways").checked_frame
