"""Plan: how targets are explained. One record, from the command line to the manifest.

Nothing here imports torch, so that ``--help`` appears at once.
"""

from typing import Any, Literal, TypedDict

import attrs

from chiaroscuro.core import limits
from chiaroscuro.core.checks import flag, many, mapping, maybe, number, path_text, text
from chiaroscuro.core.declared import part, setting
from chiaroscuro.core.errors import UnknownNameError

ESTIMATORS = ("surrogate", "centred", "paper")
FILLS = ("black", "mean", "blur")
AUTO: Literal["auto"] = "auto"
MAX_AUTO_PASSES = 5000  # at which automatic stopping gives up


def _estimator(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in ESTIMATORS:
        raise UnknownNameError(name, value, list(ESTIMATORS))
    return value


def _grid_size(name: str, value: Any) -> int | tuple[int, int]:
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, (list, tuple)):
        return int(limits.CELLS(name, value))
    rows, columns = many(limits.CELLS, 2)(name, value)
    return rows if rows == columns else (rows, columns)


def _names(name: str, value: Any) -> tuple[str, ...]:
    return tuple(many(text)(name, value))


def _fill(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        from chiaroscuro.core.pixels import checked_pixels

        return checked_pixels(name, value)
    if value not in (*FILLS, "image"):
        raise UnknownNameError(name, value, [*FILLS, "an image"])
    return value


@attrs.frozen(kw_only=True, eq=False)
class MaskDesign:
    """How masks are made and what they show where they hide.

    Attributes:
        grid_size: cells per side, or ``(rows, columns)``; cells take the picture's aspect.
        keep_probability: probability in (0, 1) that a cell is shown.
        antithetic: whether masks come in pairs, every second one the complement of the one before.
            Each mask alone is as likely as before, so maps mean the same and have less noise. Only
            with a keep probability of 0.5; the published masks are all independent.
        fill: what stands where a pixel is hidden: ``"black"``, ``"mean"`` (the picture's mean
            colour), ``"blur"`` (the picture, Gaussian-blurred beyond recognition), or an image
            ``3 height width``; read from a file, where only the word stands, ``"image"``.
        blur_sigma: of the fill ``"blur"``, in pixels; a sixteenth of the picture's longer side when
            None.

    Raises:
        InputError: on values of another kind or out of range; it names the setting.
        ImageError: on a fill image that is no picture.
        UnknownNameError: on a fill of another name.
    """

    grid_size: int | tuple[int, int] = setting(
        _grid_size, 16, typed=int, help="Mask cells per side."
    )
    keep_probability: float = setting(
        limits.KEEP_PROBABILITY, 0.5, help="Share of the picture that a mask shows."
    )
    antithetic: bool = setting(flag, True)
    fill: Any = setting(_fill, "black")
    blur_sigma: float | None = setting(maybe(number(0, ends=False)), None)

    @property
    def grid(self) -> tuple[int, int]:
        """Cells as ``(rows, columns)``."""
        if isinstance(self.grid_size, int):
            return self.grid_size, self.grid_size
        return self.grid_size

    @property
    def in_pairs(self) -> bool:
        """Whether mask ``2 k + 1`` is the complement of mask ``2 k``."""
        return self.antithetic and self.keep_probability == 0.5

    def __eq__(self, other: object) -> bool:
        """Whether two designs make the same masks and hide by the same fill."""
        if not isinstance(other, MaskDesign) or self.plain() != other.plain():
            return False
        pair = (self.fill, other.fill)
        if any(isinstance(fill, str) for fill in pair):
            return isinstance(self.fill, str) and self.fill == other.fill
        return bool(self.fill.shape == other.fill.shape and (self.fill == other.fill).all())

    def __hash__(self) -> int:
        return hash(str(self.plain()))

    def plain(self) -> dict[str, Any]:
        """As JSON values; of an image only the word. The inverse is ``read(MaskDesign, ...)``."""
        return {
            "grid_size": list(self.grid),
            "keep_probability": self.keep_probability,
            "antithetic": self.antithetic,
            "fill": self.fill if isinstance(self.fill, str) else "image",
            "blur_sigma": self.blur_sigma,
        }


@attrs.frozen(kw_only=True)
class Plan:
    """How targets are explained.

    Attributes:
        method: a name of ``METHODS``.
        estimator: of D-RISE: ``"surrogate"``, ``"centred"`` or ``"paper"``; see ``estimators``.
        n_passes: detector passes, all targets together. ``"auto"`` is, for D-RISE, until every
            target has reached ``fidelity``, at most 5000; for another method its own default, for
            every target again where targets cannot share passes.
        fidelity: wanted by D-RISE's ``"auto"``, in (0, 1).
        seed: whole number; the same seed gives the same map.
        design: fill, and of methods with masks their grid and keep probability.
        windows: of D-RISE: whether passes for maps are made in windows round the targets where that
            is cheaper and a certificate allows it, or all on the whole picture, where they serve
            boxes that are named later too.
        closeup: of D-RISE: whether every target has a close-up too, from masks whose cells fit it;
            its passes are made in a certified window, or else on the whole picture.
        batch_size: pictures per detector call; chosen from the picture's size when None.

    Raises:
        InputError: on a setting of another kind or out of range; it names the setting.
        UnknownNameError: on an estimator of another name.
    """

    method: str = setting(
        text,
        "drise",
        flags=("--method", "-m"),
        help="drise, or another to compare with it: search, rise, occlusion, lime, kernelshap "
        "(any detector); saliency, gradient-x-input, smoothgrad, integrated-gradients, "
        "guided-backprop, excitation-backprop, cam, gradcam, gradcam++, smooth-gradcam++ "
        "(torch networks, such as -d retinaface or retinaface-paintings); attention (DETR).",
    )
    estimator: str = setting(
        _estimator,
        "surrogate",
        help="surrogate (fewest passes), centred (covariance of weight and mask) or paper "
        "(published sum).",
    )
    n_passes: int | Literal["auto"] = setting(
        limits.passes_or_auto,
        AUTO,
        metavar="N|auto",
        help="Detector passes per picture. auto: until every target has the wanted fidelity; with "
        "a method other than drise, what the method usually takes.",
    )
    fidelity: float = setting(
        limits.FIDELITY,
        0.9,
        help="Estimated correlation with the map of infinitely many masks at which auto stops.",
    )
    seed: int = setting(limits.SEED, 0, help="The same seed gives the same maps.")
    design: MaskDesign = part(MaskDesign)
    windows: bool = setting(
        flag,
        True,
        help="Make passes in windows round the targets, where that is cheaper and a few full "
        "passes show that it makes no difference.",
    )
    closeup: bool = setting(
        flag,
        False,
        help="Make a close-up of every target too: a map from masks whose cells fit its box.",
        shown_default=True,
    )
    batch_size: int | None = setting(
        limits.BATCH_SIZE, None, help="Pictures per detector call; chosen when not given."
    )


class PlanSettings(TypedDict, total=False):
    """Fields of :class:`Plan` as keyword arguments."""

    method: str
    estimator: str
    n_passes: int | Literal["auto"]
    fidelity: float
    seed: int
    design: MaskDesign | None
    windows: bool
    closeup: bool
    batch_size: int | None


def planned(plan: Plan | None, settings: PlanSettings) -> Plan:
    """A plan with some settings changed.

    Raises:
        As :class:`Plan` does.
    """
    changes: dict[str, Any] = dict(settings)
    if changes.get("design", ...) is None:
        del changes["design"]
    return attrs.evolve(plan or Plan(), **changes)


@attrs.frozen(kw_only=True)
class DetectorChoice:
    """What a detector was loaded with, so that it can be loaded again.

    Attributes:
        detector: what ``load_detector`` was given: a name, a path or ``module:function``.
        options: likewise.
    """

    detector: str = setting(path_text, "")
    options: dict[str, Any] = setting(mapping(), attrs.Factory(dict))


_MIN_SCORE_HELP = "Lowest score of a detection that counts as found."


@attrs.frozen(kw_only=True)
class Selection:
    """What is explained where no targets are given.

    Attributes:
        min_score: lowest score in [0, 1] of a detection that counts as found.
        target_class: of a detector with several classes: boxes are explained as this class, and
            found objects of other classes are left out.
    """

    min_score: float = setting(
        limits.SCORE,
        limits.MIN_SCORE,
        help=_MIN_SCORE_HELP,
    )
    target_class: str | None = setting(
        maybe(text),
        None,
        metavar="NAME",
        help="Of a detector with several classes: explain boxes as this class, and of the found "
        "objects this class only. Without it, a box over a found object takes its class.",
    )


@attrs.frozen(kw_only=True)
class _Reading:
    max_pixels: int = setting(
        limits.SIDE,
        limits.MAX_PIXELS,
        help="Pictures with more pixels are refused: a guard against decompression bombs.",
    )


@attrs.frozen(kw_only=True)
class Reading(_Reading):
    """How pictures are read.

    Attributes:
        max_side: larger pictures are reduced to this longer side in pixels; None keeps them.
        max_pixels: pictures with more are refused.
    """

    max_side: int | None = setting(
        limits.SIDE_OR_NONE,
        limits.MAX_SIDE,
        help="Larger pictures are reduced so that their longer side has this many pixels; 0 keeps "
        "their size. Boxes are always in the file's pixels.",
    )


TILES = "tiles"


@attrs.frozen(kw_only=True)
class TiledReading(_Reading):
    """How pictures are read where large ones may be searched in tiles.

    Attributes:
        max_side: as of :class:`Reading`; or ``"tiles"``: pictures keep their size, and are searched
            and explained in tiles of 1280 pixels where they are larger.
        max_pixels: pictures with more are refused.
    """

    max_side: int | Literal["tiles"] | None = setting(
        lambda name, value: TILES if value == TILES else limits.SIDE_OR_NONE(name, value),
        TILES,
        metavar="tiles|N",
        help=f"Pictures of more than {limits.TILE} pixels on their longer side: tiles searches and "
        "explains them in overlapping tiles of that size, at full size and at halves of it; a "
        "number reduces them to that longer side; 0 passes them whole at full size. Boxes are "
        "always in the file's pixels.",
    )


@attrs.frozen(kw_only=True)
class StudySettings:
    """How a collection is studied.

    Attributes:
        plan: how every picture is explained.
        min_score: as of :class:`Selection`.
        match_iou: minimum IoU, in (0, 1], for a detection to match an annotation.
        reading: how pictures are read.
        choice: what the detector was loaded with.
    """

    plan: Plan = part(Plan)
    min_score: float = setting(limits.SCORE, limits.MIN_SCORE, help=_MIN_SCORE_HELP)
    match_iou: float = setting(
        limits.MATCH_IOU, 0.5, help="Minimum IoU for a detection to match an annotation."
    )
    reading: Reading = part(Reading)
    choice: DetectorChoice = part(DetectorChoice)


@attrs.frozen(kw_only=True)
class EvaluationSettings:
    """What is measured of saved maps.

    Attributes:
        protocol: of the curves.
        baselines: whether maps that explain nothing are scored beside every map.
        methods: other methods whose maps of the same targets are made and scored beside.
        n_passes: of each of them, per picture; its own default with ``"auto"``.
        stability: whether maps of other seeds, fills and grids are made and compared; five times
            the passes of the explanation.
        randomisation: whether the detector's weights are shuffled and the maps made again; four
            times the passes of the explanation. Needs a torch network.
        batch_size: pictures per detector call.
        overwrite: whether figures of other settings in the folder are replaced, not refused.
    """

    protocol: str = setting(
        text,
        "chiaroscuro",
        flags=("--protocol", "-p"),
        help="How curves are made: chiaroscuro (blur grows with the box), painting (blur 51/50), "
        "rise, xplique, vxcode or odam. Figures of two protocols cannot be compared.",
    )
    baselines: bool = setting(
        flag,
        True,
        help="Score the box itself, a centred blob, edges and noise beside every map, for five "
        "times the passes.",
    )
    methods: tuple[str, ...] = setting(_names, ())
    n_passes: int | Literal["auto"] = setting(
        limits.passes_or_auto,
        AUTO,
        metavar="N|auto",
        help="Detector passes of each other method per picture. auto: for black-box methods, as "
        "many as the saved map took (per target, where targets cannot share them); for white-box "
        "methods, what they usually take.",
    )
    stability: bool = setting(
        flag,
        False,
        help="Compare with maps of another seed, other fills and other grids: five more "
        "explanations.",
    )
    randomisation: bool = setting(
        flag,
        False,
        help="Compare with maps of the detector with shuffled weights: four more explanations. "
        "Needs a torch network, such as -d retinaface.",
    )
    batch_size: int | None = setting(
        limits.BATCH_SIZE, None, help="Pictures per detector call; chosen when not given."
    )
    overwrite: bool = setting(
        flag, False, help="Replace figures of other settings or maps in the folder."
    )
