"""SVG figures as part of a page, with nothing in them but shapes and text.

A run folder may come from anybody, and an SVG may hold script or fetch files from elsewhere. So a
figure is rebuilt from the elements, attributes and styles that our own figures have.
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from markupsafe import Markup

from chiaroscuro.core.errors import BundleError
from chiaroscuro.store.bundle import AnyPath

_ELEMENTS = frozenset(
    "svg g defs clipPath use path rect circle line polyline polygon text tspan title".split()  # noqa: SIM905
)
_ATTRIBUTES = frozenset(
    "id width height viewBox d x y x1 y1 x2 y2 cx cy r rx ry points transform clip-path".split()  # noqa: SIM905
)
_STYLES = re.compile(
    r"fill(-opacity|-rule)?|stroke(-[a-z]+)?|opacity|font(-[a-z]+)?|text-anchor|clip-path"
)
_INNER = re.compile(
    r"[^\\\"'<>@(){}]*|url\(#[\w.-]+\)|[\w \t.,'-]+"
)  # a value that fetches nothing
_MOVES = re.compile(r"((translate|rotate|scale|matrix|skew[XY])\([-\d.eE, ]*\)\s*)+")


def embedded_svg(path: AnyPath) -> Markup:
    """An SVG figure as part of the page; a BundleError if the file is none."""
    try:
        # no external entities are fetched, and expat limits the growth of internal ones
        root = ElementTree.fromstring(path.read_bytes())  # noqa: S314
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise BundleError(f"{path} is no readable SVG: {error}; evaluate the run again") from error
    if _local(root.tag) != "svg":
        raise BundleError(f"{path} is no SVG: its root is {root.tag}; evaluate the run again")
    return Markup(ElementTree.tostring(_clean(root), encoding="unicode"))  # noqa: S704


def _clean(node: ElementTree.Element) -> ElementTree.Element:
    clean = ElementTree.Element(_local(node.tag), dict(_attributes(node)))
    clean.text = node.text
    for child in node:
        if isinstance(child.tag, str) and _local(child.tag) in _ELEMENTS:
            clean.append(_clean(child))
            clean[-1].tail = child.tail
    return clean


def _attributes(node: ElementTree.Element) -> Iterator[tuple[str, str]]:
    for key, value in node.attrib.items():
        name = _local(key)
        inner = bool(_INNER.fullmatch(value) or _MOVES.fullmatch(value))
        if name == "style":
            yield name, "; ".join(_declarations(value))
        elif (name == "href" and value.startswith("#")) or (name in _ATTRIBUTES and inner):
            yield name, value


def _declarations(style: str) -> Iterator[str]:
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if _STYLES.fullmatch(name) and _INNER.fullmatch(value):
            yield f"{name}: {value}"


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
