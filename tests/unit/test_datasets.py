"""Data sets in, with what real files have wrong."""

import json
from pathlib import Path

import pytest
from PIL import Image

from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.formats import parse_coco, read_coco, read_voc, read_yolo
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
    assert data.notes == ("a/b.jpg: the box 2,4,2,9 has no area and is left out",)


def test_boxes_outside_their_picture_are_told() -> None:
    data = parse_coco(content({"bbox": [30, 2, 5, 5]}, {"bbox": [25, 15, 20, 20]}), "x")
    assert data.pictures[0].truth.boxes.tolist() == [[25, 15, 45, 35]]
    assert data.notes == ("a/b.jpg: the box 30,2,35,7 lies outside the picture and is left out",)


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


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (
            content({"id": 4, "bbox": [1, 1, 2, 2], "image_id": 1}),
            "annotation 4 belongs to image 1",
        ),
        (content({"bbox": [1, 1, 2, 2], "category_id": 77}), "has category 77"),
        (content(images=[IMAGE, IMAGE]), "two images have the id 9"),
    ],
)
def test_contradictions_are_named(broken: object, says: str) -> None:
    with pytest.raises(AnnotationError, match=says):
        parse_coco(broken, "x")


VOC = """<annotation><filename>{name}</filename>
<size><width>30</width><height>20</height><depth>3</depth></size>
<object><name>face</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>5</ymin><xmax>12</xmax><ymax>9</ymax></bndbox></object>
<object><name>dog</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object>
</annotation>"""


