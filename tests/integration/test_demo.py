"""The demonstration, on two of its paintings and few masks."""

import contextlib
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

import chiaroscuro as cs
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.demo import FALSE_ALARM, FOUND, MISSED, PAINTINGS, judge, run_demo
from chiaroscuro.results.picture import Picture

pytestmark = pytest.mark.weights


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.images_without_alt = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [v for k in ("href", "src") if (v := values.get(k))]
        self.images_without_alt += tag == "img" and not values.get("alt")


def test_demo_makes_a_page_whose_links_work(tmp_path: Path) -> None:
    detector = cs.load_detector("centerface")
    page, entries, comparison = run_demo(
        detector,
        tmp_path,
        Settings(n_passes=16),
        lambda _: contextlib.nullcontext(lambda progress: None),
        paintings=(436838, 437455),
    )
    captions = [caption for entry in entries for caption in entry.captions]
    assert {FOUND, FALSE_ALARM, MISSED} == set(captions)
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    local = [link for link in links.found if not link.startswith("http")]
    assert len(local) >= 2 + len(captions)
    assert all((tmp_path / link).exists() for link in local)
    assert links.images_without_alt == 0
    assert "model1-and-model3/report.html" in local
    assert comparison.names == ("retinaface", "retinaface-paintings")
    faces = comparison.figures["faces"]
    assert faces["only second"] == 2  # The Fortune-Teller: the two at the left edge
    assert faces["both"] == sum(faces.values()) - 2
    assert all("metmuseum.org" in link for link in links.found if link.startswith("http"))
    manifest = json.loads((tmp_path / "436838" / "manifest.json").read_text())
    assert manifest["captions"][-1] == MISSED
    assert manifest["targets"][-1]["origin"] == "truth"


def test_the_demo_shows_a_false_alarm_and_a_missed_face() -> None:
    """Of the five paintings, as CenterFace sees them today."""
    detector = cs.load_detector("centerface")
    captions = []
    for painting_id in PAINTINGS:
        painting = sample_painting(painting_id)
        picture = Picture(source=str(painting.path), image=painting.read())
        captions += judge(detect_picture(picture, detector, 0.3), painting)[1]
    assert captions.count(FALSE_ALARM) >= 1
    assert captions.count(MISSED) >= 1
    assert captions.count(FOUND) >= 10
    assert len(PAINTINGS) >= 4
