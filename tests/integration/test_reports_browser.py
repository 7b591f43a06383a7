"""Reports in a real browser: no page scrolls sideways, on a phone or on a wide screen."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from test_study import FINDS_PATCHES, HIT, MISS, annotate, paint, run
from test_workbench_browser import CHROMIUM, NARROW, WIDE

import chiaroscuro as cs
from chiaroscuro.report.explanation import write_explanation_report
from chiaroscuro.results.picture import open_picture

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: install Debian's chromium, or Chrome"
)
SPECS = "patches:find", "patches:left_only"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A study, a comparison with curves, and explanations by one detector and by two."""
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [str(folder), *sys.path])
        (folder / "patches.py").write_text(FINDS_PATCHES)
        long_name = "a-painting-whose-file-has-a-long-name-without-any-space-in-it"
        paint(Path(f"{long_name}.png"), a=230, d=60)
        paint(Path("two.png"), a=200, b=180)
        annotate(**{long_name: [HIT, MISS], "two": [HIT]})
        words = ("annotations.json", "--n-passes", "60", "--closeup")
        for out, spec in zip(("run", "other"), SPECS, strict=True):
            run("study", *words, "-d", spec, "-o", out)
            run("evaluate", out, "--no-baselines", "-a", "annotations.json")
        run("study", *words, "-d", SPECS[0], "-o", "run")
        run("compare", "run", "other", "-o", "both")
        picture = open_picture(f"{long_name}.png")
        image, boxes = picture.image, [[10, 10, 30, 26], [50, 40, 70, 56]]
        made = {spec: cs.explain(image, spec, boxes, n_passes=60, closeup=True) for spec in SPECS}
        found = {spec: cs.load_detector(spec).detect(image[None])[0] for spec in SPECS}
        first = SPECS[0]
        write_explanation_report(folder / "two.html", picture, made, found)
        write_explanation_report(folder / "one.html", picture, {first: made[first]}, found)
        yield {
            "study": folder / "run" / "report.html",
            "comparison": folder / "both" / "report.html",
            "explanation": folder / "one.html",
            "explanation of two": folder / "two.html",
        }
    sys.modules.pop("patches", None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", ["study", "comparison", "explanation", "explanation of two"])
def test_no_report_scrolls_sideways(
    browser: Browser, pages: dict[str, Path], name: str, size: dict[str, int]
) -> None:
    context = browser.new_context(viewport=size)
    try:
        page = context.new_page()
        page.goto(pages[name].as_uri())
        across = page.evaluate("[document.scrollingElement.scrollWidth, window.innerWidth]")
        assert across[0] <= across[1]
        assert page.locator("img").count() > 0
        edges = page.evaluate("[...document.images].map(it => it.getBoundingClientRect().right)")
        assert max(edges) <= across[1]
    finally:
        context.close()


def test_the_files_of_the_figures_are_there(pages: dict[str, Path]) -> None:
    for name, expected in (
        ("study", {"average-faces-found", "average-missed-faces", "context"}),
        ("comparison", {"average-1", "average-2", "context", "curves-chiaroscuro"}),
    ):
        text, folder = pages[name].read_text(), pages[name].parent / "figures"
        for stem in expected:
            for suffix in ("svg", "png"):
                assert f'href="figures/{stem}.{suffix}"' in text
            assert (folder / f"{stem}.svg").read_text().count("<text") > 1
            with Image.open(folder / f"{stem}.png") as figure:
                assert np.asarray(figure.convert("L")).std() > 0