def picture(path: Path, size: tuple[int, int] = (30, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)


def test_pascal_voc_counts_pixels_from_one(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(VOC.format(name="a.png"))
    picture(tmp_path / "JPEGImages" / "a.png")
    data = open_data_set(tmp_path)
    assert data.class_names == ("dog", "face")
    (entry,) = data.entries
    assert entry.truth is not None
    assert entry.truth.boxes.tolist() == [[2, 4, 12, 9], [0, 0, 2, 2]]
    assert entry.truth.labels.tolist() == [1, 0]
    assert entry.truth.ignore.tolist() == [False, True]
    (tmp_path / "Annotations" / "b.xml").write_text("<annotation><size>")
    with pytest.raises(AnnotationError, match=r"b\.xml is no Pascal VOC annotation"):
        read_voc(tmp_path)
    with pytest.raises(AnnotationError, match=r"no \.xml files"):
        read_voc(tmp_path / "JPEGImages")


def test_yolo_boxes_are_shares_of_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train" / "a.png")
    picture(tmp_path / "images" / "train" / "b.png")
    (tmp_path / "images" / "broken.png").write_text("no picture")
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.2 0.5\n\n")
    (tmp_path / "data.yaml").write_text("names: {0: hand, 1: face}\n")
    data = open_data_set(tmp_path)
    assert data.class_names == ("hand", "face")
    first, second = data.entries
    assert first.truth is not None
    assert first.truth.boxes.tolist() == [[12, 5, 18, 15]]
    assert first.truth.labels.tolist() == [1]
    assert second.truth is not None
    assert len(second.truth) == 0
    assert "broken.png cannot be read" in data.notes[0]
    (tmp_path / "labels" / "train" / "b.txt").write_text("0 0.5 0.5\n")
    with pytest.raises(AnnotationError, match=r"b\.txt, line 1: wanted class x y width height"):
        read_yolo(tmp_path)
    (tmp_path / "labels" / "train" / "b.txt").write_text("2 0.5 0.5 0.1 0.1\n")
    with pytest.raises(AnnotationError, match="class 2 of 2"):
        read_yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(AnnotationError, match="names no classes"):
        read_yolo(tmp_path)
    (tmp_path / "classes.txt").write_text("hand\nface\nhat\n")
    assert read_yolo(tmp_path).class_names == ("hand", "face", "hat")


def test_pictures_that_are_not_there_are_told(tmp_path: Path) -> None:
    marks = tmp_path / "marks.json"
    second = {**IMAGE, "id": 1, "file_name": "c/b.jpg"}
    marks.write_text(json.dumps(content(images=[IMAGE, second])))
    with pytest.raises(
        AnnotationError, match=r"none of its 2 pictures .* such as a/b\.jpg; --images"
    ):
        open_data_set(marks)
    picture(tmp_path / "elsewhere" / "a" / "b.jpg")
    data = open_data_set(marks, images=tmp_path / "elsewhere")
    assert [entry.name for entry in data.entries] == ["b"]
    assert data.missing == ("c/b.jpg",)
    picture(tmp_path / "elsewhere" / "c" / "b.jpg")
    names = [entry.name for entry in open_data_set(marks, images=tmp_path / "elsewhere").entries]
    assert names == ["a__b.jpg", "c__b.jpg"]


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "secret.jpg")
    marks = tmp_path / "set" / "marks.json"
    marks.parent.mkdir()
    marks.write_text(json.dumps(content(images=[{**IMAGE, "file_name": "../secret.jpg"}])))
    with pytest.raises(AnnotationError, match="leads out of its folder"):
        open_data_set(marks)


def test_a_folder_of_pictures_has_no_marks(tmp_path: Path) -> None:
    picture(tmp_path / "deep" / "b.PNG")
    picture(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("")
    data = open_data_set(tmp_path)
    assert [entry.name for entry in data.entries] == ["a", "b"]
    assert data.annotations is None
    assert data.entries[0].truth is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="holds no pictures"):
        open_data_set(tmp_path / "empty")
    with pytest.raises(AnnotationError, match="wanted met-faces, a COCO"):
        open_data_set(tmp_path / "absent")


@pytest.mark.weights
def test_the_sample_set_by_name() -> None:
    data = open_data_set("met-faces")
    assert len(data.entries) == 55
    assert data.entries[0].about["painter"]


@pytest.mark.parametrize("written", ["a\\é.png", ".\\a\\é.png", "./a/e\u0301.png", "a/é.PNG"])
def test_file_names_of_other_systems_are_found(tmp_path: Path, written: str) -> None:
    picture(tmp_path / "a" / "é.png")
    marks = tmp_path / "marks.json"
    marks.write_text(
        json.dumps(content({"bbox": [1, 1, 9, 9]}, images=[{**IMAGE, "file_name": written}]))
    )
    (entry,) = open_data_set(marks).entries
    assert entry.path == tmp_path / "a" / "é.png"
    assert entry.name == "é"
    if not written.endswith("PNG"):
        assert list(read_coco(marks).named()) == ["é.png"]


def test_two_names_of_one_file_are_one_picture_twice(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "b.jpg")
    marks = tmp_path / "marks.json"
    twice = [IMAGE, {**IMAGE, "id": 1, "file_name": "a\\b.jpg"}]
    marks.write_text(json.dumps(content(images=twice)))
    with pytest.raises(AnnotationError, match=r"the picture a/b\.jpg 2 times"):
        open_data_set(marks)


def test_a_list_of_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"\xef\xbb\xbf# which\r\na.png\r\nhttp://h/b.png?x=1\r\n\r\ncaf\xe9.png\r\n")
    first, second, third = open_data_set(listed).entries
    assert (first.name, first.path) == ("a", tmp_path / "a.png")
    assert (second.name, second.path) == ("b", "http://h/b.png?x=1")
    assert third.path == tmp_path / "caf\udce9.png"
    assert open_data_set(tmp_path / "a.png").entries[0].name == "a"
    assert open_data_set("http://h/b.png").entries[0].path == "http://h/b.png"
    listed.write_text("# nothing\n")
    with pytest.raises(AnnotationError, match=r"list\.txt lists no pictures"):
        open_data_set(listed)


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.png")

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(AnnotationError, match="cannot be searched for pictures: Permission denied"):
        open_data_set(tmp_path)
