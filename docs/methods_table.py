"""Writes ``methods/taxonomy.md`` from the catalogue: ``python docs/methods_table.py``."""

import re
from pathlib import Path

from chiaroscuro.methods import METHODS, Method

PAGE = Path(__file__).parent / "methods" / "taxonomy.md"
HEAD = """\
<!-- Written by docs/methods_table.py. Edit the catalogue, then run it again. -->

| method | family | needs | map of | signed | drawn at random | passes | source |
|---|---|---|---|---|---|---|---|
"""
NEEDS = {
    "black box": "any detector",
    "gradients": "a torch network with gradients",
    "attention": "a DETR",
}
OF_A_CLASS = {"rise": "a class", "cam": "a class, at the target's scale"}


def taxonomy() -> str:
    """The whole table."""
    return HEAD + "".join(row(method) for method in METHODS.values())


def row(method: Method) -> str:
    """One method, with a link to its page."""
    cells = [
        f"[`{method.name}`]({page_of(method.name)}.md)",
        method.family,
        NEEDS[method.needs],
        OF_A_CLASS.get(method.name, "a target"),
        yes_or_no(method.signed),
        yes_or_no(method.drawn),
        f"{method.budget} a {'picture' if method.shared else 'target'}",
        linked(method.source),
    ]
    return f"| {' | '.join(cells)} |\n"


def page_of(name: str) -> str:
    """The file, without its ending, that tells of a method."""
    return name.replace("++", "-plus-plus")


def yes_or_no(value: bool) -> str:
    """In words."""
    return "yes" if value else "no"


def linked(source: str) -> str:
    """A source whose arXiv number leads there."""
    return re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


if __name__ == "__main__":
    PAGE.write_text(taxonomy(), encoding="utf-8")
