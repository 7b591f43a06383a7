"""The report of a study: one HTML file with everything in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from chiaroscuro import draw
from chiaroscuro._version import __version__
from chiaroscuro.evidence import Evidence
from chiaroscuro.records import Explanation
from chiaroscuro.report import page
from chiaroscuro.study.averages import MARGIN, AverageMap
from chiaroscuro.study.examine import FALSE_ALARM, HIT, MISSED, UNMARKED
from chiaroscuro.study.run import Run
from chiaroscuro.study.summary import Summary

CARDS = 24  # a gallery
_CARD_PX, _CONTEXT = 300, 1.0  # width of a picture, and margin around the box in box sizes

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


def write_study_report(run: Run, summary: Summary, path: Path) -> Path:
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
            {"kind": kind, "title": TITLES[kind], **_average(average)}
            for kind, average in summary.averages.items()
            if average.n_targets
        ],
        curves=[
            {
                "protocol": file.parent.name.removeprefix("evaluation-"),
                "svg": page.embedded_svg(file),
            }
            for file in sorted(run.folder.glob("evaluation-*/collection.svg"))
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
    explanation = Explanation.load(folder)
    image = Evidence.load_image(folder / "evidence.npz")
    plain, mapped = target_pictures(image, explanation, row["target"] - 1)
    return {**row, "title": title, "plain": page.embedded(plain), "map": page.embedded(mapped)}


def target_pictures(
    image: Tensor, explanation: Explanation, index: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A target with some of its surroundings, without and with its map.

    Returns:
        Two pictures ``height width 3`` of the same size.
    """
    target = explanation.targets[index]
    mapped = draw.overlay(image, explanation.saliency[index], explanation.standard_error[index])
    pixels = image if image.dtype == torch.uint8 else (image * 255).round().byte()
    plain = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    height, width = plain.shape[:2]
    x1, y1, x2, y2 = target.box.tolist()
    margin = _CONTEXT * max(x2 - x1, y2 - y1)
    left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
    right, bottom = min(width, int(x2 + margin) + 1), min(height, int(y2 + margin) + 1)
    scale = _CARD_PX / (right - left)
    size = (_CARD_PX, max(1, round((bottom - top) * scale)))
    box = [(v - o) * scale for v, o in zip((x1, y1, x2, y2), (left, top, left, top), strict=True)]
    made = []
    for picture in (plain, mapped):
        card = Image.fromarray(picture[top:bottom, left:right]).resize(size)
        pen = ImageDraw.Draw(card)
        pen.rectangle(box, outline="black", width=4)
        pen.rectangle(box, outline=draw.TARGET_COLOUR, width=2)
        made.append(np.asarray(card))
    return made[0], made[1]


def _average(average: AverageMap) -> dict[str, Any]:
    side = average.saliency.shape[0]
    tint = draw.overlay(torch.full((3, side, side), 0.5), average.saliency, opacity=1.0)
    face = (average.face.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    edge = round(side * MARGIN / (1 + 2 * MARGIN))
    pictures = []
    for pixels in (face, tint):
        framed = Image.fromarray(np.ascontiguousarray(pixels)).resize((3 * side, 3 * side))
        frame = [3 * edge, 3 * edge, 3 * (side - edge), 3 * (side - edge)]
        ImageDraw.Draw(framed).rectangle(frame, outline=draw.TARGET_COLOUR, width=2)
        pictures.append(page.embedded(np.asarray(framed)))
    return {
        "n": average.n_targets,
        "n_empty": average.n_empty,
        "face": pictures[0],
        "map": pictures[1],
    }
