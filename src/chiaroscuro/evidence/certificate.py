"""Certificate: whether passes in a window may stand for passes on the whole picture.

Both are run under the same masks, and the weights compared. What is wanted is their correlation
over all masks; a few show it only with an uncertainty, so the certificate rests on a lower bound.

The bound is by Fisher's transformation (Fisher 1921): ``atanh(r)`` has a standard error of
``1 / sqrt(n - 3)`` for ``n`` pairs of normal variables. Weights are not normal: a face that is
barely seen has a weight under a few masks and next to none under the others, and those few masks
decide. So ``n`` is the number of masks that the weights' variance rests on, ``(sum d^2)^2 / sum
d^4`` times the kurtosis 3 of normal variables, and no more than there are. How rare such masks are
is known from all passes in the window, which are many more than the full ones.
"""

import math

from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.evidence.estimators import n_answers
from chiaroscuro.store.schema import Certificate

LEAST = 0.95  # correlation of weights that a window must have
SLOPES = (0.8, 1.25)  # of full weights over the window's: beyond, the map's units would be wrong
LOOKS = (8, 12, 16, 24, 32, 48, 64)  # full passes after which a certificate is looked at
FEW_LOOKS = 16  # full passes after which a wider window is the better bet
RARE_FROM = 64  # passes in a window from which it is known how rare telling masks are
_SURE = 2.33  # standard errors: 99 % on one side
_NORMAL_KURTOSIS = 3.0


def certificate(full: Float32[Tensor, " n"], window: Float32[Tensor, " m"]) -> Certificate:
    """How well weights of one target in a window agree with those of full passes.

    Args:
        full: weights in [0, 1] of full passes, under the first masks.
        window: of passes in the window, under these masks and further ones.
    """
    n = len(full)
    a, b = full.double(), window[:n].double()
    rare = min(1.0, _NORMAL_KURTOSIS * n_answers(window) / max(len(window), 1))
    telling = min(_NORMAL_KURTOSIS * min(n_answers(full), n_answers(window[:n])), n * rare)
    a_off, b_off = a - a.mean(), b - b.mean()
    lengths = float(a_off.norm() * b_off.norm())
    correlation = float(a_off @ b_off) / lengths if lengths > 0 else 0.0
    low, high = -1.0, 1.0
    if telling > 3:
        reach = _SURE / math.sqrt(telling - 3)
        centre = math.atanh(min(max(correlation, -1.0), 1.0) * (1 - 1e-6))
        low, high = math.tanh(centre - reach), math.tanh(centre + reach)
    apart = b - a
    return Certificate(
        correlation=correlation,
        low=low,
        high=high,
        slope=float(a_off @ b_off / b_off.square().sum()) if lengths > 0 else 0.0,
        bias=float(apart.mean()) if n else 0.0,
        bias_error=float(apart.std()) / math.sqrt(n) if n > 1 else 1.0,
        n_masks=n,
    )


def holds(one: Certificate) -> bool:
    """Whether the window may be used."""
    return one.low >= LEAST and SLOPES[0] <= one.slope <= SLOPES[1]


def fails(one: Certificate) -> bool:
    """Whether more masks would hardly let it be used."""
    return one.high < LEAST or (one.correlation < LEAST and one.n_masks >= FEW_LOOKS)
