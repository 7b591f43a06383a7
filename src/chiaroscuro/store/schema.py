"""What the JSON files of chiaroscuro hold: one declared class per file and per part of one."""

from pathlib import PurePosixPath
from typing import Any, Literal

import attrs

from chiaroscuro.core import limits
from chiaroscuro.core.checks import (
    anything,
    either,
    flag,
    many,
    mapping,
    maybe,
    number,
    one_of,
    path_text,
    shown,
    text,
    whole,
)
from chiaroscuro.core.declared import (
    of_kind,
    optional_part,
    part,
    parts,
    setting,
    tuple_of,
)
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.notes import Note, note_check
from chiaroscuro.core.plan import DetectorChoice, MaskDesign, StudySettings
from chiaroscuro.core.records import LABEL
from chiaroscuro.core.text import plural
from chiaroscuro.core.windows import Window

Box = tuple[float, float, float, float]
Kept = tuple[tuple[float, ...], int | None]
"""A target as evidence remembers it: box and label."""

AGAIN = (
    "explain again into a new folder, or with --overwrite; in a run folder, remove the picture's "
    "folder and study again"
)
STUDY_AGAIN = "remove the picture's folder and study again"

_FARTHEST = 3.4e38  # what float32 holds
_TOLERANCE = 1e-4  # shares computed in float32 may exceed 1 by a hair
_SHARE = number(-_TOLERANCE, 1 + _TOLERANCE)


def box_check(name: str, value: Any) -> Box:
    """Four numbers x1 y1 x2 y2, none inverted."""
    x1, y1, x2, y2 = many(number(-_FARTHEST, _FARTHEST), 4)(name, value)
    if x2 < x1 or y2 < y1:
        raise InputError(f"{name}: wanted x1 <= x2 and y1 <= y2, got {shown(value)}")
    return x1, y1, x2, y2


def folder_name(name: str, value: Any) -> str:
    """A relative path that stays inside the folder it is joined to."""
    given = text(name, value)
    path = PurePosixPath(given)
    if not given or "\0" in given or path.is_absolute() or {"..", "."} & set(given.split("/")):
        raise InputError(f"{name}: wanted the name of a folder, got {given!r}")
    return given


def _kept(name: str, value: Any) -> Kept:
    box, label = many(anything, 2)(name, value)
    return box_check(f"{name}[0]", box), maybe(LABEL)(f"{name}[1]", label)


def window_check(name: str, value: Any) -> Window:
    """A window: four whole numbers x1 y1 x2 y2, with a pixel between them."""
    if isinstance(value, Window):
        return value
    x1, y1, x2, y2 = many(whole(0), 4)(name, value)
    if x2 <= x1 or y2 <= y1:
        raise InputError(f"{name}: wanted x1 < x2 and y1 < y2, got {shown(value)}")
    return Window(x1, y1, x2, y2)


# evidence.npz and manifest.json -------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Certificate:
    """How well weights of passes in a window agree with those of full passes, same masks.

    Attributes:
        correlation: of the two, in [-1, 1].
        low: bound of the correlation over all masks, 99 % on one side.
        high: likewise above.
        slope: of the weights of full passes over those in the window: 1 where they are alike.
        bias: mean weight in the window less that of full passes.
        bias_error: its standard error.
        n_masks: under which both were run.
    """

    correlation: float = setting(number(-1 - _TOLERANCE, 1 + _TOLERANCE))
    low: float = setting(number(-1, 1))
    high: float = setting(number(-1, 1))
    slope: float = setting(number())
    bias: float = setting(number(-1, 1))
    bias_error: float = setting(number(0))
    n_masks: int = setting(whole(0))


@attrs.frozen(kw_only=True)
class WindowRecord:
    """Passes in a window.

    Attributes:
        window: x1 y1 x2 y2 in pixels of the maps.
        n_passes: made in it, each under a mask.
        kept_for: as of :class:`MapSettings`.
    """

    window: Window = setting(window_check)
    n_passes: int = setting(whole(0))
    kept_for: tuple[Kept, ...] = setting(tuple_of(_kept), ())


