"""What the command line does with one picture, and any other front end too."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from chiaroscuro.core import limits
from chiaroscuro.core.checks import settle
from chiaroscuro.core.errors import (
    BundleError,
    InputError,
)
from chiaroscuro.core.masks import MaskDesign
from chiaroscuro.core.records import Proposals, Target, as_targets
from chiaroscuro.data.paths import folder_name
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.evidence import estimators
from chiaroscuro.evidence.evidence import Evidence, Progress, no_evidence, observe
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.passes import detect_whole
from chiaroscuro.evidence.target_classes import with_classes
from chiaroscuro.figures import draw, encode
from chiaroscuro.figures.look import Look
from chiaroscuro.images.read import image_hash, read_image, shrink
from chiaroscuro.methods import explain, method_named
from chiaroscuro.methods.explaining import masks_to_observe
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath

SHOWN_SCORE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A picture as it is explained: perhaps a reduced copy of its file.

    Attributes:
        source: path or address it was read from.
        image: ``3 height width``, uint8.
        scale: pixels of ``image`` a pixel of the file; 1 where it was not reduced.
        title: heads the contact sheet; the file's name where it is empty.
        name: of its folder of results; by default the file's without its suffix, as
            ``paths.folder_name`` makes it safe.
        file_size: height and width of the file, upright; from the scale where it is not given.
    """

    source: str
    image: Tensor
    scale: float = 1.0
    title: str = ""
    name: str = ""
    file_size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not any(self.file_size):
            height, width = (round(side / self.scale) for side in self.image.shape[1:])
            object.__setattr__(self, "file_size", (height, width))
        if not self.name:
            object.__setattr__(self, "name", folder_name(self.source))

    def describe(self) -> dict[str, Any]:
        """Source, size and scale as plain JSON values."""
        height, width = self.image.shape[1:]
        return {
            "source": self.source,
            "width": width,
            "height": height,
            "scale": round(self.scale, 6),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How pictures are explained; what the command line's options say.

    ``detector`` and ``detector_options`` are what ``load_detector`` was given: the manifest keeps
    them, so that ``evaluate`` can load the same detector again.

    Raises:
        InputError: on a setting of another kind or out of range; it names the setting.
    """

    detector: str = ""
    detector_options: Mapping[str, Any] = field(default_factory=dict)

    min_score: float = SHOWN_SCORE
    target_class: str | None = None
    n_masks: int | Literal["auto"] = "auto"
    fidelity: float = 0.9
    seed: int = 0
    design: MaskDesign = MaskDesign()  # noqa: RUF009  (frozen)
    method: str = "drise"
    estimator: str = "surrogate"
    batch_size: int | None = None
    look: Look = Look()  # noqa: RUF009  (frozen)
    overwrite: bool = False

    def __post_init__(self) -> None:
        settle(
            self,
            {
                "min_score": limits.SCORE,
                "n_masks": limits.masks_or_auto,
                "fidelity": limits.FIDELITY,
                "seed": limits.SEED,
                "batch_size": limits.BATCH_SIZE,
            },
        )

    def asked(self, detector: Detector) -> dict[str, Any]:
        """What the detector was loaded with, as plain JSON values."""
        return {
            "detector": self.detector or detector.info.name,
            "options": dict(self.detector_options),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExplainedPicture:
    """What ``explain_picture`` made.

    Attributes:
        picture: what was explained.
        found: what the detector reports in the whole picture, from the shown score up.
        result: the maps; empty where there was nothing to explain.
        folder: where the files are.
        overlays: one PNG a target, in the targets' order.
        sheet: the contact sheet.
    """

    picture: Picture
    found: Proposals
    result: Explanation
    folder: Path
    overlays: tuple[Path, ...]
    sheet: Path


def open_picture(
    source: str | Path,
    *,
    max_side: int | None = None,
    max_pixels: int = 100_000_000,
    name: str = "",
) -> Picture:
    """Read a picture, reduced so that its longer side has at most ``max_side`` pixels.

    Args:
        source: a path, or an ``http://`` or ``https://`` address.
        max_side: in pixels; None keeps the size.
        max_pixels: pictures with more are refused.
        name: of its folder of results, where it is not to be the file's; see
            ``paths.folder_names`` for several pictures.

    Raises:
        ImageError: if it cannot be read.
    """
    image = read_image(source, max_pixels=max_pixels)
    if max_side is None:
        return Picture(source=str(source), image=image, name=name)
    reduced, scale = shrink(image, max_side)
    height, width = image.shape[1:]
    return Picture(
        source=str(source), image=reduced, scale=scale, name=name, file_size=(height, width)
    )


def detect_picture(picture: Picture, detector: Detector, min_score: float) -> Proposals:
    """What the detector reports in the whole picture with at least that score, best first."""
    return detect_whole(detector, picture.image).above(min_score)


def explain_picture(
    picture: Picture,
    detector: Detector,
    targets: Sequence[Target] | None,
    out: Path,
    settings: Settings,
    *,
    captions: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
) -> ExplainedPicture:
    """Explain targets in a picture and write ``out/<name>/``.

    The folder gets ``evidence.npz``, one overlay PNG a target, ``contact-sheet.png``,
    ``saliency.npz`` and, last, ``manifest.json``, whose presence means complete. Evidence that is
    there already is used and, where more masks are wanted, extended: an interrupted run goes on
    where it stopped, and another target costs no detector pass. The maps are those of a fresh run.

    Args:
        picture: what to explain.
        detector: the detector asked.
        targets: in the pixels of ``picture.image``; everything found when None.
        out: folder of the results' folders.
        settings: how.
        captions: a word for every target, such as "false alarm", shown in the figures.
        progress: called after every batch.

    Raises:
        BundleError: if the folder holds evidence of another picture, detector or setting.
        DetectorFailedError: if the detector failed; what was observed is saved first.
        ObservationInterrupted: on Ctrl-C; what was observed is saved first.
        Exception: whatever ``progress`` raises; what was observed is saved first.
    """
    began = time.perf_counter()
    folder = out / picture.name
    if not settings.overwrite:
        _refuse_folder_of_another(folder, picture)
    found = detect_picture(picture, detector, settings.min_score)
    wanted, notes = with_classes(
        as_targets(found) if targets is None else targets,
        detector.info.class_names,
        lambda: found,
        settings.target_class,
    )
    result, _ = explain_into(folder, picture.image, detector, wanted, settings, progress=progress)
    result = replace(result, notes=notes + result.notes)
    overlays, sheet = _draw(picture, result, found, folder, settings.look, captions)
    result.save(
        folder,
        manifest={
            "picture": picture.describe(),
            "asked": settings.asked(detector),
            "captions": list(captions),
            "files": {
                "overlays": [path.name for path in overlays],
                "contact_sheet": sheet.name,
                "saliency": "saliency.npz",
                "evidence": "evidence.npz" if len(result) else None,
            },
            "seconds": round(time.perf_counter() - began, 3),
        },
    )
    return ExplainedPicture(
        picture=picture,
        found=found,
        result=result,
        folder=folder,
        overlays=overlays,
        sheet=sheet,
    )


def _refuse_folder_of_another(folder: Path, picture: Picture) -> None:
    """Results of another picture of the same name are not written over.

    Raises:
        BundleError: naming both.
    """
    if not (folder / "manifest.json").is_file():
        return
    manifest = bundle.read_json(folder / "manifest.json")
    earlier = (manifest.get("settings") or {}).get("image_sha256")
    if earlier is not None and earlier != image_hash(picture.image):
        source = (manifest.get("picture") or {}).get("source", "another picture")
        raise BundleError(
            f"{folder} holds the results of {source} with other pixels than {picture.source} has "
            "now (another picture of that name, a changed file, another --max-side); choose "
            "another --out, or --overwrite it"
        )


def explain_into(
    folder: AnyPath,
    image: Tensor,
    detector: Detector,
    targets: Sequence[Target],
    settings: Settings,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[Explanation, Evidence | None]:
    """Explain targets, and keep the evidence in ``folder/evidence.npz``.

    Evidence that is there already is used and, where more masks are wanted, extended.

    Returns:
        The maps, and the evidence; without targets an empty explanation that says so, and None.

    Raises:
        As ``explain_picture`` does.
    """
    estimators.check_name(settings.estimator)
    height, width = image.shape[1:]
    wanted = tuple(target.inside(height, width) for target in targets)
    file = folder / "evidence.npz"
    earlier = Evidence.load(file) if file.exists() and not settings.overwrite else None
    if not wanted:
        return _nothing(image, detector, settings), None
    try:
        evidence = _observed(image, detector, wanted, settings, earlier, progress)
    except (Exception, KeyboardInterrupt) as stopped:
        seen = getattr(stopped, "evidence", None)
        if seen is not None:
            _save(seen, file, stopped)
            raise
        if earlier is None or not isinstance(stopped, InputError):
            raise
        raise BundleError(
            f"{file}: {stopped}; choose another --out, or --overwrite it"
        ) from stopped
    if earlier is None or evidence.n_masks > earlier.n_masks:
        _save(evidence, file)
    if settings.method == "drise":
        result = evidence.explain(
            wanted,
            estimator=settings.estimator,
            wanted_fidelity=settings.fidelity if settings.n_masks == "auto" else None,
        )
        return result, evidence
    result = explain(
        image,
        detector,
        wanted,
        method=settings.method,
        estimator=settings.estimator,
        n_masks=settings.n_masks,
        seed=settings.seed,
        design=settings.design,
        batch_size=settings.batch_size,
        evidence=evidence,
        progress=progress,
    )
    return result, evidence


def _save(evidence: Evidence, file: AnyPath, stopped: BaseException | None = None) -> None:
    """Write evidence; where that fails, the error has it as its attribute ``evidence``.

    Raises:
        BundleError: if it cannot be written; it names what stopped the observation, if anything.
    """
    try:
        evidence.save(file)
    except BundleError as error:
        error.evidence = evidence  # type: ignore[attr-defined]
        if stopped is not None:
            error.args = (f"{stopped}; and {error}",)
        raise error from stopped


def _observed(
    image: Tensor,
    detector: Detector,
    targets: Sequence[Target],
    settings: Settings,
    earlier: Evidence | None,
    progress: Callable[[Progress], None] | None,
) -> Evidence:
    """As much of a D-RISE run as the method uses; what is there already counts."""
    n_masks = masks_to_observe(method_named(settings.method), settings.n_masks)
    if not n_masks:
        nothing = no_evidence(image, detector, settings.seed, settings.design)
        if earlier is not None:
            earlier.check_of(nothing)
        return earlier or nothing
    return observe(
        image,
        detector,
        n_masks=n_masks,
        fidelity=settings.fidelity,
        targets=targets,
        estimator=settings.estimator,
        seed=settings.seed,
        design=settings.design,
        batch_size=settings.batch_size,
        progress=progress,
        resume=earlier,
    )


def _nothing(image: Tensor, detector: Detector, settings: Settings) -> Explanation:
    """An explanation of no target, made without a pass, that says what to do."""
    empty = explain(
        image,
        detector,
        (),
        method=settings.method,
        estimator=settings.estimator,
        seed=settings.seed,
        design=settings.design,
    )
    of_class = "" if settings.target_class is None else f" of class {settings.target_class}"
    note = (
        f"nothing{of_class} was found with a score of {settings.min_score:g} or more; lower the "
        "score (--min-score 0.1), or draw a box where a face should be (--target x1,y1,x2,y2)"
    )
    return replace(empty, notes=(note,))


def _draw(
    picture: Picture,
    result: Explanation,
    found: Proposals,
    folder: Path,
    look: Look,
    captions: Sequence[str],
) -> tuple[tuple[Path, ...], Path]:
    for stale in folder.glob("target-*.png"):
        stale.unlink()
    overlays = tuple(
        encode.save(
            draw.target_figure(picture.image, result, i, found, look, captions),
            folder / f"target-{i + 1:02}.png",
        )
        for i in range(len(result))
    )
    sheet = encode.save(
        draw.contact_sheet(
            picture.image, result, found, picture.title or picture.name, look, captions
        ),
        folder / "contact-sheet.png",
    )
    return overlays, sheet
