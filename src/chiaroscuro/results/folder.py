"""What ``explain`` wrote, read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from chiaroscuro.core.errors import BundleError, InputError
from chiaroscuro.data import paths
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.images.header import PictureSize, picture_size
from chiaroscuro.images.sources import is_address
from chiaroscuro.store import bundle, contents
from chiaroscuro.store.bundle import AnyPath


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedResult:
    """A result folder as ``explain`` wrote it.

    Attributes:
        folder: where it is.
        explanation: targets and maps.
        manifest: what its manifest holds.
    """

    folder: AnyPath
    explanation: Explanation
    manifest: Mapping[str, Any]

    @classmethod
    def load(cls, folder: AnyPath) -> "SavedResult":
        """Read a folder.

        Raises:
            BundleError: if it is incomplete or damaged.
        """
        return cls(
            folder=folder, explanation=Explanation.load(folder), manifest=manifest_of(folder)
        )

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def detector(self) -> str:
        """Name of the detector that was explained."""
        return str(self.explanation.settings.get("detector", ""))

    def evidence(self) -> Evidence:
        """What was observed, and the picture.

        Raises:
            BundleError: if it is absent or of another picture than the maps.
        """
        evidence = Evidence.load(self.folder / "evidence.npz")
        self._check_of_maps(evidence.image)
        return evidence

    def image(self) -> Tensor:
        """The picture alone, ``3 height width``.

        Raises:
            BundleError: if it is absent or another than that of the maps.
        """
        image = Evidence.load_image(self.folder / "evidence.npz")
        self._check_of_maps(image)
        return image

    def _check_of_maps(self, image: Tensor) -> None:
        size = (self.explanation.height, self.explanation.width)
        stated = self.explanation.settings.get("image_sha256")
        if tuple(image.shape[1:]) != size or stated not in (None, image_hash(image)):
            raise BundleError(
                f"{self.folder}: evidence.npz is of another picture than saliency.npz; "
                "explain again with --overwrite"
            )

    def caption(self, index: int) -> str:
        """The word for a target, such as "false alarm", or what it is."""
        captions = self.manifest.get("captions") or []
        target = self.explanation.targets[index]
        return str(captions[index]) if index < len(captions) else target.origin


@dataclass(frozen=True, slots=True)
class ExplainedPicture:
    """The file that a result folder explains.

    Attributes:
        file_name: last part of the path or address that it was read from.
        size: of the file; from the file itself, or where it is gone as the result noted it.
        scale: pixels of the maps for each pixel of the file.
    """

    file_name: str
    size: PictureSize
    scale: float


def explained_picture(folder: AnyPath) -> ExplainedPicture:
    """What the manifest of a result folder says of its picture.

    Raises:
        BundleError: if the manifest cannot be read, or states no size.
    """
    manifest = bundle.read_json(folder / "manifest.json")
    noted = manifest.get("picture") or {}
    source = str(noted.get("source", folder.name))
    try:
        across, down = int(manifest["width"]), int(manifest["height"])
        factor = float(noted.get("scale", 1.0))
        width, height = round(across / factor), round(down / factor)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise BundleError(
            f"{folder / 'manifest.json'} states no size of its maps; explain again with --overwrite"
        ) from error
    size = PictureSize(width, height)
    try:
        there = picture_size(source) if is_address(source) or Path(source).is_file() else size
    except InputError:
        there = size
    if max(abs(there.width - width), abs(there.height - height)) <= 1 / factor:
        size = there  # else another picture has that name now
    return ExplainedPicture(paths.file_name(source), size, across / size.width)


def manifest_of(folder: AnyPath) -> dict[str, Any]:
    """The manifest of a result, which says by which method and of which detector it is.

    Raises:
        BundleError: if it is absent or damaged.
    """
    return bundle.read_json(folder / "manifest.json", contents.RESULT, remedy=contents.AGAIN)


def saved_results(folder: AnyPath) -> list[AnyPath]:
    """The complete result folders in a folder or run, or the folder itself, by name.

    Raises:
        BundleError: if there is none.
    """
    if (folder / "saliency.npz").is_file():
        return [folder]
    if (folder / "run.json").is_file():
        folder = folder / "pictures"
    found = [path.parent for path in bundle.matching(folder, "*/manifest.json")]
    found = [path for path in found if (path / "saliency.npz").is_file()]
    if not found:
        raise BundleError(
            f"{folder} holds no results; wanted the --out folder of `chiaroscuro explain` or "
            "`chiaroscuro study`, or one picture's folder in it"
        )
    return found


@dataclass(frozen=True, slots=True)
class ExplainedDetector:
    """The detector that results explain.

    Attributes:
        name: as it calls itself.
        spec: what ``load_detector`` was given, perhaps only the name.
        options: likewise.
    """

    name: str
    spec: str
    options: Mapping[str, Any]


def explained_detector(folders: Sequence[AnyPath]) -> ExplainedDetector:
    """The one detector that all these results explain.

    Raises:
        BundleError: if they are of several, or a manifest cannot be read.
    """
    found: dict[str, ExplainedDetector] = {}
    for folder in folders:
        manifest = manifest_of(folder)
        name = manifest["settings"]["detector"]
        asked = manifest.get("asked", {})
        found[name] = ExplainedDetector(
            name, str(asked.get("detector", name)), dict(asked.get("options", {}))
        )
    if len(found) > 1:
        raise BundleError(
            f"the results are of several detectors ({', '.join(sorted(found))}); evaluate the "
            "folders of one at a time"
        )
    (detector,) = found.values()
    return detector
