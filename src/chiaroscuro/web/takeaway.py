"""What a visitor takes along: pictures, numbers, a report, and the lines that redo it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from chiaroscuro.core.records import Target
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures import draw, encode
from chiaroscuro.figures.look import Look
from chiaroscuro.report.explanation import write_explanation_report
from chiaroscuro.report.redo import redo_script
from chiaroscuro.web.desk import Desk

FILES = {
    "overlay.png": "image/png",
    "saliency.npz": "application/octet-stream",
    "evidence.npz": "application/octet-stream",
    "manifest.json": "application/json",
    "report.html": "text/html",
    "redo.py": "text/x-python",
}


def take(
    name: str, desk: Desk, detectors: Sequence[str], targets: Sequence[Target], look: Look
) -> bytes:
    """One file of an explanation.

    Args:
        name: one of ``FILES``; all but the report are of the first detector.
        desk: the painting.
        detectors: one or two.
        targets: what is explained.
        look: of the overlay and the report.

    Raises:
        InputError: if a detector was not asked about this painting yet.
    """
    made = {one: desk.explain_all(one, targets) for one in detectors}
    first = made[detectors[0]]
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        _WRITERS[name](path, desk, detectors[0], first, made, look)
        return path.read_bytes()


_Maps = dict[str, Explanation]


def _overlay(path: Path, desk: Desk, name: str, of: Explanation, _: _Maps, look: Look) -> None:
    found = desk.faces(name)
    if len(of) == 1:
        figure = draw.target_figure(desk.picture.image, of, 0, found, look)
    else:
        figure = draw.contact_sheet(desk.picture.image, of, found, desk.picture.title, look)
    encode.save(figure, path)


def _saliency(path: Path, desk: Desk, name: str, of: Explanation, *_: object) -> None:
    of.save(path.parent)


def _evidence(path: Path, desk: Desk, name: str, *_: object) -> None:
    desk.watched(name).save(path)


def _manifest(path: Path, desk: Desk, name: str, of: Explanation, *_: object) -> None:
    told = {**of.describe(), "picture": desk.picture.describe()}
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False), encoding="utf-8")


def _report(path: Path, desk: Desk, _: str, __: Explanation, made: _Maps, look: Look) -> None:
    found = {one: desk.faces(one) for one in made}
    asked = {one: {"detector": one, "options": {}} for one in made}
    write_explanation_report(path, desk.picture, made, found, asked=asked, look=look)


def _redo(path: Path, desk: Desk, name: str, of: Explanation, *_: object) -> None:
    path.write_text(redo_script(desk.picture, of, name), encoding="utf-8")


_WRITERS: dict[str, Callable[..., None]] = {
    "overlay.png": _overlay,
    "saliency.npz": _saliency,
    "evidence.npz": _evidence,
    "manifest.json": _manifest,
    "report.html": _report,
    "redo.py": _redo,
}
