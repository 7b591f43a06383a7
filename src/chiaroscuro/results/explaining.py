"""Explain a picture into a folder of results: what every front end does with one picture."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from chiaroscuro.core.errors import BundleError, InputError
from chiaroscuro.core.plan import DetectorChoice, Plan, Selection
from chiaroscuro.core.progress import Report
from chiaroscuro.core.records import Proposals, Target, TargetsLike
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import no_evidence
from chiaroscuro.evidence.targets import choose, find
from chiaroscuro.figures import draw, encode
from chiaroscuro.figures.look import Look
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.methods.explaining import explain_from, observe_for
from chiaroscuro.results.folder import ResultFolder
from chiaroscuro.results.picture import Picture
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import Files


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExplainedPicture:
    """What ``explain_picture`` made.

    Attributes:
        picture: what was explained.
        found: what the detector reports in the whole picture, from the lowest score shown.
        result: the maps; empty where there was nothing to explain.
        folder: where the files are.
        overlays: one PNG per target, in the targets' order.
        sheet: the contact sheet.
    """

    picture: Picture
    found: Proposals
    result: Explanation
    folder: Path
    overlays: tuple[Path, ...]
    sheet: Path

    @property
    def files(self) -> Files:
        """The names of the files, for the manifest."""
        return Files(
            overlays=tuple(path.name for path in self.overlays),
            contact_sheet=self.sheet.name,
            evidence="evidence.npz" if len(self.result) else None,
        )


def explain_picture(
    picture: Picture,
    detector: Detector,
    targets: TargetsLike | None,
    out: Path,
    plan: Plan,
    *,
    selection: Selection | None = None,
    choice: DetectorChoice | None = None,
    look: Look | None = None,
    overwrite: bool = False,
    captions: Sequence[str] = (),
    progress: Report | None = None,
) -> ExplainedPicture:
    """Explain targets in a picture and write ``out/<name>/``.

    The folder gets ``evidence.npz``, one overlay PNG per target, ``contact-sheet.png``,
    ``saliency.npz`` and, last, ``manifest.json``, whose presence means complete. Evidence that is
    there already is used and, where more passes are wanted, extended: an interrupted run is
    resumed, and another target costs what that evidence does not tell. The maps are those of a
    fresh run.

    Targets are in the pixels of ``picture.image``; without them, all that is found is explained,
    as ``selection`` says. ``choice`` is what the detector was loaded with; the manifest keeps it
    for ``evaluate``. ``captions`` are a word per target, such as "false positive". ``overwrite``
    replaces evidence of other settings in the folder.

    Raises:
        BundleError: if the folder holds evidence of another picture, detector or setting.
        DetectorFailedError: if the detector failed; what was observed is saved first, as also on
            Ctrl-C (ObservationInterrupted) and on whatever ``progress`` raises.
    """
    began = time.perf_counter()
    folder, selection, look = out / picture.name, selection or Selection(), look or Look()
    if not overwrite:
        _refuse_folder_of_another(folder, picture)
    found = find(picture.image, detector, selection.min_score)
    chosen = choose(picture.image, detector, targets, selection, found)
    image, targets = picture.image, chosen.targets
    result, _ = explain_into(
        folder, image, detector, targets, plan, overwrite=overwrite, progress=progress
    )
    result = result.with_notes(*chosen.notes)
    explained = _drawn(picture, result, found, folder, look, captions)
    result.save(
        folder,
        picture=picture.record(),
        detector=choice or DetectorChoice(detector=detector.info.name),
        captions=tuple(captions),
        files=explained.files,
        seconds=round(time.perf_counter() - began, 3),
    )
    return explained


def _refuse_folder_of_another(folder: Path, picture: Picture) -> None:
    """Refuse to write over the results of another picture of the same name.

    Raises:
        BundleError: naming both.
    """
    if not (folder / "manifest.json").is_file():
        return
    manifest = ResultFolder(folder).manifest
    earlier = manifest.settings.image_sha256
    if earlier is not None and earlier != image_hash(picture.image):
        source = manifest.picture.source if manifest.picture else "another picture"
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
    plan: Plan,
    *,
    overwrite: bool = False,
    progress: Report | None = None,
) -> tuple[Explanation, Evidence | None]:
    """Explain targets, and keep the evidence in ``folder/evidence.npz``.

    Evidence that is there already is used and, where more passes are wanted, extended.

    Returns:
        The maps, and the evidence; without targets an empty explanation, and None.

    Raises:
        As ``explain_picture`` does.
    """
    file = folder / "evidence.npz"
    earlier = Evidence.load(file) if file.exists() and not overwrite else None
    wanted = tuple(targets)
    if not wanted:
        return explain_from(no_evidence(image, detector, plan), detector, (), plan), None
    try:
        evidence = observe_for(image, detector, wanted, plan, earlier, progress)
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
    everything = evidence if earlier is None else evidence.joined(earlier)
    if earlier is None or everything.cost > earlier.cost:
        _save(everything, file)
    return explain_from(evidence, detector, wanted, plan, progress), evidence


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


def _drawn(
    picture: Picture,
    result: Explanation,
    found: Proposals,
    folder: Path,
    look: Look,
    captions: Sequence[str],
) -> ExplainedPicture:
    """The figures, in place of those of an earlier explanation."""
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
    return ExplainedPicture(
        picture=picture,
        found=found,
        result=result,
        folder=folder,
        overlays=overlays,
        sheet=sheet,
    )
