"""The report of one picture, explained by one detector or two: one HTML file, everything in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.plan import DetectorChoice
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures.draw import ORIGINS
from chiaroscuro.figures.encode import data_uri
from chiaroscuro.figures.look import DEFAULT_LOOK, PROPOSAL_COLOUR, TARGET_COLOUR, Look
from chiaroscuro.figures.overlay import around, pixels
from chiaroscuro.figures.panels import unexplained
from chiaroscuro.metrics.agreement import agreement_or_none
from chiaroscuro.metrics.localisation import evidence_shares
from chiaroscuro.report import page
from chiaroscuro.report.cards import closeup_cards, compared, mapped
from chiaroscuro.report.provenance import notes_on, scripts, settings_table
from chiaroscuro.results.picture import Picture
from chiaroscuro.store.bundle import AnyPath

PICTURE_PX, MAP_PX = 1400, 900  # longer side at most: of the picture, of a map over all of it
SECOND_COLOUR = "#ffd479"  # boxes of the second of two detectors
_SAME_BOX = 0.5  # minimum IoU for a detection to be the target
_OF_THE_MASKS = "seed", "design", "image_sha256"


def write_explanation_report(
    path: AnyPath,
    picture: Picture,
    explanations: Mapping[str, Explanation],
    found: Mapping[str, Proposals],
    captions: Sequence[str] = (),
    *,
    choices: Mapping[str, DetectorChoice] | None = None,
    look: Look = DEFAULT_LOOK,
) -> AnyPath:
    """Write the report of an explained picture.

    Two detectors that saw the same masks are compared by the difference of their maps.

    Args:
        path: the HTML file.
        picture: what was explained.
        explanations: by detector, one or two, of the same boxes (or none) in the same order.
        found: by detector, its detections in the whole picture, in pixels of ``picture.image``.
            They are drawn in the picture and give the targets' scores. A detector may be absent.
        captions: a word per target, such as "false positive"; by default what the target is.
        choices: by detector, what it was loaded with; its name when not given.
        look: of the maps.

    Raises:
        InputError: if the number of explanations is not 1 or 2, if they are of different boxes or
            of another picture than the one given, or if the number of captions is wrong.
    """
    names = list(explanations)
    targets = _targets(picture, explanations, captions)
    height, width = picture.image.shape[1:]
    same_masks = _same_masks(list(explanations.values()))
    return page.render(
        path,
        "explanation.html",
        title=picture.title or picture.name,
        names=names,
        passes=[one.settings.passes_text for one in explanations.values()],
        width=width,
        height=height,
        picture=data_uri(pixels(picture.image), PICTURE_PX),
        others=_others(picture, found, names, targets),
        same_masks=same_masks,
        targets=[
            {
                "caption": captions[i] if captions else ORIGINS[targets[i].origin],
                **_described(picture, explanations, found, i),
                **_views(picture, explanations, i, same_masks, look),
            }
            for i in range(len(targets))
        ],
        notes=notes_on(explanations, None),
        settings=settings_table(picture, explanations),
        meanings={name: one.meaning for name, one in explanations.items() if one.meaning},
        scripts=scripts(picture, explanations, choices or {}),
        target_colour=TARGET_COLOUR,
        proposal_colours=(PROPOSAL_COLOUR, SECOND_COLOUR),
    )


def _targets(
    picture: Picture, explanations: Mapping[str, Explanation], captions: Sequence[str]
) -> tuple[Target, ...]:
    """The targets that all explanations share; their score and label are the first's."""
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
    if captions and len(captions) != len(first):
        raise InputError(f"captions: wanted {len(first)}, one per target, got {len(captions)}")
    return first.targets


def _same_masks(explanations: Sequence[Explanation]) -> bool:
    """Whether mask i hid the same pixels from every detector, and all maps are from as many.

    Passes in windows count: they show the same masks' parts.
    """
    first, *others = (
        (
            [plain(one.settings)[name] for name in _OF_THE_MASKS],
            [source.n_masks for source in one.sources],
        )
        for one in explanations
    )
    return all(other == first for other in others)


