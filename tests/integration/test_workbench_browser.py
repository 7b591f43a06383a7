"""The workbench in a real browser: everything that a user does with it, wide and narrow."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from workbench import BOX, held, painting_file, running

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: install Debian's chromium, or Chrome"
)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE_MS = 300_000  # ends a test that hangs; a page waits for what it shows
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("workbench")
    sys.path.insert(0, str(folder))
    try:
        with running(folder, max_upload_bytes=2_000_000) as where:
            yield where
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("workbench_faces", None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def page(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(viewport=request.param, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda said: (
            errors.append(said.text)
            if said.type == "error" and "Failed to load resource" not in said.text
            else None
        ),
    )
    page.goto(address)
    expect(page.locator("body[data-ready=true]")).to_be_attached()
    yield page
    context.close()
    assert errors == []


def put_in(page: Page, content: bytes, name: str = "painting.png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})


def opened(page: Page, content: bytes | None = None) -> None:
    put_in(page, content or painting_file())
    expect(page.locator("#work")).to_be_visible()
    expect(page.locator("#found")).not_to_contain_text("Finding")


def explained(page: Page) -> None:
    """Choose the face, and wait for the complete result."""
    page.locator(".face").first.click()
    page.select_option("#passes", "100")
    page.click("#start")
    expect(page.locator("#pace")).to_contain_text("Done")


def draw_over(page: Page, box: tuple[float, float, float, float]) -> None:
    """Draw a box by dragging, in the painting's pixels."""
    svg = page.locator(".stage svg").first
    svg.scroll_into_view_if_needed()
    place = svg.bounding_box()
    assert place is not None
    scale = place["width"] / 120
    x1, y1, x2, y2 = (value * scale for value in box)
    page.mouse.move(place["x"] + x1, place["y"] + y1)
    page.mouse.down()
    page.mouse.move(place["x"] + (x1 + x2) / 2, place["y"] + (y1 + y2) / 2)
    page.mouse.move(place["x"] + x2, place["y"] + y2)
    page.mouse.up()


def test_a_face_is_clicked_and_its_map_forms(page: Page) -> None:
    opened(page)
    expect(page.locator(".face")).to_have_count(1)
    expect(page.locator(".face text")).to_have_text("0.98")
    expect(page.locator("#start")).to_be_disabled()
    explained(page)
    expect(page.locator(".map").first).to_be_visible()
    expect(page.locator("#answers")).to_contain_text("100 passes, fidelity 0.9")
    expect(page.locator("#answers")).to_contain_text("in the box")
    width = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0, "the page scrolls sideways"
    legend = page.locator(".legend").first
    expect(legend).to_contain_text("Vermilion: showing it raises the detector's answer; blue:")
    expect(legend).to_contain_text("Numbers: covariance of mask weight and mask")
    low, high = legend.locator(".scale > span").all_inner_texts()[::2]
    assert (low[0], high[0]) == ("−", "+")
    assert low[1:] == high[1:]  # symmetric, so zero is in the middle
    assert legend.locator("u").evaluate("element => element.style.left") == "50%"
    grey = "element => getComputedStyle(element).filter"
    assert page.locator(".frame img:not(.map)").first.evaluate(grey) == "grayscale(1)"
    before = page.locator(".map").first.get_attribute("src")
    page.select_option("#sign", "positive")
    expect(page.locator(".map").first).not_to_have_attribute("src", str(before))
    expect(legend).not_to_contain_text("blue")
    assert legend.locator(".scale > span").first.inner_text() == "0"
    page.locator("#threshold").fill("50")
    expect(legend).to_contain_text("less than")
    page.locator("#opacity").fill("20")
    for colours in (page.locator(".map").first, legend.locator("i")):
        assert colours.evaluate("element => element.style.opacity") == "0.2"
    page.select_option("#colours", "paper")
    expect(legend).to_contain_text("Above zero: showing it raises")


def stop(page: Page) -> None:
    """Stop the run, and wait until the workbench has received it."""
    with page.expect_response("**/stop"):
        page.click("#stop")


def test_a_run_is_stopped_and_keeps_its_result(page: Page) -> None:
    opened(page)
    with held(2):
        page.locator(".face").first.click()
        page.select_option("#passes", "1000")
        page.click("#start")
        expect(page.locator(".map").first).to_be_visible()
        expect(page.locator("#pace")).to_contain_text("left")
        stop(page)
    expect(page.locator("#pace")).to_contain_text("Stopped")
    expect(page.locator("#answers")).to_contain_text("passes, ")
    expect(page.locator("#start")).to_be_enabled()


def test_a_missed_face_is_drawn_and_explained_without_a_pass(page: Page) -> None:
    opened(page)
    explained(page)
    passes = sys.modules["workbench_faces"].CALLS
    before = sum(passes)
    page.click("#draw")
    draw_over(page, (70, 20, 100, 60))
    expect(page.locator("#pace")).to_contain_text("no new ones were needed")
    expect(page.locator("#answers")).to_contain_text("no face reported here")
    assert sum(passes) == before
    page.click("#draw")
    draw_over(page, (70, 20, 70.5, 20.5))
    expect(page.locator("#error")).to_contain_text("too small")


