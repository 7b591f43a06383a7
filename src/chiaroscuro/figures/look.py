"""How figures look: colours, ground, contours, and which evidence is shown."""

from dataclasses import dataclass
from typing import Any, cast

from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.figures.colours import SIGNED, SIGNS, Scale, Sign, check_colours
from chiaroscuro.metrics.maps import usable_map

TARGET_COLOUR = "#39ff14"
PROPOSAL_COLOUR = "#f2f2f2"  # no colour, since blue and vermilion are the maps'


@dataclass(frozen=True, slots=True)
class Ground:
    """Colours of a figure around its pictures."""

    page: str
    ink: str
    quiet: str


GROUNDS = {
    "dark": Ground("#16181c", "#f2f2f2", "#a9adb5"),
    "light": Ground("#ffffff", "#15171a", "#555b66"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How figures look.

    Attributes:
        colours: ``"signed"`` (blue against, vermilion in favour), ``"paper"`` (the seed paper's
            blue to red), or a colour map of matplotlib.
        ground: ``"dark"``, or ``"light"`` for papers.
        contours: lines at a quarter, half and three quarters of the scale in place of colours, for
            print: solid in favour, dashed against.
        sign: which evidence is shown: ``"all"``, ``"positive"`` or ``"negative"``.
        threshold: share of the largest absolute value shown, in [0, 1], below which a pixel is
            clear.

    Raises:
        UnknownNameError: if there are no colours, ground or sign of that name.
    """

    colours: str = SIGNED
    ground: str = "dark"
    contours: bool = False
    sign: str = "all"
    threshold: float | int = 0.0

    def __post_init__(self) -> None:
        check_colours(self.colours)
        if self.ground not in GROUNDS:
            raise UnknownNameError("ground", self.ground, list(GROUNDS))
        if self.sign not in SIGNS:
            raise UnknownNameError("sign", self.sign, list(SIGNS))

    def scale(self, saliency: Any, standard_error: Any = None) -> Scale:
        """The scale of a map in this look.

        Args:
            saliency: ``height width``, raw values: a tensor, a NumPy array or lists.
            standard_error: of the values; None, or 0 everywhere, for a method that knows none.

        Raises:
            InputError: if they are no maps.
        """
        return Scale.of(
            usable_map(saliency),
            None if standard_error is None else usable_map(standard_error),
            self.colours,
            sign=cast("Sign", self.sign),
            threshold=self.threshold,
        )


DEFAULT_LOOK = Look()
