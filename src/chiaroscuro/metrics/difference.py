"""The difference of two maps of one target, where it is more than chance."""

from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.metrics.maps import usable_map

FALSE_POSITIVES = 0.05  # probability that anything at all is shown where two maps are alike


@dataclass(frozen=True, slots=True, eq=False)
class MapDifference:
    """The second map minus the first, each divided by its highest value.

    Attributes:
        values: ``height width``, shares of the highest value.
        standard_error: of the values; 0 everywhere for methods that know none.
        limit: standard errors that a value must exceed to be more than chance.
    """

    values: Float[Tensor, "height width"]
    standard_error: Float[Tensor, "height width"]
    limit: float

    @property
    def in_errors(self) -> Float[Tensor, "height width"]:
        """The values over their standard error, 0 where they may be chance.

        Without a standard error nothing is known to be more than chance: 0 everywhere.
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

    A map has about as many independent values as its masks have cells, so chance would carry some
    of them past two standard errors. The limit is that of Bonferroni: over all cells, one picture
    in twenty shows anything where two maps differ by noise alone.

    The errors of both are taken for independent. Under the same masks they are not quite, and the
    difference is surer than stated.

    Args:
        first: raw map.
        second: raw map.
        first_error: its standard error.
        second_error: likewise.
        n_cells: of the masks, at least 1.

    Raises:
        InputError: as for ``pointing_game``.
    """
    size = (first.shape[0], first.shape[1])
    for one in (first, second, first_error, second_error):
        usable_map(one, size)
    tops = [max(float(one.max()), 1e-30) for one in (first, second)]
    known = bool(first_error.any()) and bool(second_error.any())
    error = torch.hypot(first_error / tops[0], second_error / tops[1])
    return MapDifference(
        values=second / tops[1] - first / tops[0],
        standard_error=error if known else torch.zeros_like(error),
        limit=NormalDist().inv_cdf(1 - FALSE_POSITIVES / 2 / max(1, n_cells)),
    )
