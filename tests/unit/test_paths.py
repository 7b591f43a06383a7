"""Pictures in folders, by the names that annotation files have, and what results are called."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.paths import as_source, file_name, folder_name, folder_names, picture_suffixes
from chiaroscuro.data.pictures import find_pictures, resolve

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_pictures(folder)]


def test_all_suffixes_that_are_read_are_found(tmp_path: Path) -> None:
    suffixes = "avif btf gif j2k jfif jp2 jpe jpeg mpo pgm png psd tif webp"
    names = [f"a.{suffix}" for suffix in suffixes.split(" ")]
    put(tmp_path, *names, "b.JPG", "c.Tiff", "d/e/f.PNG", "notes.txt", "clip.mp4", "x.svg", "png")
    assert found(tmp_path) == [*names, "b.JPG", "c.Tiff", "d/e/f.PNG"]
    assert {".heic", ".heif"} <= picture_suffixes() or "HEIF" not in Image.OPEN


def test_what_systems_put_beside_pictures_is_skipped(tmp_path: Path) -> None:
    put(
        tmp_path, "a.jpg", "._a.jpg", "__MACOSX/a.jpg", "__MACOSX/._a.jpg", ".DS_Store", "Thumbs.db"
    )
    put(tmp_path, "d/._b.png", "d/@eaDir/b.png", "d/b.png", "d/.ipynb_checkpoints/b-checkpoint.png")
    assert found(tmp_path) == ["a.jpg", "d/b.png"]


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path, "set/m/a.png", "elsewhere/b.png")
    folder = tmp_path / "set"
    (folder / "m" / "up").symlink_to(folder)
    (folder / "again").symlink_to(folder / "m")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "c.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (folder / "broken.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "folder.png").mkdir()
    assert found(folder) == ["c.png", "linked/b.png", "m/a.png"]


@pytest.mark.parametrize(
    "wanted",
    [
        "d/a.png",
        "d\\a.png",
        ".\\d\\a.png",
        "./d/a.png",
        "d//a.png",
        "d/../d/a.png",
        "d/a.PNG",
        "d/a",
    ],
)
def test_a_name_is_found_however_it_is_written(tmp_path: Path, wanted: str) -> None:
    put(tmp_path, "d/a.png", "d/b.png")
    assert resolve(tmp_path, wanted) == tmp_path / "d/a.png"
    assert resolve(tmp_path, str(tmp_path / wanted.replace("\\", "/"))) == tmp_path / "d/a.png"


@pytest.mark.parametrize(
    ("there", "wanted"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)]
)
def test_accents_are_the_same_composed_and_decomposed(
    tmp_path: Path, there: str, wanted: str
) -> None:
    put(tmp_path, f"{there[:-4]}/{there}")
    assert resolve(tmp_path, f"{wanted[:-4]}\\{wanted}") == tmp_path / there[:-4] / there


def test_the_very_name_comes_first_and_two_that_fit_are_none(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "a.PNG", "d\\e.png", "d/e.png", "f.jpg", "f.png", "g.png.jpg")
    assert resolve(tmp_path, "a.PNG") == tmp_path / "a.PNG"
    assert resolve(tmp_path, "a.Png") is None
    assert resolve(tmp_path, "d\\e.png") == tmp_path / "d\\e.png"
    assert resolve(tmp_path, "f") is None
    assert resolve(tmp_path, "g.png") is None


@pytest.mark.parametrize("name", ["", ".", "absent.png", "d/a.png/b.png", "a\0b.png", "\ud800.png"])
def test_what_is_not_there_is_none(tmp_path: Path, name: str) -> None:
    put(tmp_path, "d/a.png")
    assert resolve(tmp_path, name) is None
    assert resolve(tmp_path, "x" * 5000 + ".png") is None
    assert resolve(tmp_path / "no folder", "a.png") is None


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "..\\secret.png",
        "d/../../secret.png",
        "d\\..\\..\\secret.png",
        "/etc/passwd",
        "C:\\secret.png",
        "C:/secret.png",
        "\\\\server\\share\\secret.png",
        "..",
    ],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    put(tmp_path, "secret.png", "set/d/a.png")
    with pytest.raises(AnnotationError, match="leads out of its folder"):
        resolve(tmp_path / "set", name)


def test_bytes_that_are_no_utf8_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        put(tmp_path, name)
    except OSError:
        pytest.skip("this disk allows no such name")
    assert found(tmp_path) == [name]
    assert resolve(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/La Tour.jpg", "La Tour"),
        ("who?.png", "who_"),
        ("x.v1.2.png", "x.v1.2"),
        ("scan.0042", "scan.0042"),
        ("a/..", "picture"),
        ("...png", "picture"),
        ("....png", "picture"),
        ("a. .png", "a"),
        ("NUL.png", "_NUL"),
        ("com1.x.png", "_com1.x"),
        ('a<b>:"c|d*.png', "a_b___c_d_"),
        ("a\nb.png", "a_b"),
        ("caf\udce9.png", "caf_"),
        ("http://h:80/a/La%20Tour.jpg?size=3#top", "La Tour"),
        ("https://h/image.php?id=3", "image_id=3"),
        ("https://h/a/%2e%2e", "picture"),
        ("https://h/a%2Fb.png", "a_b"),
        ("https://h/", "h"),
        ("http://[half", "picture"),
    ],
)
def test_a_folder_is_called_after_its_picture(source: str, name: str) -> None:
    assert folder_name(source) == name


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a/x.png", "b/y.png"], ["x", "y"]),
        (["a/x.png", "b/x.png"], ["a__x.png", "b__x.png"]),
        (["a/b.png", "a__b.png"], ["b", "a__b"]),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a/x.png", "a/x.jpg", "z.png"], ["x.png", "x.jpg", "z"]),
        (
            ["https://h/1/full/default.jpg", "https://h/2/full/default.jpg"],
            ["1__full__default.jpg", "2__full__default.jpg"],
        ),
        ([], []),
    ],
)
def test_two_pictures_never_share_a_folder(sources: list[str], names: list[str]) -> None:
    assert folder_names(sources) == names
    assert folder_names(sources[::-1]) == names[::-1]


PARTS = st.text("abAB._é\u0301? \udce9", min_size=1, max_size=4)
SOURCES = st.lists(
    st.builds("{}/{}{}".format, PARTS, PARTS, st.sampled_from([".png", ".PNG", ".jpg", ""])),
    unique=True,
    max_size=6,
)


@given(SOURCES)
@example(["A.png", "a.png", "a/A.png"])
@example([f"{'x' * 300}.png", f"{'x' * 300}y.png", f"{'é' * 200}.png"])
@example(["../x.png", "x.png", "b/b.png", "b/x.png", "b__x.png.png"])
@example([COMPOSED, DECOMPOSED])
def test_names_of_any_pictures_are_fit_for_every_disk(sources: list[str]) -> None:
    names = folder_names(sources)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(sources)
    for name in names:
        assert name not in ("", ".", "..")
        assert len(name.encode()) <= 230
        assert not set(name) & set('<>:"/\\|?*\0')
        assert not name.endswith((".", " "))
    order = sorted(range(len(sources)), key=lambda i: sources[i])
    assert folder_names([sources[i] for i in order]) == [names[i] for i in order]


def test_sources() -> None:
    assert as_source("http://h/a.png") == "http://h/a.png"
    assert as_source("a/b.png") == Path("a/b.png")
    assert file_name("http://h/d/a%20b.png?x=1") == "a b.png"
    assert file_name("d/a b.png") == "a b.png"