def _described(
    picture: Picture,
    explanations: Mapping[str, Explanation],
    found: Mapping[str, Proposals],
    index: int,
) -> dict[str, Any]:
    """The numbers and notes of a target, and where its box is."""
    rows = [
        {
            "name": name,
            "score": _score(one.targets[index], found.get(name), len(explanations)),
            "trust": one.fidelity_text(index, 3).removeprefix("fidelity "),
            "mean_weight": float(one.mean_weight[index]),
            "share": evidence_shares(one, index),
        }
        for name, one in explanations.items()
    ]
    maps = list(explanations.values())
    target = maps[0].targets[index]
    same = None
    if len(maps) == 2:
        same = agreement_or_none(maps[0].saliency[index], maps[1].saliency[index], target)
    return {
        "box": {**_place(target.box, picture), "dashed": all(row["score"] is None for row in rows)},
        "rows": rows,
        "linear": None if same is None else same.linear,
        "notes": notes_on(explanations, index + 1),
    }


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


def _others(
    picture: Picture,
    found: Mapping[str, Proposals],
    names: Sequence[str],
    targets: Sequence[Target],
) -> list[dict[str, Any]]:
    """Where the detections are that have an area and are not explained."""
    return [
        {**_place(box, picture), "dashed": False, "first": name == names[0]}
        for name in names
        if name in found
        for box in unexplained(found[name], targets)
        if bool((box[2:] > box[:2]).all())
    ]


def _place(box: Tensor, picture: Picture) -> dict[str, float]:
    """A box as CSS percentages of the picture, cut to it."""
    height, width = picture.image.shape[1:]
    x1, y1, x2, y2 = box.tolist()
    left, right = (100 * min(max(x, 0), width) / width for x in (x1, x2))
    top, bottom = (100 * min(max(y, 0), height) / height for y in (y1, y2))
    return {"left": left, "top": top, "width": right - left, "height": bottom - top}


def _views(
    picture: Picture,
    explanations: Mapping[str, Explanation],
    index: int,
    same_masks: bool,
    look: Look,
) -> dict[str, Any]:
    """Close views (as painted first), whole ones and close-ups: name, address and legend."""
    maps, image = list(explanations.values()), picture.image
    if len(maps) == 2:
        made = compared(image, maps, (index, index), list(explanations), look)
        first, second = (f"map of {name}" for name in explanations)
        shown = {first: made["map_first"], second: made["map_second"]}
        if same_masks:
            shown["difference"] = made["difference"]
    else:
        shown = {"map": mapped(image, maps[0], index, look)}
    target = maps[0].targets[index]
    near = [(text, data_uri(around(one.pixels, target)), one.legend) for text, one in shown.items()]
    return {
        "near": [("as painted", data_uri(around(pixels(image), target)), None), *near],
        "whole": [(text, data_uri(one.pixels, MAP_PX), one.legend) for text, one in shown.items()],
        "closeups": _closeups(picture, explanations, index, look),
    }


def _closeups(
    picture: Picture, explanations: Mapping[str, Explanation], index: int, look: Look
) -> list[tuple[str, str, Any]]:
    """The first close-up as painted, and each under its map: name, address and legend."""
    views: list[tuple[str, str, Any]] = []
    for name, one in explanations.items():
        shown, made = one.closeup(index), closeup_cards(picture.image, one, index, look)
        if shown is None or made is None:
            continue
        if not views:
            views.append(("as painted", data_uri(made[0].pixels), None))
        trust = shown.alone(one).fidelity_text(0)
        text = ", ".join(part for part in ("close-up", trust) if part)
        text += f", {name}" * (len(explanations) > 1)
        views.append((text, data_uri(made[1].pixels), made[1].legend))
    return views
