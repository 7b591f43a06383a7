"""YOLO's label files: lines, class names, layouts."""

from pathlib import Path

import pytest
from PIL import Image

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.datasets import DataSet, open_data_set
from chiaroscuro.data.yolo import read_yolo

LINE = "0 0.3 0.4 0.2 0.4\n"
BOX = [6, 4, 12, 12]  # of that line, in a picture of 30 x 20


def picture(path: Path, size: tuple[int, int] = (30, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def make(folder: Path, text: str | bytes, names: str = "names: [face, hand]\n") -> Path:
    picture(folder / "images" / "a.png")
    write(folder / "labels" / "a.txt", text)
    write(folder / "data.yaml", names)
    return folder


def rows(data: DataSet) -> list[list[float]]:
    found = []
    for entry in data.entries:
        assert entry.truth is not None
        found += [[round(value, 4) for value in box] for box in entry.truth.boxes.tolist()]
    return found


def test_boxes_are_shares_of_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "train" / "a.png")
    picture(tmp_path / "images" / "train" / "b.png")
    write(tmp_path / "images" / "broken.png", "no picture")
    write(tmp_path / "labels" / "train" / "a.txt", "1 0.5 0.5 0.2 0.5\n\n")
    write(tmp_path / "data.yaml", "names: {0: hand, 1: face}\n")
    data = open_data_set(tmp_path)
    assert data.class_names == ("hand", "face")
    broken, first, second = data.entries
    assert broken.size is None
    assert first.truth is not None
    assert first.truth.boxes.tolist() == [[12, 5, 18, 15]]
    assert first.truth.labels.tolist() == [1]
    assert second.truth is not None
    assert len(second.truth) == 0


@pytest.mark.parametrize(
    "line",
    [
        "0 0.2 0.2 0.4 0.2 0.4 0.6 0.2 0.6",  # the same four corners as a polygon
        "0 0.3 0.2 0.4 0.4 0.3 0.6 0.2 0.4",  # a turned box, as YOLO's oriented ones
        "0 0.2 0.2 0.4 0.4 0.3 0.6",
        "0 0.2 0.2 0.4 0.2 0.4 0.3 0.3 0.6 0.2 0.5",
        "0.0 0.3 0.4 0.2 0.4",
        "0\t0.3\t0.4 0.2   0.4",
        "# drawn by hand\r\n0 0.3 0.4 0.2 0.4\r\n\r\n",
        "0 3e-1 .4 0.2 0.4",
    ],
)
def test_every_kind_of_line_gives_its_envelope(tmp_path: Path, line: str) -> None:
    assert rows(open_data_set(make(tmp_path, line))) == [BOX]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5", "wanted class x y width height.* got 2"),
        ("0", "got 0"),
        ("0 0.3 0.4 0.2 0.4 0.9", "got 5; remove the fifth value, such as a score"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "got 7"),
        ("0 0.3 0.4 0.2 wide", "wanted numbers after the class"),
        ("face 0.3 0.4 0.2 0.4", r"class face is none of those that data\.yaml names \(0 to 1\)"),
        ("2 0.3 0.4 0.2 0.4", "class 2 is none"),
        ("-1 0.3 0.4 0.2 0.4", "class -1 is none"),
        ("0.5 0.3 0.4 0.2 0.4", "class 0.5 is none"),
        ("nan 0.3 0.4 0.2 0.4", "class nan is none"),
        ("1" * 400 + " 0.3 0.4 0.2 0.4", "class 1+ is none"),
        ("0 9 8 6 8", "wanted shares of the picture's .* got 9; these look like pixels"),
        ("0 1.3 0.4 0.2 0.4", r"got 1\.3$"),
        ("0 -0.2 0.2 0.4 0.4 0.3 0.6", r"got -0\.2"),
        ("0 nan 0.4 0.2 0.4", "got nan"),
        ("0 1e999 0.4 0.2 0.4", "got inf"),
    ],
)
def test_other_lines_are_errors_that_say_where(tmp_path: Path, line: str, says: str) -> None:
    make(tmp_path, f"{LINE}\n{line}\n")
    with pytest.raises(AnnotationError, match=rf"a\.txt, line 3: .*{says}"):
        open_data_set(tmp_path)


def test_lines_without_area_are_named(tmp_path: Path) -> None:
    data = open_data_set(make(tmp_path, LINE + "0 0.5 0.5 0 0.1\n0 0.5 0.5 0.1 -0.001\n"))
    assert rows(data) == [BOX]
    assert [note.split(":")[0] for note in data.notes] == [
        "a.png, line 2 of a.txt",
        "a.png, line 3 of a.txt",
    ]


