"""The report of a study: one HTML file with everything in it, and its figures as files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from chiaroscuro.core.declared import plain
from chiaroscuro.figures import plots
from chiaroscuro.figures.encode import data_uri
from chiaroscuro.figures.legends import MAP_WORDS
from chiaroscuro.figures.overlay import around, pixels
from chiaroscuro.report import page
from chiaroscuro.report.cards import AverageCard, closeup_cards, mapped
from chiaroscuro.report.provenance import flat
from chiaroscuro.report.svg import embedded_svg
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.examine import FALSE_POSITIVE, FOUND, HIT, MISSED
from chiaroscuro.studies.run import Run
from chiaroscuro.studies.summary import Summary

CARDS = 24  # per gallery

TITLES = {
    MISSED: "Missed faces",
    FALSE_POSITIVE: "False positives",
    HIT: "Faces found",
    FOUND: "Detections",
}
ORDERS = {
    MISSED: "nearest to being found first",
    FALSE_POSITIVE: "highest score first",
    HIT: "lowest score first",
    FOUND: "highest score first",
}


def write_study_report(
    run: Run, summary: Summary, path: AnyPath, links: Mapping[str, AnyPath] | None = None
) -> AnyPath:
    """Write the report of a run, and its figures as SVG and PNG to ``figures`` beside it.

    ``links`` are further pages, by the text of their link.
    """
    record, figures = run.record, summary.figures
    averages = {
        kind: AverageCard.make(one) for kind, one in summary.averages.items() if one.n_targets
    }
    curves = bundle.matching(run.folder, "evaluation-*/collection.svg")
    return page.render(
        path,
        "study.html",
        title=f"{record.detector} on {Path(record.data.source).name}",
        links={text: page.relative(other, path) for text, other in (links or {}).items()},
        record=record,
        figures=figures,
        titles=TITLES,
        settings={
            "detector": record.detector,
            "data set": record.data.source,
            **flat(plain(record.settings)),
        },
        map_words=MAP_WORDS,
        failed=[row for row in summary.pictures if "failed" in row],
        galleries=[
            {
                "title": title,
                "order": ORDERS[kind],
                "n": figures["targets"][kind],
                "cards": [_card(run, row) for row in most_worth_seeing(summary.targets, kind)],
            }
            for kind, title in TITLES.items()
            if figures["targets"].get(kind)
        ],
        averages=[{"title": TITLES[kind], **one.describe()} for kind, one in averages.items()],
        curves=[embedded_svg(file) for file in curves],
        files=page.save_figures(path, _figures(averages, figures["context"], str(run.folder.name))),
    )


def most_worth_seeing(targets: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Up to ``CARDS`` targets of a kind, in the order that ``ORDERS`` states."""
    rows = [row for row in targets if row["kind"] == kind]
    if kind == MISSED:
        rows.sort(key=lambda row: -max(row["best_score"] or 0, row["whole_score"] or 0))
    else:
        rows.sort(key=lambda row: row["score"], reverse=kind != HIT)
    return rows[:CARDS]


def _card(run: Run, row: Mapping[str, Any]) -> dict[str, Any]:
    saved = run.picture(row["picture"])
    explanation, image, about = saved.explanation, saved.image(), saved.study.about
    index = row["target"] - 1
    target, under_map = explanation.targets[index], mapped(image, explanation, index)
    shown, close_up = explanation.closeup(index), closeup_cards(image, explanation, index)
    near = None
    if shown is not None and close_up is not None:
        near = {
            "map": data_uri(close_up[1].pixels),
            "legend": close_up[1].legend,
            "trust": shown.alone(explanation).fidelity_text(0),
        }
    return {
        **row,
        "byline": ", ".join(str(about[name]) for name in ("painter", "date") if about.get(name)),
        "url": page.web_address(about.get("url")),
        "plain": data_uri(around(pixels(image), target)),
        "map": data_uri(around(under_map.pixels, target)),
        "legend": under_map.legend,
        "trust": explanation.fidelity_text(index),
        "near": near,
    }


def _figures(
    averages: Mapping[str, AverageCard], context: Mapping[str, Any], name: str
) -> dict[str, Figure]:
    """The averages and the shares of the evidence, by the name of their file."""
    figures = {
        f"average-{TITLES[kind].lower().replace(' ', '-')}": one.figure(TITLES[kind])
        for kind, one in averages.items()
    }
    rows = [
        (f"{TITLES[kind]} ({of['n']})", {part: of[part]["value"] for part in plots.PARTS})
        for kind, of in context.items()
        if of["n"]
    ]
    if rows:
        figures["context"] = plots.shares_figure(rows, f"Where the evidence lies, {name}")
    return figures
