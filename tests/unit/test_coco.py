"""COCO's JSON, with what real files have wrong."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.coco import parse_coco, read_coco

IMAGE = {"id": 9, "file_name": "a/b.jpg", "width": 30, "height": 20, "painter": "La Tour"}


def content(*boxes: dict[str, Any], images: list[Any] | None = None) -> dict[str, Any]:
    return {
        "images": images or [IMAGE],
        "categories": [{"id": 5, "name": "hand"}, {"id": 2, "name": "Face"}],
        "annotations": [{"image_id": 9, "category_id": 2, **box} for box in boxes],
    }


def only_box(**row: Any) -> list[float]:
    (box,) = parse_coco(content(row), "x").pictures[0].truth.boxes.tolist()
    return box


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
    assert picture.truth.crowd.tolist() == [False, False, True]
    assert picture.about["painter"] == "La Tour"
    assert data.named()["b.jpg"] is picture


def test_a_picture_may_have_no_box() -> None:
    assert parse_coco(content(), "x").pictures[0].truth.boxes.shape == (0, 4)


@pytest.mark.parametrize("flag", ["iscrowd", "ignore"])
def test_flags_are_numbers_or_their_text(flag: str) -> None:
    for value, says in ((0, False), ("0", False), (None, False), (1, True), ("1", True)):
        truth = parse_coco(content({"bbox": [1, 1, 2, 2], flag: value}), "x").pictures[0].truth
        assert truth.ignore.tolist() == [says]
    with pytest.raises(AnnotationError, match=f"x, annotation 3: wanted 0 or 1 as {flag}"):
        parse_coco(content({"id": 3, "bbox": [1, 1, 2, 2], flag: "maybe"}), "x")


def test_a_box_that_is_missing_is_that_of_the_outline() -> None:
    assert only_box(segmentation=[[5, 4, 9, 4, 7, 8], [8, 3, 12, 3, 12, 6]]) == [5, 3, 12, 8]
    assert only_box(bbox=[], segmentation=[5, 4, 9, 4, 7, 8]) == [5, 4, 9, 8]
    assert only_box(bbox=[0, 0, 0, 0], segmentation=[[5, 4, 9, 4, 7, 8]]) == [5, 4, 9, 8]
    pixels = np.zeros((20, 30), np.uint8, order="F")
    pixels[4:9, 6:17] = 1
    packed = mask.encode(pixels)
    text = {"size": [20, 30], "counts": packed["counts"].decode()}
    assert only_box(bbox=None, segmentation=text) == [6, 4, 17, 9]
    runs = [len(list(same)) for _, same in itertools.groupby(pixels.ravel("F"))]
    assert only_box(segmentation={"size": [20, 30], "counts": runs}) == [6, 4, 17, 9]
    data = parse_coco(content({"id": 4, "segmentation": [[5, 4, 9, 4, 7, 8]]}), "x")
    assert data.notes == (
        "x: 1 annotation without a bbox, such as annotation 4: the box around the outline is used",
    )


@pytest.mark.parametrize(
    "outline",
    [
        None,
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, "6"]],
        {"size": [20, 30], "counts": ""},
        {"size": [0, 30], "counts": "0"},
        {"size": [20, 30], "counts": "P"},  # its last letter says that more follows
        {"size": [20, 30], "counts": "\x80"},
        {"size": [20, 30], "counts": [1, 2]},
        {"size": [20, 30], "counts": [-1, 601]},
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": [20], "counts": [20]},
        7,
    ],
)
def test_annotations_without_box_or_outline_are_named_and_left_out(outline: object) -> None:
    data = parse_coco(content({"id": 4, "segmentation": outline}, {"bbox": [1, 1, 2, 2]}), "x")
    assert len(data.pictures[0].truth) == 1
    assert data.notes == ("x, annotation 4: no bbox and no outline; it is left out",)
    with pytest.raises(
        AnnotationError, match="wanted boxes, got 1 annotation without any; x, annotation"
    ):
        parse_coco(content({"id": 4, "segmentation": outline}), "x")


@pytest.mark.parametrize(
    ("given", "other"), [("img-1", "img-1"), (1, "1"), ("7", 7), (3.0, 3), ("a", "a")]
)
def test_ids_may_be_text_here_and_numbers_there(given: Any, other: Any) -> None:
    data = parse_coco(
        {
            "images": [{**IMAGE, "id": given}],
            "categories": [{"id": given, "name": "face"}],
            "annotations": [{"image_id": other, "category_id": other, "bbox": [1, 1, 2, 2]}],
        },
        "x",
    )
    assert len(data.pictures[0].truth) == 1
    assert data.class_ids == (given,)
    assert data.pictures[0].about["id"] == given


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ([], "x is not a COCO data set: wanted an object with images, .* got a list"),
        ({"images": []}, "wanted a list called annotations in it; it has images"),
        ({"shapes": [], "imagePath": ""}, "it has shapes, imagePath"),
        ({**content(), "annotations": [3]}, "number 1 of annotations, got 3"),
        (content({"id": 4, "bbox": [1, 2, 3]}), "x, annotation 4: wanted a bbox of four numbers"),
        (content({"bbox": [1, 2, 3, "4"]}), "x, annotation number 1: wanted a bbox of four"),
        (content({"bbox": [1, 2, 3, True]}), "wanted a bbox of four"),
        (content({"bbox": {"x": 1}}), "wanted a bbox of four"),
        (content(images=[{"id": 9}]), "number 1 of images: wanted an id and a file_name"),
        (content(images=[{"file_name": "a"}]), "wanted an id and a file_name"),
        (content(images=[IMAGE, IMAGE]), "two images have the id 9"),
        (content(images=[{**IMAGE, "width": -3}]), r"width of a/b\.jpg: wanted a number of pixels"),
        (content(images=[{**IMAGE, "height": [2]}]), r"height of a/b\.jpg: wanted a number"),
        (
            content({"id": 4, "bbox": [1, 1, 2, 2], "image_id": 1}),
            "annotation 4 belongs to image 1",
        ),
        (content({"bbox": [1, 1, 2, 2], "image_id": [9]}), r"belongs to image \[9\]"),
        (content({"bbox": [1, 1, 2, 2], "category_id": 77}), "has category 77"),
        (content({"bbox": [1, 1, 2, 2], "category_id": None}), "has category None"),
        (
            {**content(), "categories": [{"id": 1, "name": "a"}, {"id": "1", "name": "b"}]},
            "two categories have the id 1, a and b",
        ),
        (content({"bbox": [0.1, 0.2, 0.3, 0.4]}), "wanted boxes in pixels, got none beyond 1"),
        ({**content(), "categories": [{"id": 1}]}, "number 1 of categories: wanted an id and a"),
        ({**content(), "categories": [{"id": True, "name": "a"}]}, "number 1 of categories"),
    ],
)
def test_what_is_no_coco_or_contradicts_itself_says_where(broken: object, says: str) -> None:
    with pytest.raises(AnnotationError, match=says):
        parse_coco(broken, "x")


def test_what_else_is_said_of_an_image_can_be_written_again() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    odd = {**IMAGE, "title": 1640, "x": [float("inf"), {"\ud800": "\ud800"}], "deep": deep}
    about = parse_coco(content(images=[odd]), "x").pictures[0].about
    assert about["title"] == "1640"
    assert about["x"] == [None, {"?": "?"}]
    json.dumps(about, indent=1, allow_nan=False, ensure_ascii=False).encode()


def test_two_pictures_of_one_name_cannot_be_told_apart() -> None:
    twice = content(images=[IMAGE, {**IMAGE, "id": 1, "file_name": "c/b.jpg"}])
    with pytest.raises(AnnotationError, match=r"a/b\.jpg and c/b\.jpg"):
        parse_coco(twice, "x").named()


@pytest.mark.parametrize("side", [None, 0, 0.0, "", "0", float("nan"), float("inf")])
def test_a_size_that_is_missing_is_none(side: object) -> None:
    data = parse_coco(content(images=[{**IMAGE, "width": side, "height": side}]), "x")
    assert (data.pictures[0].width, data.pictures[0].height) == (0, 0)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    named = content({"bbox": [1, 1, 2, 2]}, images=[{**IMAGE, "file_name": "Sévérité.jpg"}])
    path.write_bytes(json.dumps(named, ensure_ascii=False).encode(encoding))
    data = read_coco(path)
    assert data.source == str(path)
    assert data.folder == tmp_path
    assert data.pictures[0].file_name == "Sévérité.jpg"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "is not readable JSON"),
        (b"", "is not readable JSON"),
        (b"[" * 100_000, "is not readable JSON"),
        (b'{"images": ' + b"9" * 5000 + b"}", "is not readable JSON"),
        ('{"a": "é"}'.encode("latin-1"), "neither UTF-8 nor UTF-16"),
        (b'{"images": 1e999}', "is not a COCO data set"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(AnnotationError, match="does not exist"):
        read_coco(path)
    path.write_bytes(data)
    with pytest.raises(AnnotationError, match=says):
        read_coco(path)
