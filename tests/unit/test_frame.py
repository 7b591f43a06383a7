"""Annotated boxes in the pixels of the picture as it is read, or a refusal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, PngImagePlugin

from chiaroscuro.core.errors import AnnotationError, ImageError
from chiaroscuro.data.annotations import AnnotatedBox, AnnotatedPicture
from chiaroscuro.data.datasets import DataSet, open_data_set
from chiaroscuro.data.placing import Placed, place_all
from chiaroscuro.images.header import PictureSize, picture_size
from chiaroscuro.images.read import read_image

STORED = (48, 32)  # width and height
PATCH = (4, 6, 19, 16)  # a bright one in the stored picture, x1 y1 x2 y2


def stored_picture(path: Path, orientation: int = 1, **options: Any) -> Path:
    """A picture of a bright patch, with an EXIF orientation."""
    pixels = np.full((STORED[1], STORED[0], 3), 5, np.uint8)
    x1, y1, x2, y2 = PATCH
    pixels[y1:y2, x1:x2] = 240
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


def seen(path: Path) -> list[float]:
    """The patch in the picture as it is read."""
    bright = read_image(path).float().mean(dim=0) > 120
    ys, xs = (bright.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    return [float(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]


def coco(
    folder: Path, box: tuple[float, ...], size: tuple[int, int], *more: dict[str, Any]
) -> Path:
    x1, y1, x2, y2 = box
    first = {"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}
    rows = [{"id": 7, "image_id": 1, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}]
    images = [first]
    for number, other in enumerate(more, start=2):
        images.append({**first, "id": number, **{k: v for k, v in other.items() if k != "bbox"}})
        rows += [{**rows[0], "id": 10 + number, "image_id": number, "bbox": other["bbox"]}]
    file = folder / "a.json"
    file.write_text(
        json.dumps(
            {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "face"}]}
        )
    )
    return file


def boxes(data: DataSet, place: int = 0) -> list[list[float]]:
    truth = data.entries[place].truth
    assert truth is not None
    found: list[list[float]] = truth.boxes.tolist()
    return found


# Sizes from headers


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_the_header_gives_the_upright_size(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = stored_picture(tmp_path / f"a.{suffix}", orientation)
    size = picture_size(path)
    assert size.orientation == orientation
    assert size.stored == STORED
    assert (size.height, size.width) == tuple(read_image(path).shape[1:])


def test_orientation_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    """Legal, and found when the picture is decoded."""
    path = stored_picture(tmp_path / "a.png", 6)
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    length = 12 + int.from_bytes(data[start : start + 4])
    end = data.index(b"IEND") - 4
    chunk = data[start : start + length]
    path.write_bytes(data[:start] + data[start + length : end] + chunk + data[end:])
    assert picture_size(path) == PictureSize(32, 48, 6)
    assert read_image(path).shape == (3, 48, 32)


def test_a_large_png_is_not_decoded_for_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored_picture(tmp_path / "a.png", 6)

    def load(_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    assert picture_size(path) == PictureSize(32, 48, 6)


def test_an_orientation_that_is_none_counts_for_nothing(tmp_path: Path) -> None:
    assert picture_size(stored_picture(tmp_path / "a.jpg", 9)) == PictureSize(*STORED)
    (tmp_path / "b.jpg").write_text("no picture")
    with pytest.raises(ImageError, match="not a picture"):
        picture_size(tmp_path / "b.jpg")


# Frames


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_the_stored_picture_are_turned_with_it(tmp_path: Path, orientation: int) -> None:
    path = stored_picture(tmp_path / "a.png", orientation)
    for size in (STORED, (0, 0), (24, 16)):
        scale = 0.5 if size == (24, 16) else 1.0
        file = coco(tmp_path, tuple(v * scale for v in PATCH), size)
        assert boxes(open_data_set(file, frame="stored")) == [seen(path)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_the_upright_picture_are_used_as_they_are(
    tmp_path: Path, orientation: int
) -> None:
    path = stored_picture(tmp_path / "a.png", orientation)
    upright = picture_size(path)
    for size in ((upright.width, upright.height), (0, 0)):
        data = open_data_set(coco(tmp_path, tuple(seen(path)), size))
        assert boxes(data) == [seen(path)]
        assert data.notes == ()
    data = open_data_set(coco(tmp_path, tuple(seen(path)), STORED), frame="upright")
    assert boxes(data) == [seen(path)]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_the_size_of_the_header_has_two_explanations(tmp_path: Path, orientation: int) -> None:
    """Boxes that fit one frame only decide it; others are refused with both sizes."""
    path = stored_picture(tmp_path / "a.png", orientation)
    with pytest.raises(
        AnnotationError, match=r"48 x 32 pixels.* has 32 x 48 \(stored as 48 x 32.*--frame upright"
    ):
        open_data_set(coco(tmp_path, PATCH, STORED))
    wide = (30, 4, 46, 14)  # in 48 x 32, not in 32 x 48
    data = open_data_set(coco(tmp_path, wide, STORED))
    assert boxes(data) != [list(wide)]
    assert data.notes == (
        "a.png: annotations for 48 x 32 pixels, picture as it is read 32 x 48; boxes are turned by "
        "the picture's EXIF orientation",
    )
    tall = (4, 30, 14, 46)
    data = open_data_set(coco(tmp_path, tall, STORED))
    assert boxes(data) == [list(tall)]
    assert "boxes are used as those of the upright picture" in data.notes[0]
    assert seen(path) != list(PATCH)


def test_what_one_picture_decides_holds_for_the_set(tmp_path: Path) -> None:
    stored_picture(tmp_path / "a.png", 6)
    stored_picture(tmp_path / "b.png", 6)
    tall = {"file_name": "b.png", "bbox": [4, 30, 10, 16]}
    data = open_data_set(coco(tmp_path, PATCH, STORED, tall))
    assert boxes(data) == [list(PATCH)]
    assert "(also in 1 other picture)" in data.notes[0]
    stored_picture(tmp_path / "c.png", 8)
    wide = {"file_name": "c.png", "bbox": [30, 4, 16, 10]}
    data = open_data_set(coco(tmp_path, PATCH, STORED, tall, wide))
    assert "--frame upright or --frame stored" in data.entries[0].refused
    assert [entry.refused for entry in data.entries[1:]] == ["", ""]
    assert len(boxes(data)) == 0
    with pytest.raises(AnnotationError, match="--frame upright or --frame stored"):
        data.entries[0].check(width=32, height=48)


def test_exchanged_width_and_height_without_an_orientation(tmp_path: Path) -> None:
    stored_picture(tmp_path / "a.png")
    assert boxes(open_data_set(coco(tmp_path, (30, 4, 46, 14), (32, 48)))) == [[30, 4, 46, 14]]
    for unclear in (PATCH, (4, 30, 14, 46)):  # the second is of a picture that stood upright
        with pytest.raises(AnnotationError, match=r"32 x 48 pixels.*has 48 x 32; if its boxes"):
            open_data_set(coco(tmp_path, unclear, (32, 48)))
    data = open_data_set(coco(tmp_path, PATCH, (32, 48)), frame="upright")
    assert boxes(data) == [list(PATCH)]


@pytest.mark.parametrize(
    ("size", "scale"),
    [
        ((96, 64), (0.5, 0.5)),
        ((24, 16), (2, 2)),
        ((25, 16), (48 / 25, 2)),
        ((73, 48), (48 / 73, 2 / 3)),
    ],
)
def test_boxes_of_a_copy_are_scaled_by_axis(
    tmp_path: Path, size: tuple[int, int], scale: tuple[float, float]
) -> None:
    stored_picture(tmp_path / "a.png")
    data = open_data_set(coco(tmp_path, (2, 3, 9, 8), size))
    (box,) = boxes(data)
    assert box == pytest.approx([2 * scale[0], 3 * scale[1], 9 * scale[0], 8 * scale[1]])
    assert f"for {size[0]} x {size[1]} pixels" in data.notes[0]
    assert data.notes[0].endswith("picture as it is read 48 x 32; boxes are scaled")


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((96, 32), PATCH),
        ((48, 48), PATCH),
        ((50, 32), PATCH),
        ((24, 16), (20, 10, 40, 30)),  # past 24 x 16, so they are of the picture itself
    ],
)
def test_a_size_that_explains_nothing_is_refused(
    tmp_path: Path, size: tuple[int, int], box: tuple[float, ...]
) -> None:
    stored_picture(tmp_path / "a.png")
    with pytest.raises(AnnotationError) as error:
        open_data_set(coco(tmp_path, box, size))
    assert f"for a picture of {size[0]} x {size[1]} pixels" in str(error.value)
    assert "has 48 x 32; correct the size" in str(error.value)


def test_a_refused_picture_does_not_block_the_others(tmp_path: Path) -> None:
    stored_picture(tmp_path / "a.png")
    stored_picture(tmp_path / "b.png")
    other = {"file_name": "b.png", "width": 40, "height": 40, "bbox": [1, 1, 5, 5]}
    first, second = open_data_set(coco(tmp_path, PATCH, STORED, other)).entries
    first.check(*STORED)
    with pytest.raises(AnnotationError, match="40 x 40"):
        second.check(*STORED)
    with pytest.raises(AnnotationError, match="open it again"):
        first.check(32, 48)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((50, 4, 60, 9), "lies outside the picture of 48 x 32 pixels; it is left out"),
        ((-9, 4, 0, 9), "lies outside the picture"),
        ((4, 4, 4, 9), "has no area; it is left out"),
        ((9, 4, 4, 9), "has no area"),
        ((4, 4, 1e400, 9), "has no area"),
        ((4, 4, 1e39, 9), "has no area"),
        ((1e8, 4, 1e8 + 0.1, 9), "has no area"),
    ],
)
def test_boxes_that_are_left_out_are_named(
    tmp_path: Path, box: tuple[float, ...], says: str
) -> None:
    stored_picture(tmp_path / "a.png")
    more = {"file_name": "b.png", "bbox": [1, 1, 5, 5]}
    stored_picture(tmp_path / "b.png")
    data = open_data_set(coco(tmp_path, box, STORED, more))
    assert boxes(data) == []
    (note,) = data.notes
    assert note.startswith("a.png, annotation 7: the box ")
    assert says in note


def test_a_set_of_which_every_box_is_left_out_is_an_error(tmp_path: Path) -> None:
    stored_picture(tmp_path / "a.png")
    with pytest.raises(
        AnnotationError, match=r"wanted boxes, got 1 box that cannot be used; a\.png"
    ):
        open_data_set(coco(tmp_path, (50, 4, 60, 9), STORED))


def annotated(*rows: tuple[float, float, float, float], **options: Any) -> AnnotatedPicture:
    return AnnotatedPicture(
        file_name="a",
        boxes=tuple(
            AnnotatedBox(box=row, label=0, where=f"annotation {i}", crowd=i == 1, ignore=i == 1)
            for i, row in enumerate(rows)
        ),
        **options,
    )


def placed(picture: AnnotatedPicture, size: PictureSize | None, **options: Any) -> Placed:
    (one,), _ = place_all([(picture, size)], **options)
    return one


def test_shares_of_a_picture_are_of_the_upright_one() -> None:
    rows = ((0.25, 0.5, 0.5, 1.0), (0.0, 0.0, 1.0, 1.0))
    truth = placed(annotated(*rows, unit=True), PictureSize(32, 48, 6)).truth
    assert truth.boxes.tolist() == [[8, 24, 16, 48], [0, 0, 32, 48]]
    assert truth.crowd.tolist() == [False, True]
    turned = placed(annotated(*rows, unit=True), PictureSize(32, 48, 6), frame="stored").truth
    assert turned.boxes.tolist() == [[0, 12, 16, 24], [0, 0, 32, 48]]
    square = placed(annotated((1.0, 2.0, 3.0, 4.0), width=9, height=9), PictureSize(9, 9, 6))
    assert torch.equal(square.truth.boxes, torch.tensor([[1.0, 2, 3, 4]]))


def test_a_picture_without_boxes_fits_any_way() -> None:
    assert placed(annotated(width=48, height=32), PictureSize(32, 48, 6)).refused == ""
    unreadable = placed(annotated((1.0, 2.0, 3.0, 4.0)), None)
    assert (len(unreadable.truth), unreadable.refused) == (0, "")