def test_everything_by_keyboard(page: Page) -> None:
    opened(page)
    page.locator(".face").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".face").first).to_have_attribute("aria-pressed", "true")
    page.locator("#draw").focus()
    page.keyboard.press("Enter")
    for key in ("ArrowRight", "Shift+ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".face.drawn")).to_have_count(1)
    page.locator("#draw").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#draw")).to_have_attribute("aria-pressed", "false")


def test_two_detectors_are_compared(page: Page) -> None:
    opened(page)
    page.select_option("#second", "workbench_faces:strict")
    expect(page.locator(".stage")).to_have_count(3)
    explained(page)
    expect(page.locator(".answer")).to_have_count(2)
    for i in range(3):
        expect(page.locator(".map").nth(i)).to_be_visible()
        expect(page.locator(".legend").nth(i)).to_be_visible()
    expect(page.locator(".legend").last).to_contain_text("differs beyond chance")  # half as sure


def test_the_slider_hides_the_face_and_the_detector_says_so(page: Page) -> None:
    opened(page)
    explained(page)
    page.locator("#share").fill("70")
    expect(page.locator("#live")).to_contain_text("hidden: score 0.")
    assert float(page.inner_text("#live").split("score ")[1].split(",")[0]) < 0.6
    page.click("#measure")
    expect(page.locator("#chart")).to_be_visible()
    expect(page.locator("#areas")).to_contain_text("insertion")


def test_files_are_exported(page: Page) -> None:
    opened(page)
    explained(page)
    exported = {}
    for name in ("overlay.png", "saliency.npz", "manifest.json", "report.html", "redo.py"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        exported[name] = Path(download.value.path()).read_bytes()
    assert Image.open(io.BytesIO(exported["overlay.png"])).size[0] > 100
    assert np.load(io.BytesIO(exported["saliency.npz"]))["boxes"].tolist() == [list(BOX)]
    assert json.loads(exported["manifest.json"])["settings"]["n_passes"] == 100
    assert b"painting" in exported["report.html"]
    assert b"import chiaroscuro" in exported["redo.py"]


def test_errors_are_shown_and_the_page_still_works(page: Page) -> None:
    put_in(page, b"nothing that is a picture")
    expect(page.locator("#error")).to_contain_text("picture")
    put_in(page, b"x" * 2_000_001)
    expect(page.locator("#error")).to_contain_text("MB")
    opened(page, painting_file(face=0))
    expect(page.locator("#error")).to_be_hidden()
    expect(page.locator("#found")).to_contain_text("No face was found. Draw a box")
    page.click("#another")
    opened(page)
    page.select_option("#first", "workbench_faces:broken")
    expect(page.locator("#found")).to_contain_text("1 face found")
    page.locator(".face").first.click()
    page.click("#start")
    expect(page.locator("#error")).to_contain_text("the cable is loose")
    page.select_option("#first", "workbench_faces:find")
    explained(page)
    expect(page.locator("#error")).to_be_hidden()


def test_two_tabs_start_at_once(page: Page, address: str) -> None:
    other = page.context.new_page()
    other.goto(address)
    for one in (page, other):
        opened(one)
        one.locator(".face").first.click()
    page.select_option("#passes", "1000")
    with held(1):
        page.click("#start")
        expect(page.locator("#stop")).to_be_visible()
        other.click("#start")
        expect(other.locator("#error")).to_contain_text("already in progress")
        stop(page)
    expect(page.locator("#pace")).to_contain_text("Stopped")
    explained(other)
    expect(other.locator("#answers")).to_contain_text("100 passes")


def test_a_reloaded_page_and_a_second_tab_follow_the_run(page: Page) -> None:
    opened(page)
    with held(2):
        page.locator(".face").first.click()
        page.select_option("#passes", "1000")
        page.click("#start")
        expect(page.locator("#pace")).to_contain_text("of about")
        page.reload()
        other = page.context.new_page()
        other.goto(page.url)
        for one in (page, other):
            expect(one.locator("#pace")).to_contain_text("of about")
            expect(one.locator(".face[aria-pressed=true]")).to_have_count(1)
        stop(other)
    for one in (page, other):
        expect(one.locator("#pace")).to_contain_text("Stopped")
        expect(one.locator("#answers")).to_contain_text("passes, ")
    page.reload()
    expect(page.locator("#answers")).to_contain_text("passes, ")
    page.click("#another")
    assert "#" not in page.url


def test_an_address_of_a_painting_that_is_gone_says_so(page: Page, address: str) -> None:
    page.goto("about:blank")
    page.goto(f"{address}/#picture=gone&target=%7B")
    expect(page.locator("#error")).to_contain_text("Open it again")
    expect(page.locator("#choose")).to_be_visible()
    assert "#" not in page.url


CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
ROWS = [
    {
        "picture": "a", "target": number, "kind": kind, "title": "A painting", "score": score,
        "trust": "steady", "in_box": 0.4, "why": "The face is dark.",
    }
    for number, (kind, score) in enumerate([("hit", 0.9), ("missed", None)], start=1)
]  # fmt: skip


def too_faint(page: Page) -> list[dict]:
    """Visible text with a contrast below 4.5 to 1."""
    everything = page.evaluate(CONTRAST)
    assert everything
    return [one for one in everything if one["ratio"] < 4.5]


@pytest.fixture(params=["dark", "light"])
def themed(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page under a system theme, with a run folder to browse."""
    context = browser.new_context(viewport=WIDE, color_scheme=request.param)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)

    def with_run(route: Route) -> None:
        answer = route.fetch(timeout=PATIENCE_MS)
        runs = [{"run": 0, "name": "run", "detector": "find", "pictures": 1}]
        route.fulfill(response=answer, json={**answer.json(), "runs": runs})

    page.route("**/api/start", with_run)
    page.route("**/api/runs/0", lambda route: route.fulfill(json={"targets": ROWS, "failed": {}}))
    page.route("**/api/runs/0/*/*", lambda route: route.fulfill(body=painting_file()))
    page.goto(address)
    expect(page.locator("body[data-ready=true]")).to_be_attached()
    yield page
    context.close()


def test_text_has_enough_contrast(themed: Page) -> None:
    page = themed
    assert too_faint(page) == []
    page.dispatch_event("body", "dragover")
    expect(page.locator("#drop.over")).to_be_visible()
    assert too_faint(page) == []
    opened(page)
    expect(page.locator("#start")).to_be_disabled()
    page.click("#draw")
    assert too_faint(page) == []
    draw_over(page, (70, 20, 70.5, 20.5))
    expect(page.locator("#error")).to_be_visible()
    assert too_faint(page) == []
    with held(2):
        page.locator(".face").first.click()
        page.select_option("#passes", "1000")
        page.click("#start")
        expect(page.locator("#measure")).to_be_visible()
        expect(page.locator("#measure")).to_be_disabled()
        assert too_faint(page) == []
    expect(page.locator("#pace")).to_contain_text("Done")
    expect(page.locator(".legend")).to_be_visible()
    page.click("#measure")
    expect(page.locator("#chart")).to_be_visible()
    assert too_faint(page) == []
    for control in page.locator("button:visible:enabled, a:visible, select:visible").all():
        control.hover()
        assert too_faint(page) == []
        control.focus()
        assert too_faint(page) == []


def test_the_study_has_enough_contrast_and_is_browsed(themed: Page) -> None:
    page = themed
    page.click("#show-study")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card")).to_contain_text("not reported, steady, 40 % of the evidence")
    expect(page.locator("#kinds [aria-pressed=true]")).to_have_text("Missed faces (1)")
    assert too_faint(page) == []
    page.get_by_role("button", name="Found faces (1)").click()
    expect(page.locator(".card")).to_contain_text("score 0.90")
    expect(page.locator("#counts")).to_have_text("1 of 1, highest score first")
    page.click("#show-explain")
    expect(page.locator("#study")).to_be_hidden()


def test_low_contrast_is_noticed(themed: Page) -> None:
    themed.locator("#choose-heading").evaluate("element => { element.style.color = '#555' }")
    assert [one["text"] for one in too_faint(themed)] == ["Choose a painting"]
    themed.locator("#choose-heading").evaluate("element => { element.style.color = '' }")
    themed.locator("#choose").evaluate("element => { element.style.opacity = .3 }")
    assert "Choose a painting" in [one["text"] for one in too_faint(themed)]


def test_the_login_has_enough_contrast(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path, password="chiaro e scuro") as address:
        page = browser.new_page()
        page.goto(address)
        assert too_faint(page) == []
        page.fill("[type=password]", "guess")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The password is wrong.")
        assert too_faint(page) == []
        page.fill("[type=password]", "chiaro e scuro")
        page.keyboard.press("Enter")
        expect(page.locator("body[data-ready=true]")).to_be_attached()
        page.close()


def test_focus_is_visible(page: Page) -> None:
    opened(page)
    names = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        style = page.evaluate(
            """() => {
                const element = document.activeElement;
                const shown = element.querySelector?.(".rim") ?? element;
                const { outlineStyle, outlineWidth, strokeWidth } = getComputedStyle(shown);
                return { name: element.id || element.getAttribute("class") || element.localName,
                         outline: outlineStyle === "none" ? 0 : parseFloat(outlineWidth),
                         rim: parseFloat(strokeWidth) };
            }"""
        )
        names.add(style["name"])
        if style["name"] != "body":
            assert style["outline"] >= 2 or style["rim"] >= 9, style
    assert {"face", "another", "first", "draw"} <= names
