"""How an explanation was made, for its report: notes, settings, and the lines that redo it."""

from collections.abc import Mapping
from typing import Any

from chiaroscuro.core.declared import plain
from chiaroscuro.core.notes import of_target
from chiaroscuro.core.plan import DetectorChoice
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.report.redo import file_name, redo_script
from chiaroscuro.results.picture import Picture


def notes_on(explanations: Mapping[str, Explanation], target: int | None) -> list[str]:
    """Notes on one target, by its number, or (None) on all; of two detectors, with the name."""
    found = [
        f"{name}: {note.sentence}" if len(explanations) > 1 else note.sentence
        for name, one in explanations.items()
        for note in of_target(one.notes, target)
    ]
    return list(dict.fromkeys(found))


def settings_table(
    picture: Picture, explanations: Mapping[str, Explanation]
) -> list[tuple[str, list[str]]]:
    """The rows of the table of settings, with a value per detector or one that all share."""
    height, width = picture.image.shape[1:]
    reduced = "" if picture.scale == 1 else f", reduced by a factor of {1 / picture.scale:z.4g}"
    rows = [("picture", [file_name(picture)]), ("size", [f"{width} x {height} pixels{reduced}"])]
    if picture.tile is not None:
        x1, y1, x2, y2 = picture.tile.place
        rows.append(("part of the file", [f"{x1},{y1} to {x2},{y2}"]))
    rows.append(("passes", _shared([one.settings.passes_text for one in explanations.values()])))
    flat_settings = [flat(_without_passes(one)) for one in explanations.values()]
    keys = dict.fromkeys(key for one in flat_settings for key in one)
    rows += [(key, _shared([one.get(key, "—") for one in flat_settings])) for key in keys]
    return rows


def _shared(values: list[str]) -> list[str]:
    """One value where all are the same."""
    return values[:1] if len(set(values)) == 1 else values


def _without_passes(one: Explanation) -> dict[str, Any]:
    """The settings but for the passes, which have words of their own."""
    left_out = ("n_passes", "windows", "closeups", "cost")
    settings: dict[str, Any] = plain(one.settings)
    return {key: value for key, value in settings.items() if key not in left_out}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as rows of words."""
    rows: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if value is None or value in ({}, [], ()):
            continue
        if isinstance(value, Mapping):
            rows |= flat(value, f"{name}: ")
        elif isinstance(value, bool):
            rows[name] = "yes" if value else "no"
        elif isinstance(value, (list, tuple)):
            rows[name] = " x ".join(str(part) for part in value)
        else:
            rows[name] = str(value)
    return rows


def scripts(
    picture: Picture,
    explanations: Mapping[str, Explanation],
    choices: Mapping[str, DetectorChoice],
) -> list[tuple[str, str]]:
    """Per detector the Python lines that redo its maps; methods other than D-RISE have none."""
    made = []
    for number, (name, one) in enumerate(explanations.items(), start=1):
        if one.settings.method != "drise":
            continue
        choice = choices.get(name) or DetectorChoice(detector=name)
        out = "out" if len(explanations) == 1 else f"out-{number}"
        lines = redo_script(picture, one, choice, out=out)
        made.append((name, lines))
    return made
