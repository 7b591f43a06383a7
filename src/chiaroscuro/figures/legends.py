"""What the colours of a map mean, as plain JSON values for a page."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures.colours import SIGNED, Scale, sides
from chiaroscuro.metrics.difference import MapDifference

_ANSWER = "the detector's answer"
_OF_DRISE = sides(None, _ANSWER)
MAP_WORDS = Scale(name=SIGNED, low=-1.0, high=1.0).words(*_OF_DRISE)  # for many maps at once


def map_legend(scale: Scale, of: Explanation) -> dict[str, Any]:
    """A map's legend: ``Scale.legend`` with ``words`` and the ``unit`` of its numbers."""
    words = scale.words(*sides(of.settings, _ANSWER), errors=bool(of.standard_error.any()))
    if scale.blank:
        words = "Nothing on this map stands out from chance."
    return {**scale.legend(), "words": words, "unit": of.meaning}


def difference_scale(difference: MapDifference) -> Scale:
    """The scale of a difference in standard errors, clear up to the limit."""
    return replace(Scale.of(difference.in_errors), threshold=difference.limit)


def difference_legend(difference: MapDifference, names: Sequence[str]) -> dict[str, Any]:
    """The legend of the difference of two detectors' maps."""
    scale = difference_scale(difference)
    words = scale.words(f"{names[1]} relies on it more", f"{names[0]} does", errors=False)
    if not difference.known:
        words = "The standard error is not known, so no difference is shown."
    elif scale.blank:
        words = "Nothing differs beyond chance."
    return {**scale.legend(), "words": words, "unit": "standard errors of the difference"}


def average_legend(scale: Scale, n_targets: int) -> dict[str, Any]:
    """The legend of the average map of so many targets."""
    words = scale.words(*_OF_DRISE)
    if n_targets < 2:
        words = "A single target has no standard error over targets, so nothing is shown."
    elif scale.blank:
        words = "Nothing stands out from the standard error over targets."
    return {**scale.legend(), "words": words, "unit": "mean share of each map's highest value"}