@attrs.frozen(kw_only=True)
class MapSource:
    """The passes that the map of one target is from.

    Attributes:
        n_masks: that were observed; None for a method without masks.
        window: in which; None for passes on the whole picture.
        certificate: of the window.
    """

    n_masks: int | None = setting(maybe(whole(0)), None)
    window: Window | None = setting(maybe(window_check), None)
    certificate: Certificate | None = optional_part(Certificate)


@attrs.frozen(kw_only=True)
class CloseUpPasses(WindowRecord):
    """Passes for the close-up of one target, under masks of its own.

    Attributes:
        area: x1 y1 x2 y2 in pixels of the maps: what masks cover, and the close-up shows.
        design: of the masks.
    """

    area: Window = setting(window_check)
    design: MaskDesign = part(MaskDesign, required=True)


@attrs.frozen(kw_only=True)
class CloseUpRecord:
    """A close-up, but for its map.

    Attributes:
        window: x1 y1 x2 y2 in pixels of the maps: what it shows.
        cells: of its masks, across the box (across the square root of its area).
        source: the passes that it is from.
        cost: of them, in passes on the whole picture.
        design: of its masks.
        meaning: what one unit of its map is, in words.
        fidelity: as of a map; None where it is not known.
        mean_weight: likewise.
    """

    window: Window = setting(window_check)
    cells: float = setting(number(0))
    source: MapSource = part(MapSource)
    cost: float = setting(number(0))
    design: MaskDesign = part(MaskDesign, required=True)
    meaning: str = setting(text)
    fidelity: float | None = setting(maybe(number(-1, 1)))
    mean_weight: float | None = setting(maybe(_SHARE))


@attrs.frozen(kw_only=True)
class MapSettings:
    """How maps were made.

    Attributes:
        method: name of the method.
        detector: name of the detector.
        n_passes: detector passes; for D-RISE those on the whole picture, each under a mask.
        windows: of D-RISE: the passes in windows round targets.
        closeups: of D-RISE: the passes for close-ups.
        cost: of all passes, in passes on the whole picture; None where it is not known.
        fidelity: at which automatic stopping stopped; None for a given number of passes.
        estimator: of D-RISE; None for other methods.
        before_nms: whether the detector was observed before non-maximum suppression.
        seed: of whatever is random.
        design: of the masks; its fill for any method that hides pixels.
        image_sha256: of the picture; None where it is not known.
        versions: of the packages that matter, by name.
        kept_for: targets whose most similar proposal is kept under every mask.
        choices: the method's own, as JSON values.
    """

    method: str = setting(text)
    detector: str = setting(text)
    n_passes: int = setting(whole(0))
    windows: tuple[WindowRecord, ...] = setting(tuple_of(of_kind(WindowRecord)), ())
    closeups: tuple[CloseUpPasses, ...] = setting(tuple_of(of_kind(CloseUpPasses)), ())
    cost: float | None = setting(maybe(number(0)), None)
    fidelity: float | None = setting(maybe(limits.FIDELITY), None)
    estimator: str | None = setting(maybe(text), None)
    before_nms: bool = setting(flag, False)
    seed: int = setting(limits.SEED)
    design: MaskDesign = part(MaskDesign, required=True)
    image_sha256: str | None = setting(maybe(text), None)
    versions: dict[str, str] = setting(mapping(text), attrs.Factory(dict))
    kept_for: tuple[Kept, ...] = setting(tuple_of(_kept), ())
    choices: dict[str, Any] = setting(mapping(), attrs.Factory(dict))

    @property
    def most_passes(self) -> int:
        """Passes on the whole picture, or in the window that has most of them."""
        return max(self.n_passes, *(one.n_passes for one in self.windows), 0)

    @property
    def passes_text(self) -> str:
        """The passes in words, with what they cost where that is not their number."""
        text = plural(self.n_passes, "pass", "passes")
        if not self.windows and not self.closeups:
            return text
        texts = [f"{text} on the whole picture"]
        areas = {one.area for one in self.closeups}  # some were tried with several masks
        for some, places, word in (
            (self.windows, self.windows, "window"),
            (self.closeups, areas, "close-up"),
        ):
            if some:
                n = sum(one.n_passes for one in some)
                texts.append(f"{n} in {plural(len(places), word)}")
        return f"{' and '.join(texts)}, the cost of {self.cost:z.0f} passes"


