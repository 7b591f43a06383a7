"""Writes ``methods/taxonomy.md``: ``python docs/methods_table.py``.

Properties of methods come from the catalogue, measurements from ``methods/table.md``, which
``benchmarks/methods.py`` writes.
"""

import re
from pathlib import Path

from chiaroscuro.methods import METHODS, Method

PAGE = Path(__file__).parent / "methods" / "taxonomy.md"
MEASURED = PAGE.with_name("table.md")
HEAD = """\
<!-- Written by docs/methods_table.py. Edit the catalogue, then run it again. -->

| method | family | needs | map of | signed | random | passes | overall, RetinaFace \
| times a pass | overall, CenterFace | source |
|---|---|---|---|---|---|---|---|---|---|---|
"""
SHOWN = (("retinaface", "overall"), ("retinaface", "times a pass"), ("centerface", "overall"))
NEEDS = {
    "black box": "any detector",
    "gradients": "gradients",
    "attention": "a DETR",
}
OF_A_CLASS = {"rise": "a class", "cam": "a class"}


def taxonomy() -> str:
    """The whole table."""
    figures = measured()
    return HEAD + "".join(row(method, figures) for method in METHODS.values())


def measured() -> dict[tuple[str, str, str], str]:
    """Cells of the measured tables, by detector, method and column."""
    cells, detector, header = {}, "", None
    for line in MEASURED.read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            detector = line.removeprefix("### ").split(":")[0]
        if not line.startswith("| "):
            header = header if line.startswith("|---") else None
            continue
        name, *values = [cell.strip() for cell in line.strip("|").split("|")]
        if header is None:
            header = values
            continue
        for column, value in zip(header, values, strict=True):
            cells[detector, name.split(" (")[0], column] = value
    return cells


def row(method: Method, figures: dict[tuple[str, str, str], str]) -> str:
    """One method, with a link to its page."""
    cells = [
        f"[`{method.name}`]({page_of(method.name)}.md)",
        method.family,
        NEEDS[method.needs],
        OF_A_CLASS.get(method.name, "a target"),
        yes_or_no(method.signed),
        yes_or_no(method.random),
        f"{method.n_passes} per {'picture' if method.shared else 'target'}",
        *(
            figures.get((detector, method.name, column), "-").split()[0]
            for detector, column in SHOWN
        ),
        linked(method.source),
    ]
    return f"| {' | '.join(cells)} |\n"


def page_of(name: str) -> str:
    """The file of a method's page, without its suffix."""
    return name.replace("++", "-plus-plus")


def yes_or_no(value: bool) -> str:
    """In words."""
    return "yes" if value else "no"


def linked(source: str) -> str:
    """A source with its arXiv number as a link."""
    return re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


if __name__ == "__main__":
    PAGE.write_text(taxonomy(), encoding="utf-8")
