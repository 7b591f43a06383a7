"""How an explanation was made, for its report: notes, settings, and the lines that redo it."""

import re
from collections.abc import Mapping
from typing import Any

from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.report.redo import file_name, redo_script
from chiaroscuro.results.explaining import Picture

_OF_ONE_TARGET = re.compile(r"target (\d+): ")  # how a note on one target begins


def notes_on(explanations: Mapping[str, Explanation], target: int | None) -> list[str]:
    """Notes on one target, by its number, or (None) on all; of two detectors, with the name."""
    found = []
    for name, one in explanations.items():
        for note in one.notes:
            match = _OF_ONE_TARGET.match(note)
            number = int(match[1]) if match and 1 <= int(match[1]) <= len(one) else None
            if number != target:
                continue
            text = note[match.end() :] if match and number else note
            found.append(f"{name}: {text}" if len(explanations) > 1 else text)
    return list(dict.fromkeys(found))


def settings_table(
    picture: Picture, explanations: Mapping[str, Explanation]
) -> list[tuple[str, list[str]]]:
    """The rows of the table of settings, with a value per detector or one that all share."""
    height, width = picture.image.shape[1:]
    reduced = "" if picture.scale == 1 else f", reduced by a factor of {1 / picture.scale:z.4g}"
    rows = [("picture", [file_name(picture)]), ("size", [f"{width} x {height} pixels{reduced}"])]
    columns = [flat(one.settings) for one in explanations.values()]
    for key in dict.fromkeys(key for one in columns for key in one):
        values = [one.get(key, "—") for one in columns]
        rows.append((key, values[:1] if len(set(values)) == 1 else values))
    return rows


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as rows of words."""
    rows: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key.replace('_', ' ')}"
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
    asked: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """Per detector the Python lines that redo its maps; methods other than D-RISE have none."""
    made = []
    for number, (name, one) in enumerate(explanations.items(), start=1):
        if one.settings.get("method") != "drise":
            continue
        of = asked.get(name, {})
        out = "out" if len(explanations) == 1 else f"out-{number}"
        lines = redo_script(picture, one, str(of.get("detector", name)), of.get("options"), out=out)
        made.append((name, lines))
    return made
