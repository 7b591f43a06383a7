"""The report of a comparison: one HTML file with everything in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from chiaroscuro._version import __version__
from chiaroscuro.figures import colours, draw, plots
from chiaroscuro.report import cards, page
from chiaroscuro.report.svg import embedded_svg
from chiaroscuro.store import bundle, contents
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.compare import Comparison, Subject
from chiaroscuro.studies.examine import FALSE_ALARM
from chiaroscuro.studies.run import Run

CARDS = 16  # a gallery

GALLERIES = (
    ("only first", False, "Found by {first} alone"),
    ("only second", False, "Found by {second} alone"),
    ("both", False, "Found by both: where the maps differ most"),
    ("neither", False, "Found by neither"),
    ("only first", True, "False alarms of {first} alone"),
    ("only second", True, "False alarms of {second} alone"),
    ("both", True, "False alarms of both"),
)


class Gallery:
    """Collects the cards of a comparison as its subjects come, and keeps the most worth seeing.

    Those that both found are ordered by how little their maps agree, the others by their score.

    Args:
        names: of the two detectors.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._cards: dict[tuple[str, bool], list[tuple[float, dict[str, Any]]]] = {}

    def add(self, subject: Subject) -> None:
        """Draw a subject if it is among the most worth seeing so far."""
        kept = self._cards.setdefault((subject.status, subject.what == FALSE_ALARM), [])
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

    def cards(self, status: str, false_alarms: bool) -> list[dict[str, Any]]:
        """The cards of a gallery, in order."""
        return [card for _, card in self._cards.get((status, false_alarms), [])]


def write_comparison_report(
    first: Run, second: Run, comparison: Comparison, gallery: Gallery, path: AnyPath
) -> AnyPath:
    """Write the report of a comparison.

    Args:
        first: the first run.
        second: the second run.
        comparison: what ``compare`` made of them.
        gallery: filled while it did.
        path: the HTML file; figures of common evaluations go beside it.
    """
    names = dict(zip(("first", "second"), comparison.names, strict=True))
    counts = {False: comparison.figures["faces"], True: comparison.figures["false_alarms"]}
    drawn, without = _curves(first, second, names, path.parent)
    return page.render(
        path,
        "comparison.html",
        names=names,
        figures=comparison.figures,
        points=_points(comparison.figures["context"].get("in_box")),
        map_words=cards.MAP_WORDS,
        galleries=[
            {
                "title": title.format(**names),
                "n": counts[alarms].get(status, 0),
                "cards": gallery.cards(status, alarms),
            }
            for status, alarms, title in GALLERIES
            if gallery.cards(status, alarms)
        ],
        averages=[
            {"name": name, **cards.average(one)}
            for name, one in zip(comparison.names, comparison.averages, strict=True)
            if one.n_targets
        ],
        curves=[embedded_svg(file) for file in drawn],
        without_curves=without,
        settings=first.asked["settings"],
        source=first.asked["data"]["source"],
        version=__version__,
    )


def _pictures(subject: Subject, names: Sequence[str]) -> dict[str, Any]:
    """The target as painted, under both maps, and under the difference; with their legends."""
    both, target = subject.explanation, subject.target
    made = cards.compared(subject.image, (both, both), (0, 1), names)
    plain = page.embedded(cards.around(draw.pixels(subject.image), target))
    return {
        "plain": plain,
        **{name: page.embedded(cards.around(one.pixels, target)) for name, one in made.items()},
        "trust_first": both.fidelity_text(0),
        "trust_second": both.fidelity_text(1),
        "legends": {name: one.legend for name, one in made.items()},
    }


def _points(in_box: Mapping[str, Any] | None) -> str:
    """The difference of the shares in the box, with its interval; empty where there is none."""
    if in_box is None or in_box["difference"]["interval"] is None:
        return ""
    value, (low, high) = in_box["difference"]["value"], in_box["difference"]["interval"]
    points = colours.value_text(float(round(100 * value)))
    return f"{points} ± {50 * (high - low):z.0f} points in the box"


def _curves(
    first: Run, second: Run, names: dict[str, str], out: AnyPath
) -> tuple[list[AnyPath], list[str]]:
    """A figure for every protocol under which both runs were evaluated with annotations.

    Returns:
        The files, and the protocols whose curves are of other pictures in each run, which are
        never drawn together.
    """
    files: list[AnyPath] = []
    without: list[str] = []
    for told in bundle.matching(first.folder, "evaluation-*/evaluation.json"):
        other = second.folder / told.parent.name / told.name
        if not other.is_file():
            continue
        pair = [
            bundle.read_json(file, contents.EVALUATION, remedy="evaluate that run again")[
                "collection"
            ]
            for file in (told, other)
        ]
        name = told.parent.name.removeprefix("evaluation-")
        if not all(pair):
            continue
        if _pictures_of(pair[0][0]) != _pictures_of(pair[1][0]):
            without.append(name)
            continue
        figure = plots.collections_figure(dict(zip(names.values(), pair, strict=True)))
        plots.save(figure, out / f"curves-{name}.png")
        files.append(plots.save(figure, out / f"curves-{name}.svg"))
    return files, without


def _pictures_of(curve: Mapping[str, Any]) -> tuple[Any, ...]:
    """Which pictures a curve is of, as far as it says: of runs over the same pictures, the same."""
    left_out = sorted(one["picture"] for one in curve.get("left_out", ()))
    return curve.get("n_pictures"), curve.get("n_boxes"), left_out
