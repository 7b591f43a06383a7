"""Files to download: pictures, numbers, a report, and a script that repeats the explanation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from chiaroscuro.core.plan import DetectorChoice
from chiaroscuro.core.records import Target
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures import draw, encode
from chiaroscuro.figures.look import Look
from chiaroscuro.report.explanation import write_explanation_report
from chiaroscuro.report.redo import redo_script
from chiaroscuro.store import bundle
from chiaroscuro.web.painting import Painting


@dataclass(frozen=True, slots=True, eq=False)
class _Export:
    """What a file is written from; all files but the report are of the first detector."""

    painting: Painting
    detector: str
    explanations: Mapping[str, Explanation]
    look: Look

    @property
    def first(self) -> Explanation:
        return self.explanations[self.detector]

    def overlay(self, path: Path) -> None:
        picture, found = self.painting.picture, self.painting.faces(self.detector)
        if len(self.first) == 1:
            figure = draw.target_figure(picture.image, self.first, 0, found, self.look)
        else:
            title = picture.title
            figure = draw.contact_sheet(picture.image, self.first, found, title, self.look)
        encode.save(figure, path)

    def saliency(self, path: Path) -> None:
        self.first.save(path.parent)

    def evidence(self, path: Path) -> None:
        self.painting.evidence(self.detector).save(path)

    def manifest(self, path: Path) -> None:
        bundle.write_record(path, self.first.manifest(picture=self.painting.picture.record()))

    def report(self, path: Path) -> None:
        found = {name: self.painting.faces(name) for name in self.explanations}
        choices = {name: DetectorChoice(detector=name) for name in self.explanations}
        write_explanation_report(
            path,
            self.painting.picture,
            self.explanations,
            found,
            choices=choices,
            look=self.look,
        )

    def script(self, path: Path) -> None:
        lines = redo_script(
            self.painting.picture, self.first, DetectorChoice(detector=self.detector)
        )
        path.write_text(lines, encoding="utf-8")


_WRITERS: dict[str, tuple[str, Callable[[_Export, Path], None]]] = {
    "overlay.png": ("image/png", _Export.overlay),
    "saliency.npz": ("application/octet-stream", _Export.saliency),
    "evidence.npz": ("application/octet-stream", _Export.evidence),
    "manifest.json": ("application/json", _Export.manifest),
    "report.html": ("text/html", _Export.report),
    "redo.py": ("text/x-python", _Export.script),
}
FILES = {name: media_type for name, (media_type, _) in _WRITERS.items()}


def export(
    name: str,
    painting: Painting,
    detectors: Sequence[str],
    targets: Sequence[Target],
    look: Look,
) -> bytes:
    """One file of an explanation.

    Args:
        name: one of ``FILES``; all but the report are of the first detector.
        painting: what is explained.
        detectors: one or two.
        targets: what is explained in it.
        look: of the overlay and the report.

    Raises:
        InputError: if a detector has no evidence about this painting yet.
    """
    made = {one: painting.explain_all(one, targets) for one in detectors}
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        _WRITERS[name][1](_Export(painting, detectors[0], made, look), path)
        return path.read_bytes()
