"""The report of one picture, explained by one detector or two: one HTML file, everything in it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from chiaroscuro._version import __version__
from chiaroscuro.core import boxes
from chiaroscuro.core.errors import InputError, UndefinedMetricError
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures import draw
from chiaroscuro.metrics.agreement import agreement_or_none
from chiaroscuro.metrics.context import context_share
from chiaroscuro.report import cards, page
from chiaroscuro.report.redo import file_name, redo_script
from chiaroscuro.results.picture import Picture
from chiaroscuro.store.bundle import AnyPath

PICTURE_PX, MAP_PX = 1400, 900  # longer side at most: of the picture, of a map over all of it

ORIGINS = {"found": "found", "drawn": "drawn box", "truth": "true box"}
_SAME_BOX = 0.5  # IoU from which a detection is the target
_OF_ONE_TARGET = re.compile(r"target (\d+): ")  # how a note on one target begins
_OF_THE_MASKS = "seed", "design", "n_masks", "image_sha256"


def write_explanation_report(
    path: AnyPath,
    picture: Picture,
    explanations: Mapping[str, Explanation],
    found: Mapping[str, Proposals],
    captions: Sequence[str] = (),
    *,
    asked: Mapping[str, Mapping[str, Any]] | None = None,
    look: draw.Look = draw.USUAL,
) -> AnyPath:
    """Write the report of an explained picture.

    Two detectors that saw the same masks are compared: the difference of two maps of a target is
    then their own. Where the masks differ, the maps stand side by side without it.

    Args:
        path: the HTML file.
        picture: what was explained.
        explanations: by detector, one or two, of the same boxes in the same order; there may be no
            target at all.
        found: by detector, what it reports in the whole picture, in pixels of ``picture.image``;
            drawn in the picture, and where a target's score comes from. A detector may be absent.
        captions: a word for every target, such as "false alarm"; "found", "drawn box" or "true
            box" when not given.
        asked: by detector, what ``load_detector`` was given, as ``Settings.asked`` returns it:
            ``detector`` and ``options``. The detector's name when not given.
        look: of the maps.

    Returns:
        The path.

    Raises:
        InputError: if there is no explanation or more than two, if they are of different boxes, or
            of another picture than the one given, or if captions are not one a target.
    """
    names = list(explanations)
    targets = _targets(picture, explanations)
    if captions and len(captions) != len(targets):
        raise InputError(f"captions: wanted {len(targets)}, one a target, got {len(captions)}")
    height, width = picture.image.shape[1:]
    scores = {
        name: [_score(one.targets[i], found.get(name), len(names)) for i in range(len(targets))]
        for name, one in explanations.items()
    }
    same_masks = _same_masks(list(explanations.values()))
    described = []
    for i, target in enumerate(targets):
        dashed = all(scores[name][i] is None for name in names)
        described.append(
            {
                "caption": captions[i] if captions else ORIGINS[target.origin],
                "mark": {**_mark(target, width, height), "dashed": dashed},
                **_pictures(picture, explanations, i, same_masks, look),
                "rows": [
                    {"name": name, "score": scores[name][i], **_figures(one, i)}
                    for name, one in explanations.items()
                ],
                "linear": _linear(list(explanations.values()), i),
                "notes": _notes(explanations, i + 1),
            }
        )
    return page.render(
        path,
        "explanation.html",
        title=picture.title or picture.name,
        names=names,
        n_masks=[int(one.settings.get("n_masks", 0)) for one in explanations.values()],
        width=width,
        height=height,
        picture=page.embedded(cards.fitted(draw.pixels(picture.image), PICTURE_PX)),
        others=[
            {**_mark(other, width, height), "dashed": False, "first": name == names[0]}
            for name in names
            for other in _others(found.get(name), targets)
        ],
        same_masks=same_masks,
        targets=described,
        notes=_notes(explanations, None),
        settings=_settings(picture, explanations),
        meanings={name: one.meaning for name, one in explanations.items() if one.meaning},
        scripts=_scripts(picture, explanations, asked or {}),
        target_colour=draw.TARGET_COLOUR,
        proposal_colours=(draw.PROPOSAL_COLOUR, cards.SECOND_COLOUR),
        version=__version__,
    )


def _targets(picture: Picture, explanations: Mapping[str, Explanation]) -> tuple[Target, ...]:
    """The targets that all explanations share; their score and label are the first's.

    Raises:
        InputError: as ``write_explanation_report``.
    """
    if not 1 <= len(explanations) <= 2:
        raise InputError(f"explanations: wanted those of 1 or 2 detectors, got {len(explanations)}")
    size = tuple(picture.image.shape[1:])
    first, *others = explanations.values()
    for name, one in explanations.items():
        if one.saliency.shape[1:] != size:
            raise InputError(
                f"explanations: wanted maps of the picture's size {size[1]} x {size[0]}, "
                f"got {one.width} x {one.height} from {name}"
            )
    for other in others:
        if len(other) != len(first) or not all(
            torch.equal(a.box, b.box) for a, b in zip(first.targets, other.targets, strict=True)
        ):
            raise InputError(
                "explanations: wanted both detectors' maps of the same boxes in the same order; "
                "explain the same targets from both evidences"
            )
    return first.targets


def _same_masks(explanations: Sequence[Explanation]) -> bool:
    """Whether mask i hid the same pixels from every detector, and all saw as many."""
    first, *others = ([one.settings.get(name) for name in _OF_THE_MASKS] for one in explanations)
    return all(other == first for other in others)


def _score(target: Target, found: Proposals | None, n_detectors: int) -> float | None:
    """What a detector gives the target: the score of its detection there, None without one."""
    if found is not None and len(found):
        overlap = boxes.iou(target.box[None], found.boxes)[0]
        if target.label is not None:
            overlap = overlap * (found.labels == target.label)
        best = int(overlap.argmax())
        if overlap[best] >= _SAME_BOX:
            return float(found.scores[best])
    return target.score if n_detectors == 1 else None  # of two, the score may be the other's


def _others(found: Proposals | None, targets: Sequence[Target]) -> list[Target]:
    """The detections that are not explained, nor outside the picture or without area."""
    if found is None or not len(found):
        return []
    kept = (found.boxes[:, 2:] > found.boxes[:, :2]).all(dim=1)
    if targets:
        explained = torch.stack([target.box for target in targets])
        kept &= boxes.iou(found.boxes, explained).max(dim=1).values < 0.95
    return [Target(box=box, origin="found") for box in found.boxes[kept]]


def _mark(target: Target, width: int, height: int) -> dict[str, float]:
    """A box as CSS percentages of the picture, cut to it."""
    x1, y1, x2, y2 = target.box.tolist()
    left, right = (100 * min(max(x, 0), width) / width for x in (x1, x2))
    top, bottom = (100 * min(max(y, 0), height) / height for y in (y1, y2))
    return {"left": left, "top": top, "width": right - left, "height": bottom - top}


def _pictures(
    picture: Picture,
    explanations: Mapping[str, Explanation],
    index: int,
    same_masks: bool,
    look: draw.Look,
) -> dict[str, Any]:
    """Close views (as painted first) and whole ones: each with its name, address and legend."""
    maps, image = list(explanations.values()), picture.image
    if len(maps) == 2:
        made = cards.compared(image, maps, (index, index), list(explanations), look)
        first, second = (f"map of {name}" for name in explanations)
        shown = {first: made["map_first"], second: made["map_second"]}
        if same_masks:
            shown["difference"] = made["difference"]
    else:
        shown = {"map": cards.mapped(image, maps[0], index, look)}
    target = maps[0].targets[index]
    painted = page.embedded(cards.around(draw.pixels(image), target))
    return {
        "near": [
            ("as painted", painted, None),
            *(
                (text, page.embedded(cards.around(one.pixels, target)), one.legend)
                for text, one in shown.items()
            ),
        ],
        "whole": [
            (text, page.embedded(cards.fitted(one.pixels, MAP_PX)), one.legend)
            for text, one in shown.items()
        ],
    }


def _figures(explanation: Explanation, index: int) -> dict[str, Any]:
    """What the table says of one map; the share is None where no evidence is sure."""
    try:
        share = context_share(
            explanation.saliency[index],
            explanation.targets[index],
            explanation.standard_error[index],
        )
    except UndefinedMetricError:
        share = None
    return {
        "trust": explanation.fidelity_text(index, 3).removeprefix("fidelity "),
        "mean_weight": float(explanation.mean_weight[index]),
        "share": share,
    }


def _linear(explanations: Sequence[Explanation], index: int) -> float | None:
    """Correlation of two maps in the box and the ring; None where there is none."""
    if len(explanations) != 2:
        return None
    first, second = explanations
    same = agreement_or_none(first.saliency[index], second.saliency[index], first.targets[index])
    return None if same is None else same.linear


def _notes(explanations: Mapping[str, Explanation], target: int | None) -> list[str]:
    """Notes on one target, by number, or on all of them; with two detectors, named."""
    notes = []
    for name, one in explanations.items():
        for note in one.notes:
            match = _OF_ONE_TARGET.match(note)
            number = int(match[1]) if match and 1 <= int(match[1]) <= len(one) else None
            if number != target:
                continue
            text = note[match.end() :] if match and number else note
            notes.append(f"{name}: {text}" if len(explanations) > 1 else text)
    return list(dict.fromkeys(notes))


def _settings(
    picture: Picture, explanations: Mapping[str, Explanation]
) -> list[tuple[str, list[str]]]:
    """The table of settings: a row each, with a value a detector, or one that all share."""
    height, width = picture.image.shape[1:]
    reduced = "" if picture.scale == 1 else f", reduced by a factor of {1 / picture.scale:z.4g}"
    rows = [("picture", [file_name(picture)]), ("size", [f"{width} x {height} pixels{reduced}"])]
    flat = [_flat(one.settings) for one in explanations.values()]
    for key in dict.fromkeys(key for one in flat for key in one):
        values = [one.get(key, "—") for one in flat]
        rows.append((key, values[:1] if len(set(values)) == 1 else values))
    return rows


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as rows of words."""
    rows: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows |= _flat(value, f"{name}: ")
        elif isinstance(value, bool):
            rows[name] = "yes" if value else "no"
        elif isinstance(value, (list, tuple)):
            rows[name] = " x ".join(str(part) for part in value)
        else:
            rows[name] = str(value)
    return rows


def _scripts(
    picture: Picture,
    explanations: Mapping[str, Explanation],
    asked: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """For each detector the lines that redo its maps; other methods than D-RISE have none."""
    scripts = []
    for number, (name, one) in enumerate(explanations.items(), start=1):
        if one.settings.get("method") != "drise":
            continue
        of = asked.get(name, {})
        out = "out" if len(explanations) == 1 else f"out-{number}"
        lines = redo_script(picture, one, str(of.get("detector", name)), of.get("options"), out=out)
        scripts.append((name, lines))
    return scripts