def test_kpt_shape_distinguishes_poses_from_polygons(tmp_path: Path) -> None:
    pose = "0 0.3 0.4 0.2 0.4 0.25 0.3 2 0.35 0.3 1"
    shaped = "names: [face]\nkpt_shape: [2, 3]\n"
    assert rows(open_data_set(make(tmp_path, f"{pose}\n{LINE}", shaped))) == [BOX, BOX]
    flat = "0 0.3 0.4 0.2 0.4 0.25 0.3 0.35 0.3"
    shaped = "names: [face]\nkpt_shape: [2, 2]\n"
    assert rows(open_data_set(make(tmp_path, flat, shaped))) == [BOX]
    make(tmp_path, pose, shaped)
    with pytest.raises(
        AnnotationError, match=r"line 1: .*or 8 with the keypoints of kpt_shape.*10"
    ):
        open_data_set(tmp_path)
    make(tmp_path, pose, "names: [face]\n")
    with pytest.raises(AnnotationError, match=r"lacks kpt_shape: \[2, 3\]"):
        open_data_set(tmp_path)
    make(tmp_path, "0 0 0 1 0 1 1 0 1 0 0")  # a polygon of corners only, no pose
    assert rows(open_data_set(tmp_path)) == [[0, 0, 30, 20]]
    make(tmp_path, LINE, "names: [face]\nkpt_shape: 5\n")
    with pytest.raises(AnnotationError, match="wanted kpt_shape as two numbers"):
        open_data_set(tmp_path)


@pytest.mark.parametrize(
    ("yaml", "number", "names", "label"),
    [
        ("names: {1: face, 2: hand}", 1, ("face", "hand"), 0),
        ("names: {2: hand, 7: face}", 7, ("hand", "face"), 1),
        ("names: {'0': hand, '1': face}", 1, ("hand", "face"), 1),
        ("names: face", 0, ("face",), 0),
        ("names: [face]\nnc: 1", 0, ("face",), 0),
        ("names: {1: face, 2: hand}\nnc: 3", 2, ("face", "hand"), 1),
        ("names: {1: face, 2: hand}\nnc: 2", 2, ("face", "hand"), 1),
        ("names: [' face ', null, hand]", 2, ("face", "", "hand"), 2),
        ("names: [0, 1]", 1, ("0", "1"), 1),
        ("nc: 2", 1, ("class_0", "class_1"), 1),
        ("names:\n  - face\n  - hand", 1, ("face", "hand"), 1),
    ],
)
def test_names_are_indexed_by_their_number(
    tmp_path: Path, yaml: str, number: int, names: tuple[str, ...], label: int
) -> None:
    data = read_yolo(make(tmp_path, f"{number}{LINE[1:]}", yaml))
    assert data.class_names == names
    assert data.pictures[0].truth.labels.tolist() == [label]


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("names: []", "no readable names"),
        ("names: {}", "no readable names"),
        ("names: ['', null]", "no readable names"),
        ("names: 3", "no readable names"),
        ("- face", "no readable names"),
        ("path: .", "no readable names"),
        ("names: {a: face}", "wanted names as a list or as number: name"),
        ("names: [[face]]", "wanted names as a list"),
        ("names: {-1: face}", "wanted names as a list"),
        ("names: [face]\nnc: 2", "nc is 2, but names has 1 class;"),
        ("names: [face, hand]\nnc: 1", "nc is 1, but names has 2 classes"),
        ("names: [face]\nnc: many", "wanted a number of classes as nc"),
        ("names: [face", "is not readable YAML"),
        ("names: !!python/object:os.system x", "is not readable YAML"),
        ("[" * 5000, "is not readable YAML"),
    ],
)
def test_names_that_cannot_be_read(tmp_path: Path, yaml: str, says: str) -> None:
    make(tmp_path, LINE, yaml)
    with pytest.raises(AnnotationError, match=rf"data\.yaml.*{says}"):
        open_data_set(tmp_path)


