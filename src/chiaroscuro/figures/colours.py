"""From values to colours: the only place where a map is scaled.

The default scale is ``signed``: blue for evidence against, vermilion for evidence in favour, zero
in the middle, so that a colour never means the other sign. Both colours have the same lightness.
The opacity shows the amount: clear at zero, strong at the largest value that stands out from its
standard error. Values that do not stand out are clear. Blue and vermilion differ for people with
every common form of colour blindness (Okabe and Ito, 2008).

``paper`` is the blue to red of Bengamra et al. 2023. Any colour map of matplotlib is accepted too.
Their colours are full, and the legend shows where zero lies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from matplotlib.colors import Colormap, ListedColormap
from torch import Tensor

from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.store.schema import MapSettings

SIGNED, PAPER = "signed", "paper"
OTHERS = ("viridis", "coolwarm")  # those of matplotlib's that lists of choices name
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours of curves: the set of Okabe and Ito, safe for colour-blind readers."""

SUPPORTED = 2.0  # standard errors that a value must exceed to be shown
LEGEND_GROUND = "#6b6b6b"  # a mid grey, as of a picture under a map
Sign = Literal["all", "positive", "negative"]
SIGNS: tuple[Sign, ...] = ("all", "positive", "negative")

RAISES, LOWERS = "#e4572e", "#2e86ff"  # of equal lightness in OKLab
_MEASURE_SHOWING = frozenset(("drise", "rise", "occlusion", "lime", "kernelshap"))
_OPACITY = 0.85  # of the strongest colours
_DIVERGING = (SIGNED, "coolwarm", "bwr", "seismic", "RdBu_r", "berlin", "managua", "vanimo")
_LEGEND_STOPS = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a colour means on one map.

    Attributes:
        name: ``"signed"``, ``"paper"`` or a colour map of matplotlib.
        low: value of the lowest colour.
        high: value of the highest colour.
        sign: which evidence is shown; the rest is clear.
        threshold: absolute values below it are clear.
        below: whether the map has values below ``low``, which take the lowest colour.
        blank: whether no value of the map stands out, so that nothing is shown.
    """

    name: str
    low: float
    high: float
    sign: Sign = "all"
    threshold: float = 0.0
    below: bool = False
    blank: bool = False

    @classmethod
    def of(
        cls,
        values: Float[Tensor, "height width"],
        standard_error: Float[Tensor, "height width"] | None = None,
        name: str = SIGNED,
        *,
        sign: Sign = "all",
        threshold: float | int = 0.0,
    ) -> "Scale":
        """The scale of a map.

        Zero is on every scale; on ``signed`` and diverging colour maps it is in the middle. On any
        other, the high end is the highest value, and the low end is at most a quarter of it below
        zero. The ends are those of the values that stand out, where any do.

        Args:
            values: of the map, raw.
            standard_error: of the values; None, or 0 everywhere, for a method that knows none.
            name: of the colours.
            sign: which evidence is shown.
            threshold: share of the largest absolute value shown, in [0, 1], below which a pixel
                is clear.

        Raises:
            UnknownNameError: if matplotlib has no such colours.
        """
        check_colours(name)
        shown = _of_sign(values.double().numpy(), sign)
        supported = shown[_support(values.double().numpy(), _noise(standard_error)) > 0]
        blank = not supported.any()
        if blank:
            supported = shown
        low, high = min(float(supported.min()), 0.0), max(float(supported.max()), 0.0)
        most = max(high, -low)
        below = False
        if name in _DIVERGING:
            low, high = -most, most
        elif high > 0 and low < -high / 4:
            low, below = -high / 4, True
        if low == high:
            low, high = (-1.0, 1.0) if name in _DIVERGING else (0.0, 1.0)
        return cls(
            name=name,
            low=low,
            high=high,
            sign=sign,
            threshold=threshold * most,
            below=below,
            blank=blank,
        )

    def rgba(
        self,
        values: npt.NDArray[np.float64],
        standard_error: npt.NDArray[np.float64] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Colours of values: ``... 4``, in [0, 1]; clear where nothing is to be shown."""
        place = ((values - self.low) / (self.high - self.low)).clip(0, 1)
        colours: npt.NDArray[np.float64] = np.array(_colour_map(self.name)(place))
        opacity = _OPACITY * _support(values, standard_error)
        if self.name == SIGNED:
            opacity *= (np.abs(values) / self.high).clip(0, 1)
        opacity *= _of_sign(values, self.sign) != 0 if self.sign != "all" else 1
        opacity *= np.abs(values) >= self.threshold
        colours[..., 3] = opacity
        return colours

    def of_map(
        self,
        values: Float[Tensor, "height width"],
        standard_error: Float[Tensor, "height width"] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Colours of a map: ``height width 4``."""
        return self.rgba(values.double().numpy(), _noise(standard_error))

    def ramp(self, n: int = 256) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Values from the lowest to the highest shown, and their colours ``n 4``: the legend."""
        low = 0.0 if self.sign == "positive" else self.low
        high = 0.0 if self.sign == "negative" else self.high
        values = np.linspace(low, high, n)
        return values, self.rgba(values)

    def words(self, favour: str, against: str, *, errors: bool = True) -> str:
        """What the colours mean, in sentences.

        Args:
            favour: what a value above zero means, such as "showing it raises the answer".
            against: what a value below zero means.
            errors: whether values that do not stand out from their standard error are clear.
        """
        names = {SIGNED: ("Vermilion", "blue")}
        above, below = names.get(self.name, ("Above zero", "below zero"))
        meaning = {
            "all": f"{above}: {favour}; {below}: {against}",
            "positive": f"{above}: {favour}",
            "negative": f"{below.capitalize()}: {against}",
        }[self.sign]
        clear = [f"within {SUPPORTED:g} standard errors of zero"] if errors else []
        if self.threshold:
            clear.append(f"less than {value_text(self.threshold).lstrip('+')} from zero")
        return f"{meaning}. Clear: {', or '.join(clear)}." if clear else f"{meaning}."

    def legend(self) -> dict[str, Any]:
        """The scale as plain JSON values, for a page.

        Returns:
            ``low`` and ``high`` with their texts, the ``threshold`` in the same units, whether
            the map is ``blank``, ``zero`` as its position on the strip in percent, and the
            ``gradient``: CSS colours from the lowest to the highest, for a grey ground.
        """
        values, colours = self.ramp(_LEGEND_STOPS)
        low, high = float(values[0]), float(values[-1])
        stops = (
            f"rgb({r:z.0f} {g:z.0f} {b:z.0f} / {a:z.2f})"
            for r, g, b, a in colours * np.array([255, 255, 255, 1])
        )
        return {
            "low": low,
            "high": high,
            "low_text": f"{'≤ ' if self.below else ''}{value_text(low)}",
            "high_text": value_text(high),
            "zero": 100 * -low / (high - low),
            "threshold": self.threshold,
            "blank": self.blank,
            "gradient": f"linear-gradient(90deg, {', '.join(stops)})",
        }


def value_text(value: float) -> str:
    """A value of a map in two digits, with its sign; never a minus zero."""
    return "0" if value == 0 else f"{value:+.2g}".replace("-", "−")


def names() -> Sequence[str]:
    """Colours to choose from, the default first."""
    return (SIGNED, PAPER, *OTHERS)


def sides(settings: MapSettings | None, answer: str = "the weight") -> tuple[str, str]:
    """What a value above zero means on a map, and what a value below zero means.

    Only some methods measure what showing a part does to the answer. For gradients, activations,
    ranks and sums of masks, a value is known to be above or below zero and no more.

    Args:
        settings: of the explanation: its method and estimator; None for D-RISE.
        answer: what showing a part raises, in words.
    """
    measured = settings is None or settings.method in _MEASURE_SHOWING
    if measured and (settings is None or settings.estimator != "paper"):
        return f"showing it raises {answer}", "showing it lowers it"
    return "above zero, in the map's own unit", "below zero"


def check_colours(name: str) -> None:
    """Raise UnknownNameError if no colours have that name."""
    _colour_map(name)


def laid_over(
    ground: npt.NDArray[np.floating], colours: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Colours ``... 4`` over an opaque ground ``... 3``; all in [0, 1]."""
    opacity = colours[..., 3:]
    laid: npt.NDArray[np.float64] = ground * (1 - opacity) + colours[..., :3] * opacity
    return laid


def greyed(pixels: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """A picture without its colours, ``height width 3``, so that every colour is the map's."""
    luminance = pixels @ np.array([0.2126, 0.7152, 0.0722])
    grey: npt.NDArray[np.float64] = np.repeat(luminance[..., None], 3, axis=-1)
    return grey


def _of_sign(values: npt.NDArray[np.float64], sign: Sign) -> npt.NDArray[np.float64]:
    return {"all": values, "positive": values.clip(min=0), "negative": values.clip(max=0)}[sign]


def _noise(standard_error: Tensor | None) -> npt.NDArray[np.float64] | None:
    if standard_error is None or not bool(standard_error.any()):
        return None
    noise: npt.NDArray[np.float64] = standard_error.double().numpy()
    return noise


def _support(
    values: npt.NDArray[np.float64], noise: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    """1 where a value stands out from its error, 0 where it does not, a short slope between."""
    if noise is None:
        return np.ones_like(values)
    in_errors = np.abs(values) / np.maximum(noise, 1e-300)
    return (in_errors - SUPPORTED).clip(0, 1)


def _colour_map(name: str) -> Colormap:
    if name == SIGNED:
        return ListedColormap([LOWERS, RAISES], name=SIGNED)
    if name == PAPER:
        return matplotlib.colormaps["jet"]
    if name not in matplotlib.colormaps:
        raise UnknownNameError("colours", name, list(names()))
    return matplotlib.colormaps[name]
