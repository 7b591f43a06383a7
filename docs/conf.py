"""How Sphinx builds these pages: ``sphinx-build -W docs build/docs``. Nothing is downloaded."""

import re
from typing import Any

from sphinx.application import Sphinx

import chiaroscuro

project = "chiaroscuro"
author = "The chiaroscuro authors"
release = version = chiaroscuro.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "methods/taxonomy.md", "methods/table.md"]  # included by index.md
html_theme = "furo"
html_title = project
html_show_copyright = False
smartquotes = False  # --target must stay two hyphens

myst_heading_anchors = 3

napoleon_numpy_docstring = False
napoleon_use_ivar = True  # one entry an attribute
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88


def setup(app: Sphinx) -> None:
    """Signatures that Sphinx can read: defaults made by a function become ``...``."""
    app.connect("autodoc-process-signature", _readable)


def _readable(
    _app: Sphinx, what: str, _name: str, _obj: Any, _options: Any, signature: str, returns: str
) -> tuple[str, str]:
    if what == "class" and signature == "(*args, **kwargs)":  # a protocol is not called
        return "", returns
    return signature and re.sub(r"<factory>|<function \S+>", "...", signature), returns
