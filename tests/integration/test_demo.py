"""The demonstration, on two of its paintings and few masks."""

import contextlib
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

import chiaroscuro as cs
from chiaroscuro.core.plan import DetectorChoice, MaskDesign, Plan
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.demo import MATCH_IOU, PAINTINGS, run_demo
from chiaroscuro.evidence.targets import find
from chiaroscuro.studies.matching import FALSE_POSITIVES, match

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
    made = run_demo(
        detector,
        tmp_path,
        DetectorChoice(detector="centerface"),
        Plan(n_passes=40, design=MaskDesign(grid_size=44)),  # cells of a quarter of a face
        lambda: contextlib.nullcontext(lambda *_: None),
        paintings=(436838, 437455),
    )
    targets = made.summary.targets
    assert {"hit", "false positive", "missed"} == {row["kind"] for row in targets}
    links = Links()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    links.feed(page)
    pictures = [link for link in links.found if link.startswith("data:image/")]
    assert len(pictures) >= 2 * len(targets)  # as painted, and under its map
    local = [link for link in links.found if not link.startswith(("http", "data:", "#"))]
    assert all((tmp_path / link).exists() for link in local)
    assert links.images_without_alt == 0
    assert "comparison/report.html" in local
    assert "figures/context.svg" in local
    assert "Georges de La Tour" in page
    assert made.comparison.names == ("retinaface", "retinaface-paintings")
    faces = made.comparison.figures["faces"]
    assert faces["only second"] == 2  # The Fortune-Teller: the two at the left edge
    assert faces["both"] == sum(faces.values()) - 2
    assert all("metmuseum.org" in link for link in links.found if link.startswith("http"))
    assert any(link.endswith("436838") for link in links.found)
    folder = tmp_path / "centerface" / "pictures" / "436838"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["captions"][-1] == "missed"
    assert manifest["targets"][-1]["origin"] == "truth"


def test_the_demo_shows_a_false_positive_and_a_missed_face() -> None:
    """Of the five paintings, as CenterFace sees them today."""
    detector = cs.load_detector("centerface")
    found, n_missed = [], 0
    for painting_id in PAINTINGS:
        painting = sample_painting(painting_id)
        matches = match(find(painting.read(), detector), painting.truth, MATCH_IOU)
        found += [one.kind in FALSE_POSITIVES for one in matches.detections]
        n_missed += len(matches.missed)
    assert found.count(True) >= 1
    assert n_missed >= 1
    assert found.count(False) >= 10
    assert len(PAINTINGS) >= 4