def test_names_in_lines_keep_their_number(tmp_path: Path) -> None:
    make(tmp_path, "2 0.3 0.4 0.2 0.4")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(AnnotationError, match="names no classes"):
        read_yolo(tmp_path)
    for name in ("classes.txt", "obj.names", "labels/classes.txt"):
        write(tmp_path / name, "hand\n\nface\n\n")
        data = read_yolo(tmp_path)
        assert data.class_names == ("hand", "", "face")
        assert data.pictures[0].truth.labels.tolist() == [2]
        (tmp_path / name).unlink()
    write(tmp_path / "classes.txt", "\n \n")
    with pytest.raises(AnnotationError, match=r"classes\.txt names no classes"):
        read_yolo(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    make(tmp_path, LINE.encode(encoding))
    write(tmp_path / "data.yaml", "names: [tête]\n".encode(encoding))
    data = open_data_set(tmp_path)
    assert data.class_names == ("tête",)
    assert rows(data) == [BOX]
    write(tmp_path / "labels" / "a.txt", LINE.encode() + b"# \xe9")
    with pytest.raises(AnnotationError, match=r"a\.txt is neither UTF-8 nor UTF-16"):
        open_data_set(tmp_path)


ROBOFLOW = "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['face']\n"
LAYOUTS = {
    "ultralytics": (
        "images/train/a.png",
        "labels/train/a.txt",
        "data.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames: {0: face}\n",
    ),
    "roboflow": ("train/images/a.png", "train/labels/a.txt", "data.yaml", ROBOFLOW),
    "roboflow-test": (
        "test/images/a.png",
        "test/labels/a.txt",
        "data.yaml",
        ROBOFLOW + "test: test",
    ),
    "cvat": ("obj_train_data/a.png", "obj_train_data/a.txt", "obj.names", "face\n"),
    "cvat-sub": ("obj_Train_data/x/a.png", "obj_Train_data/x/a.txt", "obj.names", "face\n"),
    "darknet": ("a.png", "a.txt", "classes.txt", "face\n"),
    "darknet-images": ("images/a.png", "images/a.txt", "classes.txt", "face\n"),
    "labelimg": ("images/a.png", "labels/a.txt", "labels/classes.txt", "face\n"),
    "deep": ("set/train/images/a.png", "set/train/labels/a.txt", "data.yaml", "names: [face]"),
    "other-yaml": ("images/a.png", "labels/a.txt", "paintings.yaml", "names: [face]\n"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_people_export(tmp_path: Path, layout: str) -> None:
    image, label, names, text = LAYOUTS[layout]
    picture(tmp_path / image)
    write(tmp_path / label, LINE)
    write(tmp_path / names, text)
    data = open_data_set(tmp_path)
    assert rows(data) == [BOX]
    assert data.entries[0].name == "a"
    assert data.class_names == ("face",)


def splits(folder: Path) -> None:
    for split in ("train", "valid"):
        picture(folder / split / "images" / f"{split}.png")
        write(folder / split / "labels" / f"{split}.txt", LINE)


@pytest.mark.parametrize(
    "text",
    [
        ROBOFLOW,
        "train: train/images\nval: valid/images\nnames: [face]",
        "train: [train/images, valid/images]\nnames: [face]",
        "path: .\ntrain: train\nval: valid\nnames: [face]",
        "path: /nowhere/set\ntrain: train/images\nval: valid/images\nnames: [face]",
        "train: /nowhere/set/train/images\nval: C:\\set\\valid\\images\nnames: [face]",
        "train: both.txt\nnames: [face]",
        "names: [face]",
    ],
)
def test_data_yaml_itself_names_its_splits(tmp_path: Path, text: str) -> None:
    splits(tmp_path)
    write(tmp_path / "both.txt", "./train/images/train.png\nvalid/images/valid.png\n")
    write(tmp_path / "data.yaml", text)
    data = open_data_set(tmp_path / "data.yaml")
    assert [entry.name for entry in data.entries] == ["train", "valid"]
    assert rows(data) == [BOX, BOX]


def test_splits_elsewhere_and_of_one_name(tmp_path: Path) -> None:
    picture(tmp_path / "pictures" / "images" / "a.png")
    write(tmp_path / "pictures" / "labels" / "a.txt", LINE)
    picture(tmp_path / "more" / "images" / "a.png")
    write(tmp_path / "more" / "labels" / "a.txt", LINE)
    for stated in ("..", str(tmp_path)):
        text = (
            f"path: {stated}\ntrain: pictures/images\nval: more/images\ntest: gone\nnames: [face]"
        )
        write(tmp_path / "config" / "data.yaml", text)
        assert rows(open_data_set(tmp_path / "config")) == [BOX, BOX]
        data = open_data_set(tmp_path / "config" / "data.yaml")
        assert rows(data) == [BOX, BOX]
        assert len({entry.name for entry in data.entries}) == 2
        assert "test is gone, which does not exist" in data.notes[0]


def test_a_split_alone(tmp_path: Path) -> None:
    splits(tmp_path)
    write(tmp_path / "data.yaml", ROBOFLOW)
    data = open_data_set(tmp_path / "valid")
    assert [entry.name for entry in data.entries] == ["valid"]
    assert rows(data) == [BOX]


def test_pictures_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "set" / "obj_train_data" / "x" / "a.txt", LINE)
    write(tmp_path / "set" / "obj.names", "face\n")
    with pytest.raises(
        AnnotationError, match="its pictures are not found; set their folder with --images"
    ):
        open_data_set(tmp_path / "set")
    picture(tmp_path / "pictures" / "x" / "a.png")
    assert rows(open_data_set(tmp_path / "set", tmp_path / "pictures")) == [BOX]


def test_labels_and_pictures_that_do_not_pair(tmp_path: Path) -> None:
    make(tmp_path, LINE)
    write(tmp_path / "labels" / "b.txt", LINE)
    (note,) = open_data_set(tmp_path).notes
    assert "left out: 1 label file without a picture, such as" in note
    assert "b.txt" in note
    (tmp_path / "labels" / "a.txt").unlink()
    with pytest.raises(AnnotationError, match=r"1 picture without a label file, found .*b\.txt"):
        open_data_set(tmp_path)
    (tmp_path / "labels" / "b.txt").unlink()
    with pytest.raises(AnnotationError, match="no label file was found"):
        open_data_set(tmp_path)
