"""What the tables of an evaluation say in short: spreads over the same targets for all maps."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from chiaroscuro import metrics
from chiaroscuro.core.text import plural
from chiaroscuro.evaluation.measured import Measured
from chiaroscuro.evaluation.records import MAP, Measure, Row
from chiaroscuro.methods import method_named
from chiaroscuro.metrics.catalogue import METRICS
from chiaroscuro.metrics.stats import paired_spreads, spread

Unfinished = tuple[str, str]
"""A map and a measure."""


def measure_of(what: str) -> Measure:
    """The measure that a map of the table of scores belongs to."""
    return "baselines" if what in metrics.BASELINES else "scores"


def unfinished(measured: Measured) -> dict[Unfinished, str]:
    """Maps and measures that some of the explained pictures lack, with a sentence of each."""
    explained = [
        pieces
        for pieces in measured.pieces.values()
        if (MAP, "scores") in pieces
        and all("target" in one for one in pieces[MAP, "scores"].left_out)
    ]
    found: dict[tuple[str, str], str] = {}
    for what, measure in dict.fromkeys(name for pieces in explained for name in pieces):
        n = sum((what, measure) in pieces for pieces in explained)
        failed = [
            pieces
            for pieces in explained
            if (what, "scores") in pieces and not pieces[what, "scores"].scores
        ]
        if n + (0 if measure == "scores" else len(failed)) >= len(explained):
            continue
        named = tuple(metrics.BASELINES) if measure == "baselines" else (what,)
        text = (
            f"{_called(what, measure)} measured on {n} of {plural(len(explained), 'picture')}, so "
            "left out of the summary; the same options measure the rest"
        )
        found |= {(name, measure): text for name in named}
    return found


def _called(what: str, measure: str) -> str:
    if measure == "baselines":
        return "the baselines were"
    return f"{what} was" if measure == "scores" else f"the {measure} of {what} was"


def summary(scores: Sequence[Row], left_out: Sequence[Row]) -> dict[str, dict[str, Row]]:
    """Every metric of every map over the same targets: those for which all maps have a value."""
    by_map: dict[str, dict[Hashable, Mapping[str, Any]]] = {}
    for row in scores:
        by_map.setdefault(row["map"], {})[target_of(row)] = row
    everyone = {target_of(one) for one in (*scores, *(o for o in left_out if "target" in o))}
    found: dict[str, dict[str, Row]] = {what: {} for what in by_map}
    for name in METRICS:
        if not any(name in row for row in scores):
            continue
        values = {
            what: {target: row[name] for target, row in rows.items()}
            for what, rows in by_map.items()
        }
        for what, one in paired_spreads(values, everyone).items():
            found[what][name] = one.describe()
    return found


def target_of(row: Mapping[str, Any]) -> tuple[str, int]:
    """Picture and number of the target that a row is of."""
    return row["picture"], row["target"]


def paired_curves(curves: Sequence[Row]) -> list[Row]:
    """The curves of the targets that have one of every map."""
    maps_of: dict[Any, set[str]] = {}
    for row in curves:
        maps_of.setdefault(target_of(row), set()).add(row["map"])
    maps = set().union(*maps_of.values())
    return [row for row in curves if maps_of[target_of(row)] == maps]


def methods(
    costs: Sequence[Row], steady: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    """What each other method is, took, and how stable its maps are, by kind and map."""
    return {
        name: {
            **method_named(name).describe(),
            "n_passes": spread([row["n_passes"] for row in of]).describe(),
            "times_a_pass": spread([row["seconds"] / row["pass_seconds"] for row in of]).describe(),
            **{kind: by_map.get(name, {}) for kind, by_map in steady.items()},
        }
        for name in dict.fromkeys(row["method"] for row in costs)
        for of in [[row for row in costs if row["method"] == name]]
    }


def correlations(rows: Sequence[Row], key: str) -> dict[str, dict[str, Row]]:
    """By map and variant or stage: the correlations, all over the same targets."""
    cells: dict[tuple[str, str], dict[Hashable, Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["map"], str(row[key])), {})[target_of(row)] = row
    everyone = {target_of(row) for row in rows}
    found: dict[str, dict[str, Row]] = {}
    for kind in ("linear", "rank"):
        values = {
            cell: {target: row[kind] for target, row in of.items()} for cell, of in cells.items()
        }
        for (what, variant), one in paired_spreads(values, everyone).items():
            found.setdefault(what, {}).setdefault(variant, {})[kind] = one.describe()
    return found
