"""COCO JSON in, with what real files have wrong."""

import json
from pathlib import Path

import pytest

from chiaroscuro.data.annotations import parse_coco, read_coco
from chiaroscuro.errors import AnnotationError

IMAGE = {"id": 9, "file_name": "a/b.jpg", "width": 30, "height": 20, "painter": "La Tour"}


def content(*boxes: dict[str, object], images: list[object] | None = None) -> dict[str, object]:
    return {
        "images": images or [IMAGE],
        "categories": [{"id": 5, "name": "hand"}, {"id": 2, "name": "Face"}],
        "annotations": [{"image_id": 9, "category_id": 2, **box} for box in boxes],
    }


def test_boxes_become_corners_and_categories_labels() -> None:
    data = parse_coco(
        content(
            {"bbox": [2, 4, 10, 5]},
            {"bbox": [0, 0, 3, 3], "category_id": 5, "ignore": 1},
            {"bbox": [1, 1, 3, 3], "iscrowd": 1},
        ),
        "x",
    )
    assert data.class_names == ("Face", "hand")
    (picture,) = data.pictures
    assert picture.truth.boxes.tolist() == [[2, 4, 12, 9], [0, 0, 3, 3], [1, 1, 4, 4]]
    assert picture.truth.labels.tolist() == [0, 1, 0]
    assert picture.truth.ignore.tolist() == [False, True, True]
    assert picture.about["painter"] == "La Tour"
    assert data.named()["b.jpg"] is picture


def test_boxes_without_area_are_told() -> None:
    data = parse_coco(content({"id": 3, "bbox": [2, 4, 0, 5]}, {"bbox": [1, 1, 2, 2]}), "x")
    assert len(data.pictures[0].truth) == 1
    assert data.notes == ("box 3 [2, 4, 0, 5] has no area and is left out",)


def test_a_picture_may_have_no_box() -> None:
    assert parse_coco(content(), "x").pictures[0].truth.boxes.shape == (0, 4)


def test_labels_go_by_name_or_by_being_the_only_class() -> None:
    data = parse_coco(content(), "x")
    assert data.labels_for(["person", "FACE"]) == {0: 1}
    with pytest.raises(AnnotationError, match=r"\(Face, hand\) are none of the detector's \(cat"):
        data.labels_for(["cat"])
    single = parse_coco({**content(), "categories": [{"id": 2, "name": "visage"}]}, "x")
    assert single.labels_for(["face"]) == {0: 0}


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {"images": []},
        content({"bbox": [1, 2, 3]}),
        content({"bbox": [1, 1, 2, 2], "image_id": 1}),
        content({"bbox": [1, 1, 2, 2], "category_id": 77}),
        content({"bbox": None}),
        content(images=[{"id": 9}]),
    ],
)
def test_what_is_no_coco_says_so(broken: object) -> None:
    with pytest.raises(AnnotationError, match="is no COCO data set"):
        parse_coco(broken, "x")


def test_two_pictures_of_one_name_cannot_be_told_apart() -> None:
    twice = content(images=[IMAGE, {**IMAGE, "id": 1, "file_name": "c/b.jpg"}])
    with pytest.raises(AnnotationError, match=r"a/b\.jpg and c/b\.jpg"):
        parse_coco(twice, "x").named()


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "marks.json"
    with pytest.raises(AnnotationError, match="does not exist"):
        read_coco(path)
    path.write_text("{")
    with pytest.raises(AnnotationError, match="no readable JSON"):
        read_coco(path)
    path.write_text(json.dumps(content({"bbox": [1, 1, 2, 2]})))
    assert read_coco(path).source == str(path)
