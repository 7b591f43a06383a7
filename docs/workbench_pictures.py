"""Makes the screenshots of the workbench's tutorial: ``python docs/workbench_pictures.py [RUN]``.

Starts the workbench on a free port and drives Debian's chromium through it. ``RUN`` is a run folder
of ``study``; without one there is no picture of that view. The painting is CC0 (The Met, 436838).
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

FOLDER = Path(__file__).parent / "pictures"
MISSED_FACE = (16, 88, 69, 160)
PATIENCE_MS = 120_000


def main() -> None:
    """Write every screenshot as a JPEG of at most 1100 pixels in width."""
    runs = sys.argv[1:]
    command = [sys.executable, "-m", "chiaroscuro", "app", "--no-browser", "--port", "0", *runs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                visit(browser.new_page(viewport={"width": 1280, "height": 900}), address)
                page = browser.new_page(viewport={"width": 390, "height": 844})
                visit_narrow(page, address)
                if runs:
                    page = browser.new_page(viewport={"width": 1280, "height": 900})
                    open_page(page, address)
                    page.click("#show-study")
                    expect(page.locator(".card img").first).to_be_visible()
                    page.wait_for_load_state("networkidle")
                    save(page, "workbench-study")
                browser.close()
        finally:
            server.terminate()


def open_page(page: Page, address: str) -> None:
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    expect(page.locator("body[data-ready=true]")).to_be_attached(timeout=PATIENCE_MS)


def open_painting(page: Page, address: str) -> None:
    open_page(page, address)
    page.get_by_role("button", name="The Fortune-Teller").click()
    expect(page.locator("#found")).to_contain_text("found. Choose", timeout=PATIENCE_MS)


def visit(page: Page, address: str) -> None:
    """Explain a found face, then a missed one, compare, and hide what matters."""
    open_page(page, address)
    page.wait_for_load_state("networkidle")
    save(page, "workbench-choose")
    open_painting(page, address)
    page.locator(".face").first.click()
    explain(page)
    save(page, "workbench-explain")
    page.click("#draw")
    draw(page, MISSED_FACE)
    expect(page.locator("#pace")).to_contain_text("no new ones were needed")
    page.wait_for_timeout(500)
    save(page, "workbench-missed")
    page.select_option("#first", "retinaface")
    page.select_option("#second", "retinaface-paintings")
    expect(page.locator(".stage")).to_have_count(3)
    expect(page.locator("#found")).to_contain_text(
        "painting-trained: 5 faces found", timeout=PATIENCE_MS
    )
    explain(page)
    page.wait_for_timeout(1000)
    page.set_viewport_size({"width": 1280, "height": 1150})  # the difference and its legend too
    save(page, "workbench-compare")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.select_option("#second", "")
    expect(page.locator(".stage")).to_have_count(1)
    page.locator(".face").first.click()
    expect(page.locator("#pace")).to_contain_text("no new ones were needed")
    page.click("#measure")
    expect(page.locator("#chart")).to_be_visible(timeout=PATIENCE_MS)
    page.locator("#share").fill("18")
    expect(page.locator("#live")).to_contain_text("hidden: score")
    page.locator("#check").scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    save(page, "workbench-believe")


def visit_narrow(page: Page, address: str) -> None:
    open_painting(page, address)
    page.locator(".face").first.click()
    explain(page)
    page.evaluate("() => window.scrollTo(0, 0)")
    save(page, "workbench-narrow")


def explain(page: Page) -> None:
    page.select_option("#passes", "250")
    page.click("#start")
    expect(page.locator("#pace")).to_contain_text("Done", timeout=PATIENCE_MS)
    page.wait_for_timeout(500)


def draw(page: Page, box: tuple[float, float, float, float]) -> None:
    svg = page.locator(".stage svg").first
    place = svg.bounding_box()
    assert place is not None
    scale = place["width"] / 600
    x1, y1, x2, y2 = (value * scale for value in box)
    page.mouse.move(place["x"] + x1, place["y"] + y1)
    page.mouse.down()
    page.mouse.move(place["x"] + x2 - 5, place["y"] + y2 - 5)
    page.mouse.move(place["x"] + x2, place["y"] + y2)
    page.mouse.up()


def save(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.thumbnail((1100, 2000))
    picture.save(FOLDER / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
