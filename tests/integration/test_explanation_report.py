"""The report of one picture, and the lines that redo it."""

import io
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.notes import Note, note_check
from chiaroscuro.core.plan import DetectorChoice, Reading
from chiaroscuro.core.tiles import Tile
from chiaroscuro.core.windows import Window
from chiaroscuro.figures.encode import data_uri, jpeg
from chiaroscuro.images.read import read_image
from chiaroscuro.report import cards
from chiaroscuro.report.explanation import write_explanation_report
from chiaroscuro.report.redo import redo_script
from chiaroscuro.results.picture import Picture, open_picture
from chiaroscuro.store.schema import MapSource, WindowRecord

FACES_BY_BRIGHTNESS = """
import torch

def find(images):
    return [
        [[10, 8, 30, 28, float(p[:, 8:28, 10:30].mean())], [40, 5, 60, 31, float(p[0].mean())]]
        for p in images
    ]

def dark(images):
    return find(0.7 * images)

def classes(images):
    made = []
    for p in images:
        red, green = float(p[0].mean()), float(p[1].mean())
        rest = torch.tensor([[red, green, 0.1]]) / 3
        made.append(
            {
                "boxes": torch.tensor([[10.0, 8.0, 30.0, 28.0]]),
                "scores": torch.tensor([red]),
                "labels": torch.tensor([0]),
            }
        )
    return made
"""
FINE = cs.MaskDesign(grid_size=24)  # cells of a quarter of a box
TARGETS = [[10.1, 8.2, 30.3, 28.4], [40.0, 5.0, 60.0, 31.0]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, with a painting (90 x 60) and a module ``faces_by_brightness``."""
    (tmp_path / "faces_by_brightness.py").write_text(FACES_BY_BRIGHTNESS)
    pixels = np.random.default_rng(3).integers(60, 255, (6, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((90, 60)).save(tmp_path / "painting.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("faces_by_brightness", None)


def explained(picture: Picture, spec: str = "faces_by_brightness:find", **how: Any) -> Any:
    detector = cs.load_detector(spec)
    found = detector.detect(picture.image[None])[0]
    targets = how.pop("targets", TARGETS)
    estimator = how.pop("estimator", "surrogate")
    evidence = cs.observe(picture.image, detector, **{"n_passes": 20, "seed": 3, **how})
    return evidence.explain(targets, estimator=estimator), found


def redone(script: str) -> cs.Explanation:
    scope: dict[str, Any] = {}
    exec(compile(script, "redo.py", "exec"), scope)
    result: cs.Explanation = scope["result"]
    return result


def same(first: cs.Explanation, second: cs.Explanation) -> bool:
    return all(
        torch.equal(getattr(first, name).nan_to_num(-9), getattr(second, name).nan_to_num(-9))
        for name in ("saliency", "standard_error", "fidelity", "mean_weight")
    )


# The lines


@pytest.mark.parametrize("max_side", [None, 53])
def test_the_lines_redo_the_maps_to_the_bit(folder: Path, max_side: int | None) -> None:
    picture = open_picture(folder / "painting.jpg", Reading(max_side=max_side))
    result, _ = explained(picture)
    script = redo_script(picture, result, DetectorChoice(detector="faces_by_brightness:find"))
    again = redone(script)
    assert same(result, again)
    assert [t.plain() for t in again.targets] == [t.plain() for t in result.targets]
    assert ("shrink(image, 53)" in script) == (max_side is not None)
    assert "MaskDesign" not in script
    assert str(folder) not in script
    assert same(cs.Explanation.load("out"), result)


@pytest.mark.parametrize(
    "tile",
    [
        Tile(size=(60, 90), scale=1.0, window=Window(3, 5, 80, 50)),
        Tile(size=(54, 81), scale=0.9, window=Window(0, 2, 75, 50)),
    ],
)
def test_a_tile_of_a_large_picture_is_redone(folder: Path, tile: Tile) -> None:
    picture = open_picture(folder / "painting.jpg", Reading(max_side=None)).part(tile)
    result, _ = explained(picture)
    script = redo_script(picture, result, DetectorChoice(detector="faces_by_brightness:find"))
    assert same(result, redone(script))
    record = picture.record()
    assert (record.scale, record.part) == (tile.scale, tile.window)
    assert picture.in_file(torch.zeros(4)).tolist()[0] == tile.window.x1 / tile.scale


def test_every_choice_is_in_the_lines(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    design = cs.MaskDesign(grid_size=(5, 8), keep_probability=0.7, antithetic=False, fill="blur")
    result, _ = explained(picture, estimator="centred", n_passes=13, seed=2**63, design=design)
    choice = DetectorChoice(detector="faces_by_brightness:find", options={"min_score": 0.02})
    script = redo_script(picture, result, choice, out="my/own")
    assert "min_score=0.02" in script
    assert f"n_passes=13, seed={2**63}" in script
    assert same(redone(script), result)
    assert Path("my/own/manifest.json").is_file()


def test_close_ups_are_redone_too(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    detector = "faces_by_brightness:find"
    result = cs.explain(picture.image, detector, TARGETS, n_passes=40, closeup=True)
    script = redo_script(picture, result, DetectorChoice(detector=detector))
    again = redone(script)
    assert same(again, result)
    for first, second in zip(again.closeups, result.closeups, strict=True):
        assert first is not None
        assert second is not None
        assert torch.equal(first.saliency, second.saliency)


def test_maps_of_the_whole_picture_are_redone_on_it(folder: Path) -> None:
    """Of the workbench: close-ups stopped by themselves, and all else was a number of passes."""
    picture = open_picture("painting.jpg")
    detector = "faces_by_brightness:find"
    how = {"windows": False, "closeup": True, "fidelity": 0.3}
    evidence = cs.observe(picture.image, detector, targets=TARGETS, n_passes="auto", **how)
    result = evidence.joined(
        cs.observe(picture.image, detector, targets=TARGETS[:1], n_passes=120, **how)
    ).explain(TARGETS)
    script = redo_script(picture, result, DetectorChoice(detector=detector))
    assert "windows=False" in script
    assert "# closeup=True makes close-ups too" in script
    again = redone(script)
    assert same(again, result)
    assert again.closeups == ()


def test_two_detectors_in_windows_are_compared(folder: Path) -> None:
    """Windows of two detectors may differ; what counts is that both saw the same masks."""
    picture = open_picture("painting.jpg")
    first, found = explained(picture, n_passes=40)
    second, _ = explained(picture, n_passes=40)
    window = WindowRecord(window=Window(0, 0, 64, 60), n_passes=40)
    source = MapSource(n_masks=40, window=window.window)
    second = replace(
        second,
        settings=attrs.evolve(second.settings, n_passes=8, windows=(window,)),
        sources=(source,) * len(second),
    )
    write_explanation_report(folder / "two.html", picture, {"a": first, "b": second}, {"a": found})
    assert "under the same masks" in Path("two.html").read_text()
    fewer = replace(second, sources=(attrs.evolve(source, n_masks=39),) * len(second))
    write_explanation_report(folder / "two.html", picture, {"a": first, "b": fewer}, {"a": found})
    assert "did not see the same masks" in Path("two.html").read_text()


def test_the_number_of_masks_is_the_number_made(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    result = cs.explain(picture.image, "faces_by_brightness:find", TARGETS, fidelity=0.3)
    assert f"n_passes={result.settings.n_passes}," in redo_script(
        picture, result, DetectorChoice(detector="x:y")
    )


def test_found_targets_keep_score_label_and_class_probabilities(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    drawn = cs.Target(box=[1 / 3, 2 / 7, 30.3, 28.4])
    found = cs.Target(
        box=[10, 8, 30, 28],
        label=0,
        score=1 / 3,
        class_probabilities=torch.rand(91, generator=torch.Generator().manual_seed(1)),
        origin="found",
    )
    result, _ = explained(picture, "faces_by_brightness:classes", targets=[found, drawn])
    script = redo_script(picture, result, DetectorChoice(detector="faces_by_brightness:classes"))
    again = redone(script)
    assert same(result, again)
    for target, other in zip(result.targets, again.targets, strict=True):
        assert torch.equal(target.box, other.box)
        assert (target.label, target.score, target.origin) == (
            other.label,
            other.score,
            other.origin,
        )
    assert torch.equal(again.targets[0].class_probabilities, found.class_probabilities)
    assert max(len(line) for line in script.splitlines()) < 110


def test_nothing_to_explain_is_redone_too(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    result = cs.explain(picture.image, "faces_by_brightness:find", ())
    again = redone(
        redo_script(picture, result, DetectorChoice(detector="faces_by_brightness:find"))
    )
    assert len(again) == 0
    assert again.settings == result.settings


def test_another_file_of_that_name_is_noticed(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    script = redo_script(
        picture, explained(picture)[0], DetectorChoice(detector="faces_by_brightness:find")
    )
    Image.new("RGB", (90, 60)).save("painting.jpg")
    with pytest.raises(AssertionError):
        redone(script)


def test_text_in_the_lines_is_data(folder: Path) -> None:
    source = 'a"b\'c\n"); print(1) #.jpg'
    (folder / source).write_bytes((folder / "painting.jpg").read_bytes())
    picture = open_picture(source)
    result, _ = explained(picture)
    spec = "faces_by_brightness:find"
    choice = DetectorChoice(detector=spec, options={"device": torch.device("cpu")})
    assert same(redone(redo_script(picture, result, choice)), result)
    assert 'device="cpu"' in redo_script(picture, result, choice)


def test_an_address_stays_whole_and_a_huge_file_may_be_read() -> None:
    image = torch.zeros(3, 500, 1000, dtype=torch.uint8)
    result = cs.explain(image, lambda images: [[]] * len(images), ())
    huge = Picture(source="https://museum.example/a.tif?size=max", image=image, scale=1 / 40)
    script = redo_script(huge, result)
    assert 'read_image("https://museum.example/a.tif?size=max", max_pixels=808000000)' in script
    assert "shrink(image, 1000)" in script
    assert "max_pixels" not in redo_script(replace(huge, scale=0.5, file_size=(0, 0)), result)


def test_what_cannot_be_redone_is_refused(image: Tensor) -> None:
    pixels = (image * 255).byte()
    result = cs.explain(pixels, lambda images: [[]] * len(images), ())
    with pytest.raises(InputError, match="another picture"):
        redo_script(Picture(source="a.jpg", image=pixels.flip(2)), result)
    of_another, of_nothing = (
        attrs.evolve(result.settings, **change)
        for change in ({"method": "gradcam"}, {"image_sha256": None})
    )
    for settings in (of_another, of_nothing):
        with pytest.raises(InputError, match="wanted an explanation by D-RISE"):
            redo_script(Picture(source="a.jpg", image=pixels), replace(result, settings=settings))


# The page


def test_one_detector(folder: Path) -> None:
    picture = replace(open_picture("painting.jpg"), title="The Cardsharps")
    result, found = explained(
        picture, targets=[*TARGETS, [60, 40, 85, 58]], n_passes=40, design=FINE
    )
    path = folder / "deep" / "report.html"
    assert write_explanation_report(path, picture, {"bright": result}, {"bright": found}) == path
    text = path.read_text()
    for words in ("The Cardsharps", "bright", "3 targets", "40 masks", "painting.jpg", "not found"):
        assert words in text
    assert text.count("<article") == 3
    assert result.fidelity_text(0, 3).removeprefix("fidelity ") in text
    assert f"{result.mean_weight[1]:.3f}" in text
    assert f"{found.scores[0]:.2f}" in text
    assert result.settings.image_sha256 in text
    assert result.settings.versions["torch"] in text
    assert "cs.load_detector(&#34;bright&#34;)" in text
    assert "under none of the 40 masks" in text.split('id="target-3"')[1].split("</article>")[0]
    assert text.count("<td>—</td>") == 3  # the third has no evidence, so no shares of it
    assert text.count("mark dashed") == 2  # where the third was not found: in the picture, its map
    assert "difference" not in text
    nothing_is_fetched(text)


def nothing_is_fetched(text: str) -> None:
    for address in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert address.startswith(("data:image/", "#")), address[:60]
    assert "url(" not in text
    assert "@import" not in text
    assert "<script" not in text


def test_two_detectors_under_the_same_masks_are_compared(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    pair = {name: explained(picture, f"faces_by_brightness:{name}") for name in ("find", "dark")}
    explanations = {name: result for name, (result, _) in pair.items()}
    found = {name: found for name, (_, found) in pair.items()}
    choices = {
        "dark": DetectorChoice(detector="faces_by_brightness:dark", options={"min_score": 0.2})
    }
    write_explanation_report(
        folder / "r.html",
        picture,
        explanations,
        found,
        ["a face", "a false positive"],
        choices=choices,
    )
    text = (folder / "r.html").read_text()
    assert "find and dark" in text
    assert "under the same masks" in text
    assert "2: a false positive" in text
    assert "Correlation of the two maps" in text
    assert "load_detector(&#34;faces_by_brightness:dark&#34;, min_score=0.2)" in text
    assert "out-2" in text
    for name in explanations:
        assert f"{found[name].scores[0]:.2f}" in text
        assert text.count(f"<figcaption>map of {name}") == 4
    assert text.count("<figcaption>difference") == 4
    made = cards.compared(picture.image, list(explanations.values()), (0, 0), list(explanations))
    assert made["difference"].legend["words"] in text
    for one in made.values():
        assert one.legend["blank"] or one.legend["gradient"] in text
    drawn = data_uri(made["difference"].pixels, 900)
    assert drawn in text
    nothing_is_fetched(text)


def test_other_masks_no_difference(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    explanations = {
        "find": explained(picture)[0],
        "dark": explained(picture, "faces_by_brightness:dark", seed=4)[0],
    }
    write_explanation_report(folder / "r.html", picture, explanations, {})
    text = (folder / "r.html").read_text()
    assert "did not see the same masks" in text
    assert "<figcaption>difference" not in text
    assert text.count("<figcaption>map of dark") == 4


def test_no_target_at_all(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    result = cs.explain(picture.image, "faces_by_brightness:find", ())
    result = replace(result, notes=(Note("nothing found", min_score=0.3),))
    for names in (["find"], ["find", "dark"]):
        write_explanation_report(folder / "r.html", picture, dict.fromkeys(names, result), {})
        text = (folder / "r.html").read_text()
        assert "0 targets" in text
        assert "No box was explained" in text
        assert "nothing was found" in text
        assert "<article" not in text
        nothing_is_fetched(text)


def test_words_of_users_are_escaped(folder: Path) -> None:
    bad = "<script>alert('x')</script>\"'&\udc80"
    picture = replace(open_picture("painting.jpg"), title=bad, source=f"x/{bad}")
    result, found = explained(picture)
    notes = [{"kind": "x", "target": one, "values": {}, "text": bad} for one in (None, 1)]
    result = replace(result, notes=tuple(note_check("note", note) for note in notes), meaning=bad)
    settings = attrs.evolve(result.settings, choices={bad.replace("\udc80", ""): bad})
    result = replace(result, settings=settings)
    write_explanation_report(
        folder / "r.html",
        picture,
        {bad: result, "other": result},
        {bad: found},
        [bad, bad],
        choices={bad: DetectorChoice(detector=bad)},
    )
    text = (folder / "r.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    nothing_is_fetched(text)


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    result, _ = explained(picture)
    shifted, _ = explained(picture, targets=[TARGETS[0], [41, 5, 60, 31]])
    smaller = open_picture("painting.jpg", Reading(max_side=40))
    for used, explanations, captions, match in (
        (picture, {}, (), "1 or 2 detectors, got 0"),
        (picture, dict.fromkeys("abc", result), (), "got 3"),
        (picture, {"a": result, "b": shifted}, (), "the same boxes"),
        (picture, {"a": result}, ("one",), "captions: wanted 2"),
        (smaller, {"a": result}, (), "size 40 x 27, got 90 x 60"),
        (replace(picture, image=picture.image.flip(1)), {"a": result}, (), "another picture"),
    ):
        with pytest.raises(InputError, match=match):
            write_explanation_report(folder / "r.html", used, explanations, {}, captions)
        assert not (folder / "r.html").exists()


def test_an_overlapping_detection_of_another_class_is_not_the_target(folder: Path) -> None:
    picture = open_picture("painting.jpg")
    target = cs.Target(box=TARGETS[0], label=1, score=0.77, origin="found")
    result, _ = explained(picture, targets=[target])
    found = cs.Proposals(boxes=[TARGETS[0], [12, 9, 31, 28]], scores=[0.91, 0.66], labels=[0, 1])
    write_explanation_report(folder / "r.html", picture, {"a": result}, {"a": found})
    text = (folder / "r.html").read_text()
    assert "<td>0.66</td>" in text
    assert "<td>0.91</td>" not in text


def test_a_picture_is_reduced_never_enlarged() -> None:
    for before, after in (((300, 100), (90, 30)), ((3000, 1), (90, 1)), ((30, 10), (30, 10))):
        pixels = np.zeros((*reversed(before), 3), np.uint8)
        with Image.open(io.BytesIO(jpeg(pixels, 90))) as picture:
            assert picture.size == after


def test_reading_with_max_side_is_not_how_pictures_are_reduced(folder: Path) -> None:
    """Why the lines say ``shrink``: a JPEG decoded smaller has other pixels."""
    picture = open_picture("painting.jpg", Reading(max_side=20))
    assert not torch.equal(read_image("painting.jpg", max_side=20), picture.image)
