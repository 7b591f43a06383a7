"""Data sets opened: which reader, which pictures, what is refused."""

import json
from pathlib import Path

import pytest
from PIL import Image

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.coco import read_coco
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.formats import read_annotations

IMAGE = {"id": 9, "file_name": "a/b.jpg", "width": 30, "height": 20}


def content(*boxes: dict[str, object], images: list[object] | None = None) -> dict[str, object]:
    return {
        "images": images or [IMAGE],
        "categories": [{"id": 2, "name": "face"}],
        "annotations": [{"image_id": 9, "category_id": 2, **box} for box in boxes],
    }


def picture(path: Path, size: tuple[int, int] = (30, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)
    return path


def test_pictures_that_are_not_there_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "annotations.json"
    second = {**IMAGE, "id": 1, "file_name": "c/b.jpg"}
    file.write_text(json.dumps(content(images=[IMAGE, second])))
    with pytest.raises(
        AnnotationError,
        match=r"not found in .*: 2 pictures, such as a/b\.jpg; set their folder with --images",
    ):
        open_data_set(file)
    picture(tmp_path / "elsewhere" / "a" / "b.jpg")
    data = open_data_set(file, images=tmp_path / "elsewhere")
    assert [entry.name for entry in data.entries] == ["b"]
    assert data.missing == ("c/b.jpg",)
    picture(tmp_path / "elsewhere" / "c" / "b.jpg")
    names = [entry.name for entry in open_data_set(file, images=tmp_path / "elsewhere").entries]
    assert names == ["a__b.jpg", "c__b.jpg"]


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "secret.jpg")
    file = tmp_path / "set" / "file.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content(images=[{**IMAGE, "file_name": "../secret.jpg"}])))
    with pytest.raises(AnnotationError, match="leads out of its folder"):
        open_data_set(file)


def test_a_folder_of_pictures_has_no_annotations(tmp_path: Path) -> None:
    picture(tmp_path / "deep" / "b.PNG")
    picture(tmp_path / "a.jpg")
    (tmp_path / "notes.txt").write_text("")
    data = open_data_set(tmp_path)
    assert [entry.name for entry in data.entries] == ["a", "b"]
    assert data.annotations is None
    assert data.entries[0].truth is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="has no pictures"):
        open_data_set(tmp_path / "empty")
    with pytest.raises(AnnotationError, match="wanted met-faces, met-training, a COCO"):
        open_data_set(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"shapes": [{"label": "face", "points": [[1, 2], [3, 4]]}]}'),
        ("a.jpg.json", "{}"),
        ("a.xml", "<doc><o/></doc>"),
        ("a.txt", "0 0.5 0.5 0.2 0.5\n"),  # no file names the classes
        ("labels.csv", "filename,xmin,ymin,xmax,ymax,class\na.jpg,1,2,3,4,face\n"),
        ("_annotations.coco.json", '{"images": [], "annotations": [], "categories": []}'),
        ("via_export_csv.csv", "#filename,region_shape_attributes\n"),
        ("boxes/wider_face_bbx_gt.txt", "a.jpg\n1\n5 6 7 8 0 0 0\n"),
        ("cvat.xml", "<annotations><image name='a.jpg'><box xtl='1'/></image></annotations>"),
    ],
)
def test_labels_that_no_reader_understands_are_an_error(
    tmp_path: Path, name: str, text: str
) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(AnnotationError, match=r"label files seen, not read|no Pascal VOC") as error:
        open_data_set(tmp_path)
    assert Path(name).name in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.txt", "Photographs of 1 2 3 4 paintings."),
        ("a.txt", "The Penitent Magdalen, about 1640"),
        ("titles.csv", "file,title,painter\na.jpg,The Fortune Teller,La Tour\n"),
        ("info.json", '{"museum": "The Met"}'),
        ("data.yaml", "names: [face]\n"),
        ("a.jpg.aux.xml", "<PAMDataset></PAMDataset>"),
        ("pom.xml", "<project></project>"),
        (".idea/a.xml", "<annotation/>"),
        (".cache.json", '{"boxes": [1]}'),
    ],
)
def test_other_files_beside_pictures_are_no_labels(tmp_path: Path, name: str, text: str) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert open_data_set(tmp_path).annotations is None


def test_pictures_that_cannot_be_read_stay_in_the_set(tmp_path: Path) -> None:
    """Reading them reports why."""
    picture(tmp_path / "a" / "b.jpg")
    (tmp_path / "broken.jpg").write_text("no picture")
    broken = {**IMAGE, "id": 1, "file_name": "broken.jpg"}
    file = tmp_path / "annotations.json"
    file.write_text(
        json.dumps(content({"bbox": [1, 1, 2, 2], "image_id": 1}, images=[IMAGE, broken]))
    )
    data = open_data_set(file)
    assert [entry.name for entry in data.entries] == ["b", "broken"]
    assert [entry.size for entry in data.entries] == [(30, 20), None]


def test_annotations_alone_need_no_pictures(tmp_path: Path) -> None:
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(content({"bbox": [1, 1, 2, 2]})))
    annotations = read_annotations(file)
    assert annotations is not None
    assert annotations.named()["b.jpg"].truth.boxes.tolist() == [[1, 1, 3, 3]]


@pytest.mark.weights
def test_the_sample_set_by_name() -> None:
    data = open_data_set("met-faces")
    assert len(data.entries) == 55
    assert data.entries[0].about["painter"]


@pytest.mark.parametrize("written", ["a\\é.png", ".\\a\\é.png", "./a/e\u0301.png", "a/é.PNG"])
def test_file_names_of_other_systems_are_found(tmp_path: Path, written: str) -> None:
    picture(tmp_path / "a" / "é.png")
    file = tmp_path / "file.json"
    file.write_text(
        json.dumps(content({"bbox": [1, 1, 9, 9]}, images=[{**IMAGE, "file_name": written}]))
    )
    (entry,) = open_data_set(file).entries
    assert entry.path == tmp_path / "a" / "é.png"
    assert entry.name == "é"
    if not written.endswith("PNG"):
        assert list(read_coco(file).named()) == ["é.png"]


def test_two_names_of_one_file_are_one_picture_twice(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "b.jpg")
    file = tmp_path / "file.json"
    twice = [IMAGE, {**IMAGE, "id": 1, "file_name": "a\\b.jpg"}]
    file.write_text(json.dumps(content(images=twice)))
    with pytest.raises(AnnotationError, match=r"the picture a/b\.jpg is listed 2 times"):
        open_data_set(file)


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


def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.png")

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(AnnotationError, match="cannot be searched for pictures: Permission denied"):
        open_data_set(tmp_path)


def test_pictures_given_without_the_labels_beside_them_are_opened_with_a_note(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "train" / "images" / "a.png")
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "a.txt").write_text("0 .5 .5 .2 .2\n")
    data = open_data_set(tmp_path / "train" / "images")
    assert data.annotations is None
    assert "train/labels" in data.notes[0]
