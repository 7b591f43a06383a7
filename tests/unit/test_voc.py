"""Pascal VOC's XML files, with what real ones have wrong."""

import re
from pathlib import Path

import pytest
from PIL import Image

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.voc import read_voc

FACE = """<object><name>face</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>5</ymin><xmax>12</xmax><ymax>9</ymax></bndbox></object>"""
DOG = """<object><name>dog</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object>"""


def voc(name: str = "a.png", objects: str = FACE, size: tuple[object, object] = (30, 20)) -> str:
    return (
        f"<annotation><filename>{name}</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size>{objects}</annotation>"
    )


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def picture(path: Path, size: tuple[int, int] = (30, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)


def boxes(folder: Path, images: Path | None = None) -> list[list[float]]:
    (entry,) = open_data_set(folder, images).entries
    assert entry.truth is not None
    rows: list[list[float]] = entry.truth.boxes.tolist()
    return rows


def test_pixels_are_counted_from_one(tmp_path: Path) -> None:
    write(tmp_path / "Annotations" / "a.xml", voc(objects=FACE + DOG))
    picture(tmp_path / "JPEGImages" / "a.png")
    data = open_data_set(tmp_path)
    assert data.class_names == ("dog", "face")
    (entry,) = data.entries
    assert entry.truth is not None
    assert entry.truth.boxes.tolist() == [[2, 4, 12, 9], [0, 0, 2, 2]]
    assert entry.truth.labels.tolist() == [1, 0]
    assert entry.truth.ignore.tolist() == [False, True]
    write(tmp_path / "Annotations" / "b.xml", "<annotation><size>")
    with pytest.raises(AnnotationError, match=r"b\.xml is not a Pascal VOC annotation"):
        read_voc(tmp_path)
    with pytest.raises(AnnotationError, match=r"no \.xml files"):
        read_voc(tmp_path / "JPEGImages")


@pytest.mark.parametrize(
    "size", [(0, 0), ("", ""), ("nan", "nan"), ("inf", "inf"), ("0.0", 20), ("1e999", "1e999")]
)
def test_a_size_that_is_missing_is_that_of_the_picture(
    tmp_path: Path, size: tuple[object, object]
) -> None:
    write(tmp_path / "Annotations" / "a.xml", voc(size=size))
    picture(tmp_path / "JPEGImages" / "a.png")
    assert boxes(tmp_path) == [[2, 4, 12, 9]]
    write(tmp_path / "Annotations" / "a.xml", f"<annotation>{FACE}</annotation>")
    assert boxes(tmp_path) == [[2, 4, 12, 9]]


def test_a_size_that_is_none_says_where(tmp_path: Path) -> None:
    for size in ((-30, 20), ("wide", 20)):
        write(tmp_path / "a.xml", voc(size=size))
        with pytest.raises(AnnotationError, match=r"a\.xml, size/width: wanted a number of pixels"):
            read_voc(tmp_path)


@pytest.mark.parametrize(
    ("stated", "xml", "there"),
    [
        ("a.png", "a.xml", "a.png"),  # beside it, as Roboflow has them
        ("a.png", "train/a.xml", "train/a.png"),
        ("a", "Annotations/a.xml", "JPEGImages/a.png"),  # without suffix
        ("Madonna 1.5", "a.xml", "Madonna 1.5.png"),
        ("a.jpg", "Annotations/a.xml", "JPEGImages/a.png"),  # converted since
        ("", "Annotations/a.xml", "JPEGImages/a.png"),
        ("other.png", "a.xml", "a.png"),  # renamed since
        (r"C:\x\a.png", "a.xml", "a.png"),
        ("sub/a.png", "Annotations/a.xml", "JPEGImages/sub/a.png"),
        ("a.png", "Annotations/sub/a.xml", "JPEGImages/sub/a.png"),
        ("a.png", "Annotations/a.xml", "images/a.png"),
        ("a.png", "labels/a.xml", "images/a.png"),
    ],
)
def test_pictures_are_found(tmp_path: Path, stated: str, xml: str, there: str) -> None:
    write(tmp_path / xml, voc(stated))
    picture(tmp_path / there)
    assert boxes(tmp_path) == [[2, 4, 12, 9]]


def test_pictures_of_one_name_are_those_of_the_same_folder(tmp_path: Path) -> None:
    for split, x in (("train", 4), ("valid", 8)):
        write(tmp_path / split / "a.xml", voc(objects=FACE.replace("<xmin>3", f"<xmin>{x}")))
        picture(tmp_path / split / "a.png")
    first, second = open_data_set(tmp_path).entries
    assert [entry.path.parent.name for entry in (first, second)] == ["train", "valid"]
    assert first.truth is not None
    assert second.truth is not None
    assert [first.truth.boxes[0, 0], second.truth.boxes[0, 0]] == [3, 7]


def test_pictures_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.xml", voc("a"))
    picture(tmp_path / "pictures" / "a.png")
    assert boxes(tmp_path / "set", tmp_path / "pictures") == [[2, 4, 12, 9]]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252", "gb18030", "big5"]
)
def test_declared_encodings(tmp_path: Path, encoding: str) -> None:
    name = "人脸" if encoding in ("gb18030", "utf-16") else "臉" if encoding == "big5" else "tête"
    declared = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{declared}"?>' + voc(objects=FACE.replace("face", name))
    write(tmp_path / "a.xml", text.encode(encoding))
    picture(tmp_path / "a.png")
    assert open_data_set(tmp_path).class_names == (name,)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (
            b'<?xml version="1.0" encoding="utf-8"?>' + voc("\xe9").encode("latin-1"),
            "a.xml is not a Pascal VOC",
        ),
        (b'<?xml version="1.0" encoding="klingon"?>' + voc().encode(), "a.xml is not a Pascal VOC"),
        (b'<?xml version="1.0" encoding="rot13"?>' + voc().encode(), "a.xml is not a Pascal VOC"),
        (b"<annotations/>", "wanted <annotation> as its root, got <annotations>"),
        (voc(objects=FACE.replace(">3<", ">three<")).encode(), "a.xml, object 1: wanted numbers"),
        (b"<a>" * 100_000, "a.xml is not a Pascal VOC"),
        (b"", "a.xml is not a Pascal VOC"),
    ],
)
def test_what_is_no_voc_says_so(tmp_path: Path, broken: bytes, says: str) -> None:
    write(tmp_path / "a.xml", broken)
    with pytest.raises(AnnotationError, match=says):
        read_voc(tmp_path)


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        ("<object><name>hand</name></object>", r"object 2 \(hand\): no bndbox; it is left out"),
        (FACE.replace("<xmin>3</xmin>", ""), r"object 2 \(face\): no bndbox"),
        (FACE.replace("<xmin>3</xmin>", "<xmin/>"), r"object 2 \(face\): no bndbox"),
        (FACE.replace("face", " "), "object 2: no name"),
    ],
)
def test_objects_without_a_box_or_name_are_named(tmp_path: Path, lacking: str, says: str) -> None:
    write(tmp_path / "a.xml", voc(objects=FACE + lacking))
    picture(tmp_path / "a.png")
    data = open_data_set(tmp_path)
    assert data.entries[0].truth is not None
    assert len(data.entries[0].truth) == 1
    (note,) = data.notes
    assert re.search(rf"a\.xml, {says}", note)
    write(tmp_path / "a.xml", voc(objects=lacking))
    with pytest.raises(AnnotationError, match="no object has a box"):
        read_voc(tmp_path)


@pytest.mark.parametrize("side", ["nan", "inf", "1e999", "-5"])
def test_boxes_that_are_none_are_named(tmp_path: Path, side: str) -> None:
    write(tmp_path / "a.xml", voc(objects=FACE + FACE.replace(">12<", f">{side}<")))
    picture(tmp_path / "a.png")
    data = open_data_set(tmp_path)
    assert data.entries[0].truth is not None
    assert len(data.entries[0].truth) == 1
    assert data.notes[0].startswith("a.png, object 2 of a.xml: the box")


def test_a_set_may_have_no_object_at_all(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", voc(objects=""))
    picture(tmp_path / "a.png")
    data = open_data_set(tmp_path)
    assert data.annotations is not None
    assert data.annotations.labels_for(["face", "hand"]) == {}
