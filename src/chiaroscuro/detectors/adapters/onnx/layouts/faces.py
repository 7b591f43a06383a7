"""Layouts of small face detectors: UltraFace, SCRFD, YuNet. Landmarks are not read."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Output, Roles, only
from chiaroscuro.detectors.adapters.onnx.layouts.grid import cells, centres
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Feeding, Layout, Reading, Scene, item
from chiaroscuro.detectors.commons.placement import corners
from chiaroscuro.detectors.commons.rows import Rows

_ULTRAFACE = ((8, 3), (16, 2), (32, 2), (64, 3))  # stride, anchors per cell
_THREE = (8, 16, 32)
_FACE = 1  # column of the face; the background comes first
_CLASS_NAMES = ("face",)
_POINTS = 10  # x and y of five landmarks


def is_ultraface(file: File, rows: int) -> bool:
    """Whether a name contains it, or an output has a row for each of UltraFace's anchors."""
    if any(word in file.words for word in ("ultraface", "ultra-light", "version-rfb")):
        return True
    strides, anchors = zip(*_ULTRAFACE, strict=True)
    counts = zip(cells(file.size, strides), anchors, strict=True)
    return 0 not in file.size and rows == sum(n * per_cell for n, per_cell in counts)


def _roles_ultraface(file: File) -> Roles | None:
    tables = [o for o in file.outputs if o.is_float and len(o.shape) == 3]
    boxes = only(tables, lambda o: o.shape[2] == 4)
    scores = only(tables, lambda o: o.shape[2] == 2)
    if boxes is None or scores is None or len(tables) != 2 or boxes.shape[1] != scores.shape[1]:
        return None
    return {"boxes": boxes, "scores": scores}


def _decode_ultraface(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    faces = scene.activated(outputs["scores"])[:, _FACE : _FACE + 1]
    return Rows.of_vectors(scene.boxes(outputs["boxes"]), faces)


def _pyramid(
    n_scores: int, *pyramids: tuple[tuple[int, ...], int]
) -> Callable[[File], Roles | None]:
    """Outputs of a head over strides, with so many anchors per cell.

    A stride has ``n_scores`` outputs of one column, one of four, and maybe one of ten.
    """

    def roles(file: File) -> Roles | None:
        outputs = file.outputs
        if 0 in file.size or not all(o.is_float and len(o.shape) in (2, 3) for o in outputs):
            return None
        for strides, per_cell in pyramids:
            counts = [n * per_cell for n in cells(file.size, strides)]
            if sorted({o.shape[-2] for o in outputs}) == sorted(counts):
                return _of_strides(outputs, dict(zip(strides, counts, strict=True)), n_scores)
        return None

    return roles


def _of_strides(outputs: Sequence[Output], rows: dict[int, int], n_scores: int) -> Roles | None:
    roles: Roles = {}
    for stride, n in rows.items():
        by_columns: dict[int, list[Output]] = {}
        for output in outputs:
            if output.shape[-2] == n:
                by_columns.setdefault(output.shape[-1], []).append(output)
        numbers = {columns: len(found) for columns, found in by_columns.items()}
        if numbers not in ({1: n_scores, 4: 1}, {1: n_scores, 4: 1, _POINTS: 1}):
            return None
        roles[f"boxes {stride}"] = by_columns[4][0]
        roles |= {f"scores {stride} {i}": by_columns[1][i] for i in range(n_scores)}
    return roles


def _strides(outputs: dict[str, Tensor]) -> list[int]:
    return [int(role.split()[1]) for role in outputs if role.startswith("boxes")]


def _decode_scrfd(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    """Distances from a cell's corner to the four sides, in strides."""
    boxes, scores = [], []
    for stride in _strides(outputs):
        sides = item(outputs[f"boxes {stride}"], 2)
        per_cell = max(len(sides) // cells(scene.size, [stride])[0], 1)
        middle = centres(scene.size, [stride], per_cell)[:, :2]
        sides = sides * stride
        boxes.append(torch.cat([middle - sides[:, :2], middle + sides[:, 2:]], dim=1))
        scores.append(scene.activated(item(outputs[f"scores {stride} 0"], 2)))
    return Rows.of_vectors(torch.cat(boxes), torch.cat(scores))


def _decode_yunet(outputs: dict[str, Tensor], scene: Scene) -> Rows:
    """Offsets and logarithmic sizes; the score is the geometric mean of class and objectness."""
    boxes, scores = [], []
    for stride in _strides(outputs):
        raw = item(outputs[f"boxes {stride}"], 2)
        middle = centres(scene.size, [stride])[:, :2] + raw[:, :2] * stride
        boxes.append(torch.cat([middle, raw[:, 2:].exp() * stride], dim=1))
        both = [item(outputs[f"scores {stride} {i}"], 2).clamp(0, 1) for i in (0, 1)]
        scores.append((both[0] * both[1]).sqrt())
    return Rows.of_vectors(corners(torch.cat(boxes), "cxcywh"), torch.cat(scores))


FACES = {
    "ultraface": Layout(
        summary="scores n x 2 (background, face), boxes n x 4 x1 y1 x2 y2 in [0, 1], before NMS "
        "(UltraFace)",
        roles=_roles_ultraface,
        knows=lambda file, roles: is_ultraface(file, roles["boxes"].shape[1]),
        decode=_decode_ultraface,
        reading=Reading(normalised=True, first_label=1),
        feeding=Feeding(normalise="127", letterbox=False),
        before_nms=True,
        columns=lambda roles: roles["scores"].shape[2],
        class_names=_CLASS_NAMES,
    ),
    "scrfd": Layout(
        summary="per stride: scores n x 1, distances n x 4, landmarks n x 10, before NMS (SCRFD)",
        roles=_pyramid(1, (_THREE, 2), (_THREE, 1), ((8, 16, 32, 64, 128), 1)),
        decode=_decode_scrfd,
        feeding=Feeding(normalise="127.5", padding="top-left", padding_colour=0),
        before_nms=True,
        columns=lambda _: 1,
        class_names=_CLASS_NAMES,
    ),
    "yunet": Layout(
        summary="per stride: class n x 1, objectness n x 1, offsets n x 4, landmarks n x 10, "
        "before NMS (YuNet)",
        roles=_pyramid(2, (_THREE, 1)),
        decode=_decode_yunet,
        feeding=Feeding(normalise="255", channel_order="bgr", padding="top-left", padding_colour=0),
        before_nms=True,
        columns=lambda _: 1,
        class_names=_CLASS_NAMES,
    ),
}
