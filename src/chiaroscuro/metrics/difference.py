"""The significant difference of two maps of one target."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.metrics.maps import usable_map
from chiaroscuro.store.schema import MapSettings

FALSE_POSITIVES = 0.05  # probability that anything is shown where two maps are alike


@dataclass(frozen=True, slots=True, eq=False)
class MapDifference:
    """The second map minus the first, each divided by its highest value.

    Attributes:
        values: ``height width``, shares of the highest value.
        standard_error: of the values; 0 everywhere for methods without one.
        limit: standard errors that a significant value must exceed.
    """

    values: Float[Tensor, "height width"]
    standard_error: Float[Tensor, "height width"]
    limit: float

    @property
    def known(self) -> bool:
        """Whether there is a standard error."""
        return bool(self.standard_error.any())

    @property
    def in_errors(self) -> Float[Tensor, "height width"]:
        """The values over their standard error, 0 where they are not significant.

        Without a standard error nothing is significant: 0 everywhere.
        """
        known = self.standard_error > 0
        ratio = torch.where(known, self.values / self.standard_error.clamp(min=1e-30), 0)
        return torch.where(ratio.abs() > self.limit, ratio, 0)


def map_difference(
    first: Float[Tensor, "height width"],
    second: Float[Tensor, "height width"],
    first_error: Float[Tensor, "height width"],
    second_error: Float[Tensor, "height width"],
    n_cells: int,
) -> MapDifference:
    """Compare two maps.

    Among so many pixels, chance alone carries some values past two standard errors. The limit is
    that of random field theory (Worsley et al. 1996, for maps of the brain): a map is a smooth
    field with as many resolution elements as its masks have cells, and where two maps differ by
    noise alone, one picture in twenty shows anything.

    The errors of both maps, and of their highest values, are treated as independent. Under the same
    masks they are not quite, and the true error is smaller than stated.

    Args:
        first: raw map.
        second: raw map.
        first_error: its standard error.
        second_error: likewise.
        n_cells: of the masks, at least 1; see ``n_cells_of``.

    Raises:
        InputError: as for ``pointing_game``.
    """
    size = (first.shape[0], first.shape[1])
    for one in (first, second, first_error, second_error):
        usable_map(one, size)
    shares, errors = zip(
        *(_share_of_top(*one) for one in ((first, first_error), (second, second_error))),
        strict=True,
    )
    known = bool(first_error.any()) and bool(second_error.any())
    return MapDifference(
        values=shares[1] - shares[0],
        standard_error=torch.hypot(*errors) if known else torch.zeros_like(first),
        limit=significance_limit(n_cells),
    )


def n_cells_of(settings: MapSettings) -> int:
    """Cells of the masks behind an explanation."""
    rows, columns = settings.design.grid
    return rows * columns


def significance_limit(n_cells: int, false_positives: float = FALSE_POSITIVES) -> float:
    """Standard errors that noise exceeds somewhere in a smooth map with a given probability.

    The expected Euler characteristic of a Gaussian field of ``n_cells`` resolution elements on a
    square, both signs, solved by bisection.
    """
    across = math.sqrt(max(1, n_cells))

    def expected(limit: float) -> float:
        bell = math.exp(-(limit**2) / 2)
        area = across**2 * 4 * math.log(2) / math.sqrt(2 * math.pi) ** 3 * limit * bell
        edge = 2 * across * math.sqrt(4 * math.log(2)) / (2 * math.pi) * bell
        corner = math.erfc(limit / math.sqrt(2)) / 2
        return 2 * (area + edge + corner)

    low, high = 1.0, 40.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) > false_positives else (low, middle)
    return high


def _share_of_top(values: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """A map divided by its highest value, and the standard error of that."""
    top = max(float(values.max()), 1e-30)
    of_top = float(error.flatten()[values.argmax()]) / top
    share = values / top
    return share, torch.hypot(error / top, share * of_top)