@attrs.frozen(kw_only=True)
class TargetRecord:
    """A target in a manifest, with what is known of its map."""

    box: Box = setting(box_check)
    label: int | None = setting(maybe(LABEL))
    score: float | None = setting(maybe(limits.SCORE))
    origin: str = setting(one_of("found", "drawn", "truth"))
    fidelity: float | None = setting(maybe(number(-1, 1)))
    mean_weight: float | None = setting(maybe(_SHARE))
    source: MapSource = part(MapSource)
    closeup: CloseUpRecord | None = optional_part(CloseUpRecord)


@attrs.frozen(kw_only=True)
class PictureRecord:
    """The picture that was explained: ``scale`` pixels of the maps per pixel of the file.

    Where a part alone was explained, ``part`` is ``x1 y1 x2 y2`` in pixels of the reduced file.
    """

    source: str = setting(path_text)
    width: int = setting(limits.SIDE)
    height: int = setting(limits.SIDE)
    scale: float = setting(number(1e-6, 1))
    part: Window | None = setting(maybe(window_check), None)


@attrs.frozen(kw_only=True)
class Files:
    """Names of the files in a result folder."""

    overlays: tuple[str, ...] = setting(tuple_of(text), ())
    contact_sheet: str | None = setting(maybe(text), None)
    saliency: str = setting(text, "saliency.npz")
    evidence: str | None = setting(maybe(text), None)


@attrs.frozen(kw_only=True)
class Miss:
    """What is known of a missed face; ``studies.misses`` says what the readings mean."""

    reading: str = setting(text)
    sentence: str = setting(text)
    whole_score: float | None = setting(maybe(limits.SCORE), None)
    best_score: float | None = setting(maybe(limits.SCORE), None)
    best_mask: int | None = setting(maybe(whole(0)), None)
    share_found: float | None = setting(maybe(_SHARE), None)
    best_iou: float | None = setting(maybe(_SHARE), None)
    negative_share: float | None = setting(maybe(_SHARE), None)


@attrs.frozen(kw_only=True)
class StudiedTarget:
    """What a study knows of a target beyond its map."""

    kind: str = setting(one_of("hit", "false positive", "missed", "ignored", "found"))
    in_box: float | None = setting(maybe(_SHARE))
    in_ring: float | None = setting(maybe(_SHARE))
    beyond: float | None = setting(maybe(_SHARE))
    match: str | None = setting(maybe(text), None)
    iou: float | None = setting(maybe(_SHARE), None)
    truth: int | None = setting(maybe(whole(0)), None)
    miss: Miss | None = optional_part(Miss)


@attrs.frozen(kw_only=True)
class DetectionRecord:
    """A detection in the whole picture."""

    box: Box = setting(box_check)
    score: float = setting(limits.SCORE)
    label: int = setting(LABEL)


@attrs.frozen(kw_only=True)
class AnnotationRecord:
    """An annotated box."""

    box: Box = setting(box_check)
    label: int = setting(LABEL)
    ignore: bool = setting(flag)
    crowd: bool = setting(flag, False)


def _about(name: str, value: Any) -> dict[str, Any]:
    """What the data set says of a picture: anything, but a title is text or a number."""
    about: dict[str, Any] = mapping()(name, value)
    maybe(either(number(), text))(f"{name}.title", about.get("title"))
    return about


@attrs.frozen(kw_only=True)
class StudiedPicture:
    """What a study adds to a manifest."""

    about: dict[str, Any] = setting(_about)
    targets: tuple[StudiedTarget, ...] = parts(StudiedTarget)
    detections: tuple[DetectionRecord, ...] = parts(DetectionRecord)
    truth: tuple[AnnotationRecord, ...] | None = parts(AnnotationRecord, optional=True)

    @property
    def image_id(self) -> Any:
        """The data set's own id of the picture; None where it has none."""
        return self.about.get("id")


