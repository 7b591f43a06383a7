"""What every page shares: the template engine, links, figures beside the page."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from chiaroscuro._version import __version__
from chiaroscuro.core.text import plural
from chiaroscuro.figures import encode
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath

FIGURES = "figures"  # folder beside a page


def render(path: AnyPath, template: str, **values: Any) -> AnyPath:
    """Write a page from a template, whole or not at all.

    Text is escaped; characters that UTF-8 lacks (file names may hold some) become ``?``.
    """
    environment = Environment(
        loader=PackageLoader("chiaroscuro.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"plural": plural, "version": __version__}
    page = environment.get_template(template).render(**values)
    bundle.write_atomically(path, lambda stream: stream.write(page.encode(errors="replace")))
    return path


def save_figures(page: AnyPath, figures: Mapping[str, Figure]) -> list[str]:
    """Write figures as SVG and PNG to ``figures`` beside a page; returns their addresses."""
    return [f"{FIGURES}/{name}" for name in encode.save_all(figures, page.parent / FIGURES)]


def web_address(value: Any) -> str:
    """The value if it is a web address, else ``""``: a data set may hold script in its place."""
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) else ""


def relative(target: AnyPath, page: AnyPath) -> str:
    """The address of another page, relative to this one where both are on this machine."""
    if isinstance(target, Path) and isinstance(page, Path):
        return Path(os.path.relpath(target, page.parent)).as_posix()
    return str(target)
