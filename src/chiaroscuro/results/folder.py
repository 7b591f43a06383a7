"""ResultFolder: what ``explain`` wrote for one picture, read back."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from chiaroscuro.core import limits
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import BundleError, InputError
from chiaroscuro.core.plan import DetectorChoice
from chiaroscuro.core.records import Proposals, Target, Truth
from chiaroscuro.data import paths
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.images.header import PictureSize, picture_size
from chiaroscuro.images.sources import is_address
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import AGAIN, Manifest, StudiedPicture, StudiedTarget


@dataclass(frozen=True, slots=True)
class SourceFile:
    """The file that a result folder explains.

    Attributes:
        name: last part of the path or address that it was read from.
        size: of the file; from the file itself, or where it is gone as the result noted it.
        scale: pixels of the maps per pixel of the file.
    """

    name: str
    size: PictureSize
    scale: float


class ResultFolder:
    """One picture's results: ``manifest.json``, ``saliency.npz`` and ``evidence.npz``.

    The manifest is read at once, everything else when it is first needed.

    Args:
        path: the folder.

    Raises:
        BundleError: if the manifest is absent or damaged; likewise what is read later.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        file = path / "manifest.json"
        self.manifest = bundle.read_record(file, Manifest, remedy=AGAIN)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def source(self) -> str:
        """Path or address of the picture; the folder's name where it is not stated."""
        return self.manifest.picture.source if self.manifest.picture else self.name

    @property
    def scale(self) -> float:
        """Pixels of the maps per pixel of the picture's file."""
        return self.manifest.picture.scale if self.manifest.picture else 1.0

    @cached_property
    def explanation(self) -> Explanation:
        """Targets and maps."""
        return Explanation.load(self.path, self.manifest)

    @property
    def has_evidence(self) -> bool:
        """Whether there is evidence; there is none where nothing was explained."""
        return (self.path / "evidence.npz").is_file()

    def evidence(self) -> Evidence:
        """What was observed, and the picture."""
        evidence = Evidence.load(self.path / "evidence.npz")
        self._check_of_maps(evidence.image, evidence.image_sha256)
        return evidence

    def image(self) -> Tensor:
        """The picture alone, ``3 height width``."""
        image = Evidence.load_image(self.path / "evidence.npz")
        self._check_of_maps(image, None)
        return image

    def _check_of_maps(self, image: Tensor, sha256: str | None) -> None:
        size = (self.manifest.height, self.manifest.width)
        stated = self.manifest.settings.image_sha256
        if tuple(image.shape[1:]) != size or stated not in (None, sha256 or image_hash(image)):
            raise BundleError(
                f"{self.path}: evidence.npz is of another picture than saliency.npz; "
                "explain again with --overwrite"
            )

    def caption(self, index: int) -> str:
        """The word for a target, such as "false positive", or where its box is from."""
        captions = self.manifest.captions
        return captions[index] if index < len(captions) else self.manifest.targets[index].origin

    @property
    def study(self) -> StudiedPicture:
        """What a study adds.

        Raises:
            BundleError: if the folder is of no study.
        """
        if self.manifest.study is None:
            raise BundleError(f"{self.path / 'manifest.json'}: study is absent; {AGAIN}")
        return self.manifest.study

    @property
    def detections(self) -> Proposals:
        """All detections of a studied picture, weak ones too."""
        rows = self.study.detections
        return Proposals(
            boxes=[row.box for row in rows],
            scores=[row.score for row in rows],
            labels=[row.label for row in rows],
        )

    @property
    def truth(self) -> Truth | None:
        """The annotations of a studied picture; None in a set without annotations."""
        rows = self.study.truth
        if rows is None:
            return None
        return Truth(
            boxes=[row.box for row in rows],
            labels=[row.label for row in rows],
            ignore=[row.ignore for row in rows],
            crowd=[row.crowd for row in rows],
        )

    def studied(self, *kinds: str) -> list[tuple[Target, StudiedTarget]]:
        """Targets of these kinds, with what the study says of them."""
        pairs = zip(self.explanation.targets, self.study.targets, strict=True)
        return [(target, one) for target, one in pairs if one.kind in kinds]

    def source_file(self) -> SourceFile:
        """The file that is explained.

        Raises:
            BundleError: if a part of it is explained, in whose pixels annotations are not.
        """
        if self.manifest.picture is not None and self.manifest.picture.part is not None:
            raise BundleError(
                f"{self.path} explains a tile of {self.source}, and annotations are of the whole; "
                f"explain it again with --max-side {limits.MAX_SIDE}"
            )
        source, factor = self.source, self.scale
        across = self.manifest.width
        width, height = round(across / factor), round(self.manifest.height / factor)
        size = PictureSize(width, height)
        try:
            there = picture_size(source) if is_address(source) or Path(source).is_file() else size
        except InputError:
            there = size
        if max(abs(there.width - width), abs(there.height - height)) <= 1 / factor:
            size = there  # else another picture has that name now
        return SourceFile(paths.file_name(source), size, across / size.width)

    def fingerprint(self) -> str:
        """SHA-256 of the maps and of how they were made, as hexadecimal digits.

        It is the same after the same command ran again.
        """
        digest = hashlib.sha256(bundle.read_bytes(self.path / "saliency.npz"))
        how = [plain(self.manifest.settings), list(self.manifest.captions)]
        digest.update(json.dumps(how, sort_keys=True).encode())
        return digest.hexdigest()


def result_paths(folder: AnyPath) -> list[AnyPath]:
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


def explained_detector(folders: Sequence[AnyPath]) -> tuple[str, DetectorChoice]:
    """The one detector that all these results explain: its name, and how to load it.

    Raises:
        BundleError: if they are of several, or a manifest cannot be read.
    """
    found: dict[str, DetectorChoice] = {}
    for folder in folders:
        manifest = ResultFolder(folder).manifest
        name = manifest.settings.detector
        found[name] = manifest.detector or DetectorChoice(detector=name)
    if len(found) > 1:
        raise BundleError(
            f"the results are of several detectors ({', '.join(sorted(found))}); evaluate the "
            "folders of one at a time"
        )
    ((name, choice),) = found.items()
    return name, choice