@attrs.frozen(kw_only=True)
class Cost:
    """What maps by another method took, for all targets together."""

    method: str = setting(text)
    targets: int = setting(whole(0))
    n_passes: int = setting(whole(0))
    seconds: float = setting(number(0))
    pass_seconds: float = setting(number(0, ends=False))


@attrs.frozen(kw_only=True)
class KeptMethod:
    """Maps by another method that ``evaluate`` made: of what, and what they took."""

    made: dict[str, Any] = setting(mapping())
    cost: Cost = part(Cost, required=True)


@attrs.frozen(kw_only=True)
class Manifest:
    """``manifest.json`` of a result folder: everything but the maps."""

    settings: MapSettings = part(MapSettings, required=True)
    meaning: str = setting(text)
    notes: tuple[Note, ...] = setting(tuple_of(note_check))
    height: int = setting(limits.SIDE)
    width: int = setting(limits.SIDE)
    targets: tuple[TargetRecord, ...] = parts(TargetRecord)
    picture: PictureRecord | None = optional_part(PictureRecord)
    detector: DetectorChoice | None = optional_part(DetectorChoice)
    captions: tuple[str, ...] = setting(tuple_of(text), ())
    files: Files | None = optional_part(Files)
    seconds: float | None = setting(maybe(number(0)), None)
    study: StudiedPicture | None = optional_part(StudiedPicture)
    kept: KeptMethod | None = optional_part(KeptMethod)

    def __attrs_post_init__(self) -> None:
        """Hold the parts to fit each other."""
        study = self.study
        if study is None:
            return
        if self.picture is None:
            raise InputError("picture is absent")
        if len(study.targets) != len(self.targets):
            raise InputError(
                f"study.targets: wanted one for each of the {len(self.targets)} targets, got "
                f"{len(study.targets)}"
            )
        for i, one in enumerate(study.targets):
            n = len(study.truth or ())
            if (one.truth is None and one.kind == "hit") or (one.truth or 0) >= max(n, 1):
                raise InputError(
                    f"study.targets[{i}].truth: wanted the number of one of {n} annotations, got "
                    f"{one.truth}"
                )


# run folders --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Failed:
    """``failed.json``: why a picture could not be studied."""

    picture: str = setting(path_text)
    reason: str = setting(text)


@attrs.frozen(kw_only=True)
class ClassRecord:
    """A class of the detector, and the data set's id for it."""

    label: int = setting(LABEL)
    name: str = setting(text)
    id: Any = setting(anything, None)


@attrs.frozen(kw_only=True)
class RunData:
    """The data set that a run studies."""

    source: str = setting(path_text)
    annotated: bool = setting(flag)
    classes: tuple[ClassRecord, ...] = parts(ClassRecord)
    pictures: dict[str, str] = setting(mapping(text, key=folder_name))
    missing: tuple[str, ...] = setting(tuple_of(path_text), ())
    notes: tuple[str, ...] = setting(tuple_of(text), ())
    class_map: dict[str, str] = setting(mapping(text), attrs.Factory(dict))


@attrs.frozen(kw_only=True)
class RunRecord:
    """``run.json``: what a run studies, and how."""

    version: str = setting(text)
    detector: str = setting(text)
    data: RunData = part(RunData, required=True)
    settings: StudySettings = part(StudySettings, required=True)


# evaluations --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SetCurve:
    """A curve of average precision over a whole set, as files state it."""

    direction: Literal["insertion", "deletion"] = setting(one_of("insertion", "deletion"))
    protocol: dict[str, Any] = setting(mapping())
    area: float = setting(number())
    ap50_area: float = setting(number())
    fraction: list[float] = setting(many(number()))
    ap: list[float] = setting(many(number()))
    ap50: list[float] = setting(many(number()))
    n_pictures: int = setting(whole(0), 0)
    n_boxes: int = setting(whole(0), 0)
    left_out: list[dict[str, Any]] = setting(many(mapping()), attrs.Factory(list))

    def __attrs_post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("fraction", "ap", "ap50")}
        if len(set(lengths.values())) > 1 or not self.fraction:
            raise InputError(f"fraction: wanted as many values of each, got {lengths}")
        text("protocol.name", self.protocol.get("name"))
