"""The report of a comparison: one HTML file with everything in it, and its figures as files."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from chiaroscuro.core.declared import plain
from chiaroscuro.core.text import plural
from chiaroscuro.evaluation.records import EvaluationRecord
from chiaroscuro.figures import colours, plots
from chiaroscuro.figures.encode import data_uri
from chiaroscuro.figures.legends import MAP_WORDS
from chiaroscuro.figures.overlay import around, pixels
from chiaroscuro.report import page
from chiaroscuro.report.cards import AverageCard, closeup_cards, compared
from chiaroscuro.report.provenance import flat
from chiaroscuro.report.svg import embedded_svg
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import SetCurve
from chiaroscuro.studies.compare import Comparison, Subject
from chiaroscuro.studies.examine import FALSE_POSITIVE
from chiaroscuro.studies.run import Run

CARDS = 16  # per gallery

GALLERIES = (
    ("only first", False, "Found by {first} only"),
    ("only second", False, "Found by {second} only"),
    ("both", False, "Found by both"),
    ("neither", False, "Found by neither"),
    ("only first", True, "False positives of {first} only"),
    ("only second", True, "False positives of {second} only"),
    ("both", True, "False positives of both"),
)


class Gallery:
    """Collects the cards of a comparison while its subjects come, and keeps those to show.

    Those that both detectors found are ordered by how little their maps agree, the others by score.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._cards: dict[tuple[str, bool], list[tuple[float, dict[str, Any]]]] = {}

    def add(self, subject: Subject) -> None:
        """Draw a subject if it is among the first of its gallery so far."""
        kept = self._cards.setdefault((subject.status, subject.what == FALSE_POSITIVE), [])
        row = subject.row()
        if subject.status == "both":
            worth = -(row["linear"] if row["linear"] is not None else 1.0)
        else:
            worth = max(score or 0.0 for score in subject.scores)
        if len(kept) == CARDS and worth <= kept[-1][0]:
            return
        kept.append((worth, {**row, **_pictures(subject, self._names)}))
        kept.sort(key=lambda card: -card[0])
        del kept[CARDS:]

    def cards(self, status: str, false_positives: bool) -> list[dict[str, Any]]:
        """The cards of a gallery, in order."""
        return [card for _, card in self._cards.get((status, false_positives), [])]


def write_comparison_report(
    first: Run, second: Run, comparison: Comparison, gallery: Gallery, path: AnyPath
) -> AnyPath:
    """Write the report of a comparison, and its figures as SVG and PNG to ``figures`` beside it."""
    names = dict(zip(("first", "second"), comparison.names, strict=True))
    context = comparison.figures["context"]
    counts = {False: comparison.figures["faces"], True: comparison.figures["false_positives"]}
    averages = [
        (name, AverageCard.make(one))
        for name, one in zip(comparison.names, comparison.averages, strict=True)
        if one.n_targets
    ]
    curves, without_curves = _curves(first, second, comparison.names)
    figures = curves | {
        f"average-{number}": one.figure(f"{name}, faces found by both")
        for number, (name, one) in enumerate(averages, start=1)
    }
    if context["n"]:
        figures["context"] = _context_figure(context, names)
    files = page.save_figures(path, figures)
    return page.render(
        path,
        "comparison.html",
        names=names,
        figures=comparison.figures,
        points=_points(context.get("in_box")),
        map_words=MAP_WORDS,
        galleries=[
            {
                "title": title.format(**names),
                "order": f"{'lowest agreement' if status == 'both' else 'highest score'} first",
                "n": counts[false_positives].get(status, 0),
                "cards": gallery.cards(status, false_positives),
            }
            for status, false_positives, title in GALLERIES
            if gallery.cards(status, false_positives)
        ],
        averages=[{"name": name, **one.describe()} for name, one in averages],
        curves=[embedded_svg(path.parent / page.FIGURES / f"{name}.svg") for name in curves],
        without_curves=without_curves,
        settings=flat(plain(first.record.settings)),
        source=first.record.data.source,
        files=files,
    )


def _pictures(subject: Subject, names: Sequence[str]) -> dict[str, Any]:
    """The target as painted, under both maps, and under the difference; with their legends."""
    both, target = subject.explanation, subject.target
    made = compared(subject.image, (both, both), (0, 1), names)
    near = {
        which: closeup_cards(subject.image, both, i) for i, which in enumerate(("first", "second"))
    }
    return {
        "plain": data_uri(around(pixels(subject.image), target)),
        **{name: data_uri(around(one.pixels, target)) for name, one in made.items()},
        "trust_first": both.fidelity_text(0),
        "trust_second": both.fidelity_text(1),
        "near": {
            which: one and {"map": data_uri(one[1].pixels), "legend": one[1].legend}
            for which, one in near.items()
        },
        "legends": {name: one.legend for name, one in made.items()},
    }


def _points(in_box: Mapping[str, Any] | None) -> str:
    """The difference of the shares in the box, with its interval; empty where there is none."""
    if in_box is None or in_box["difference"]["interval"] is None:
        return ""
    value, (low, high) = in_box["difference"]["value"], in_box["difference"]["interval"]
    points = colours.value_text(float(round(100 * value)))
    return f"{points} ± {50 * (high - low):z.0f} points in the box"


def _context_figure(context: Mapping[str, Any], names: Mapping[str, str]) -> Figure:
    rows = [
        (name, {part: context[part][which]["value"] for part in plots.PARTS})
        for which, name in names.items()
    ]
    faces = plural(context["n"], "face")
    return plots.shares_figure(rows, f"Where the evidence lies, {faces} found by both")


def _curves(first: Run, second: Run, names: Sequence[str]) -> tuple[dict[str, Figure], list[str]]:
    """A figure, by file name, for every protocol with curves of the same pictures in both runs.

    And the protocols whose curves are of other pictures in each run.
    """
    figures: dict[str, Figure] = {}
    without: list[str] = []
    for file in bundle.matching(first.folder, "evaluation-*/evaluation.json"):
        other = second.folder / file.parent.name / file.name
        if not other.is_file():
            continue
        remedy = "evaluate that run again"
        pair = [
            bundle.read_record(one, EvaluationRecord, remedy=remedy).collection
            for one in (file, other)
        ]
        protocol = file.parent.name.removeprefix("evaluation-")
        if not all(pair):
            continue
        if _pictures_of(pair[0][0]) != _pictures_of(pair[1][0]):
            without.append(protocol)
        else:
            figure = plots.collections_figure(dict(zip(names, pair, strict=True)))
            figures[f"curves-{protocol}"] = figure
    return figures, without


def _pictures_of(curve: SetCurve) -> tuple[Any, ...]:
    """Which pictures a curve is of, as far as it says; equal for runs over the same pictures."""
    left_out = sorted(one["picture"] for one in curve.left_out)
    return curve.n_pictures, curve.n_boxes, left_out
