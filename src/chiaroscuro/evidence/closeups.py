"""Close-ups: masks whose cells fit the face, so that a map says what in the face matters.

Masks cover the box and what is near it; all else is shown. Their cells are a fifth of the box, and
what they hide is blurred, not black: black cells of that size leave a detector next to nothing. A
few passes tell whether such masks fit. A face that is hardly seen through them gets larger cells,
or more of them shown; one that is seen whatever they hide gets a stronger blur. The detector is
shown a certified window round the face, or else the whole picture.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.plan import AUTO, MaskDesign
from chiaroscuro.core.windows import Window
from chiaroscuro.evidence.recording import Recorder

if TYPE_CHECKING:
    from chiaroscuro.evidence.observation import Observation

AROUND = 1.0  # of the box's size: how far round the box masks reach


@dataclass(frozen=True, slots=True)
class Fit:
    """How masks fit a box.

    Attributes:
        cells: across the box.
        keep: probability that one is shown.
        blur: sigma of what stands where a pixel is hidden, in box sizes.
    """

    cells: float = 5.0
    keep: float = 0.5
    blur: float = 1 / 3


USUAL = Fit()
HIDES_MORE = Fit(blur=1.0)
HIDE_LESS = (Fit(cells=4.0), Fit(cells=3.0), Fit(cells=3.0, keep=0.7))
FIRST_MASKS = 32  # by which it is seen whether masks fit
LEAST_SEEN, MOST_SEEN = 0.05, 0.65  # mean weight that is left where they do
MOST_MASKS = 600  # at which automatic stopping gives up
_EXPECTED_MASKS = 250  # by automatic stopping, before anything is known


def make_closeups(observation: "Observation") -> None:
    """Make the passes of a close-up of every target."""
    n = observation.plan.n_passes
    expected = _EXPECTED_MASKS if n == AUTO else n
    areas = [area_round(target.box, observation.size) for target in observation.targets]
    windows = _windows(observation, areas)
    shares = [1.0 if one is None else observation.share(one) for one in windows]
    for number, (area, window) in enumerate(zip(areas, windows, strict=True)):
        observation.later = expected * sum(shares[number + 1 :])
        _make(observation, number, area, window)
    observation.later = 0.0


def _windows(observation: "Observation", areas: list[Window]) -> list[Window | None]:
    """The window of every target's close-up; those that all full passes tell of still hold."""
    if not observation.may_be_seen_in_parts:
        return [None] * len(areas)
    for number, area in enumerate(areas):
        observation.window_for(number, area)  # further full passes, which serve all
    return [observation.window_for(number, area) for number, area in enumerate(areas)]


def _make(observation: "Observation", number: int, area: Window, window: Window | None) -> None:
    """Find out which masks fit a face, and make their passes."""
    target, n = observation.targets[number], observation.plan.n_passes
    first = FIRST_MASKS if n == AUTO else min(FIRST_MASKS, n)

    def tried(fit: Fit) -> tuple[Recorder, float]:
        design = design_for(target.box, area, fit)
        recorder = observation.close_up(number, area, window, design)
        observation.advance(recorder, first)
        weights = recorder.evidence().first(first).weights([target])
        return recorder, float(weights.mean())

    recorder, seen = tried(USUAL)
    if seen > MOST_SEEN:
        recorder, _ = tried(HIDES_MORE)
    for fit in HIDE_LESS if seen < LEAST_SEEN else ():
        recorder, seen = tried(fit)
        if seen >= LEAST_SEEN:
            break

    def fidelity() -> tuple[float, ...]:
        made = observation.seen().closeup(target)
        return (math.nan if made is None else made.fidelity,)

    observation.go_on(recorder, fidelity, MOST_MASKS)


def area_round(box: Tensor, size: tuple[int, int]) -> Window:
    """What the masks of a box's close-up cover, in a picture of that height and width."""
    x1, y1, x2, y2 = box.tolist()
    around = AROUND * float(boxes.area(box).sqrt())
    height, width = size
    return Window(
        max(0, math.floor(x1 - around)),
        max(0, math.floor(y1 - around)),
        min(width, math.ceil(x2 + around)),
        min(height, math.ceil(y2 + around)),
    )


def design_for(box: Tensor, area: Window, fit: Fit) -> MaskDesign:
    """Masks of an area whose cells are a part of the box's size."""
    size = float(boxes.area(box).sqrt())
    rows, columns = (max(2, min(side, round(fit.cells * side / size))) for side in area.size)
    return MaskDesign(
        grid_size=(rows, columns),
        keep_probability=fit.keep,
        fill="blur",
        blur_sigma=max(fit.blur * size, 1.0),
    )
