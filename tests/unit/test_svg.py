"""SVG of a run folder in a report: our figures come through, and nothing that acts."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from chiaroscuro.core.errors import BundleError
from chiaroscuro.figures import encode
from chiaroscuro.report.svg import embedded_svg

HEAD = "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink'"


def test_our_own_figure_comes_through(tmp_path: Path) -> None:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0.2, 0.7], marker=".", linestyle=(0, (4, 2)), label="<a> & b, deletion")
    axes.legend()
    clean = embedded_svg(encode.save(figure, tmp_path / "a.svg"))
    text = (tmp_path / "a.svg").read_text()
    for what in ("<path", "<use", "<text", "<clipPath", "clip-path=", "transform=", "style="):
        assert clean.count(what) == text.replace("<style=", "").count(what), what
    assert "&lt;a&gt; &amp; b, deletion" in clean
    assert "stroke-dasharray" in clean
    assert 'viewBox="0 0' in clean
    assert 'href="#' in clean


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script>",
        "<g onclick='alert(1)'/>",
        "<a href='javascript:alert(1)'><text>here</text></a>",
        "<a xlink:href='javascript:alert(1)'/>",
        "<use href='http://evil.example/x.svg#a'/>",
        "<use xlink:href='data:image/svg+xml,alert'/>",
        "<image href='http://evil.example/alert.png'/>",
        "<foreignObject><b xmlns='http://www.w3.org/1999/xhtml' onload='alert()'/></foreignObject>",
        "<style>@import url(http://evil.example/alert)</style>",
        "<rect style='fill: url(http://evil.example/alert)'/>",
        "<rect style='background: url(javascript:alert(1)); position: fixed'/>",
        "<rect style='fill: u\\72l(http://evil.example/alert)'/>",
        "<rect clip-path='url(http://evil.example/alert)'/>",
        "<animate attributeName='href' values='javascript:alert(1)'/>",
        "<set attributeName='onmouseover' to='alert(1)'/>",
        "<g><h:script xmlns:h='http://www.w3.org/1999/xhtml'>alert(1)</h:script></g>",
        "<!-- --><?php alert ?><script xlink:href='http://evil.example/alert.js'/>",
    ],
)
def test_nothing_that_acts_or_fetches_is_left(tmp_path: Path, body: str) -> None:
    file = tmp_path / "a.svg"
    file.write_text(f"{HEAD} onload='alert(0)'>{body}<text>kept</text></svg>")
    clean = embedded_svg(file)
    assert clean.startswith("<svg")
    assert "<text>kept</text>" in clean
    for harm in ("alert", "evil", "javascript", "onload", "onclick", "script", "position"):
        assert harm not in clean


def test_text_stays_text(tmp_path: Path) -> None:
    file = tmp_path / "a.svg"
    file.write_text(f"{HEAD}><text>&lt;script&gt;alert(1)&lt;/script&gt;</text></svg>")
    assert "<text>&lt;script&gt;alert(1)&lt;/script&gt;</text>" in embedded_svg(file)


@pytest.mark.parametrize("text", ["", "<svg", "<html/>", "\0", "<svg>&unknown;</svg>"])
def test_what_is_no_svg_says_so(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.svg"
    file.write_text(text)
    with pytest.raises(BundleError, match=r"a\.svg is no"):
        embedded_svg(file)
    with pytest.raises(BundleError, match="absent"):
        embedded_svg(tmp_path / "absent.svg")
