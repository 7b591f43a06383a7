"""Every metric of ``evaluate``, as data."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from chiaroscuro.core.records import Target
from chiaroscuro.metrics import localisation

Need = Literal["map", "box", "detector", "truth", "evidence", "weights"]
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: as in columns and commands.
        title: in a few words.
        better: the direction that is good.
        low: the smallest possible value.
        high: the largest.
        needs: what it is computed from.
        source: where it comes from.
        of_map: its function, where a map and a box are enough; else None.
    """

    name: str
    title: str
    better: Better = "higher"
    low: float | int = 0
    high: float | int = 1
    needs: tuple[Need, ...] = ("map", "box")
    source: str
    of_map: Callable[[Tensor, Target], float | bool] | None = None

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        described = {**asdict(self), "needs": list(self.needs)}
        del described["of_map"]
        return described


_RISE = "Petsiuk et al. 2018, arXiv:1806.07421, section 4.2"
_VAGO = "Pinciroli Vago et al. 2021, J. Imaging 7(7):106"
_CURVES: tuple[Need, ...] = ("map", "box", "detector")
_DIRECTIONS: tuple[tuple[str, Better, str], ...] = (
    ("insertion", "higher", "inserted"),
    ("deletion", "lower", "deleted"),
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(
            Metric(
                name=direction,
                title=f"area under IoU x score as salient pixels are {word}",
                better=better,
                needs=_CURVES,
                source=_RISE,
            )
            for direction, better, word in _DIRECTIONS
        ),
        Metric(
            name="overall",
            title="insertion minus deletion",
            low=-1,
            needs=_CURVES,
            source="Yamauchi et al. 2026, arXiv:2412.00666",
        ),
        Metric(
            name="insertion_start",
            title="IoU x score before any pixel is inserted; above 0, the blur hides too little",
            better="lower",
            needs=("box", "detector"),
            source="ours",
        ),
        *(
            Metric(
                name=f"{direction}_{part}",
                title=f"the area of {direction} under the {words} alone",
                better=better,
                needs=_CURVES,
                source=_RISE,
            )
            for direction, better, _ in _DIRECTIONS
            for part, words in (("iou", "IoU"), ("score", "score"))
        ),
        Metric(
            name="pointing_game",
            title="whether the map's maximum lies in the box",
            source="Zhang et al. 2018, arXiv:1608.00507, section 4.1",
            of_map=localisation.pointing_game,
        ),
        Metric(
            name="pointing_game_15px",
            title="whether the map's maximum lies in the box or within 15 pixels of it",
            source="Zhang et al. 2018, arXiv:1608.00507, section 4.1",
            of_map=partial(localisation.pointing_game, tolerance_px=15.0),
        ),
        Metric(
            name="energy_pointing_game",
            title="share of the positive evidence in the box",
            source="Wang et al. 2020, arXiv:1910.01279, section 4.3",
            of_map=localisation.energy_pointing_game,
        ),
        Metric(
            name="map_iou",
            title="IoU of the box with the map above half of its maximum",
            source="Zhou et al. 2016, arXiv:1512.04150, section 3.2",
            of_map=localisation.map_iou,
        ),
        Metric(
            name="box_coverage",
            title="share of the box above half of the map's maximum",
            source=_VAGO,
            of_map=localisation.box_coverage,
        ),
        Metric(
            name="irrelevant_attention",
            title="share of what is above half of the maximum that lies outside the box",
            better="lower",
            source=_VAGO,
            of_map=localisation.irrelevant_attention,
        ),
        *(
            Metric(
                name=f"collection_{direction}",
                title=f"area under the set's average precision as salient pixels are {word}",
                better=better,
                needs=("map", "detector", "truth"),
                source="Bengamra et al. 2023, figure 9",
            )
            for direction, better, word in _DIRECTIONS
        ),
        Metric(
            name="stability",
            title="correlation with the map of another seed, fill or grid",
            low=-1,
            needs=("map", "box", "detector", "evidence"),
            source="ours; the concern is that of Bengamra et al. 2023",
        ),
        Metric(
            name="randomisation",
            title="correlation with the map of the detector with shuffled weights",
            better="lower",
            low=-1,
            needs=("map", "box", "evidence", "weights"),
            source="Adebayo et al. 2018, arXiv:1810.03292, section 3.1",
        ),
    )
}
