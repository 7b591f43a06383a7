"""The report of a study: one HTML file with everything in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chiaroscuro._version import __version__
from chiaroscuro.figures import draw
from chiaroscuro.report import cards, page
from chiaroscuro.report.svg import embedded_svg
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.examine import FALSE_ALARM, HIT, MISSED, UNMARKED
from chiaroscuro.studies.run import Run
from chiaroscuro.studies.summary import Summary

CARDS = 24  # a gallery

TITLES = {
    HIT: "Faces found",
    FALSE_ALARM: "False alarms",
    MISSED: "Missed faces",
    UNMARKED: "What was found",
}
ORDERS = {
    HIT: "the least sure of them first",
    FALSE_ALARM: "the surest of them first",
    MISSED: "those that came nearest to being found first",
    UNMARKED: "the surest of them first",
}


def write_study_report(run: Run, summary: Summary, path: AnyPath) -> AnyPath:
    """Write the report of a run.

    Args:
        run: the run.
        summary: what ``summarise`` made of it.
        path: the HTML file.
    """
    asked = run.asked
    titles = {row["picture"]: row.get("title", row["picture"]) for row in summary.pictures}
    return page.render(
        path,
        "study.html",
        title=f"{asked['detector']['name']} on {Path(asked['data']['source']).name}",
        asked=asked,
        figures=summary.figures,
        map_words=cards.MAP_WORDS,
        failed=[row for row in summary.pictures if "failed" in row],
        galleries=[
            {
                "kind": kind,
                "title": TITLES[kind],
                "order": ORDERS[kind],
                "n": summary.figures["targets"][kind],
                "cards": [
                    _card(run, row, titles[row["picture"]])
                    for row in most_worth_seeing(summary.targets, kind)
                ],
            }
            for kind in (MISSED, FALSE_ALARM, HIT, UNMARKED)
            if summary.figures["targets"].get(kind)
        ],
        averages=[
            {"kind": kind, "title": TITLES[kind], **cards.average(average)}
            for kind, average in summary.averages.items()
            if average.n_targets
        ],
        curves=[
            {
                "protocol": file.parent.name.removeprefix("evaluation-"),
                "svg": embedded_svg(file),
            }
            for file in bundle.matching(run.folder, "evaluation-*/collection.svg")
        ],
        version=__version__,
    )


def most_worth_seeing(targets: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Up to ``CARDS`` targets of a kind, in the order that ``ORDERS`` states."""
    rows = [row for row in targets if row["kind"] == kind]
    if kind == MISSED:
        rows.sort(key=lambda row: -max(row["best_score"] or 0, row["whole_score"] or 0))
    elif kind == HIT:
        rows.sort(key=lambda row: row["score"])
    else:
        rows.sort(key=lambda row: -row["score"])
    return rows[:CARDS]


def _card(run: Run, row: Mapping[str, Any], title: str) -> dict[str, Any]:
    folder = run.picture(row["picture"])
    saved = SavedResult.load(folder)
    explanation, image = saved.explanation, saved.image()
    index = row["target"] - 1
    target, made = explanation.targets[index], cards.mapped(image, explanation, index)
    plain, with_map = (cards.around(pixels, target) for pixels in (draw.pixels(image), made.pixels))
    return {
        **row,
        "title": title,
        "plain": page.embedded(plain),
        "map": page.embedded(with_map),
        "legend": made.legend,
        "trust": explanation.fidelity_text(index),
    }
