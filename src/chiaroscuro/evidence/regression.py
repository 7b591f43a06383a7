"""Bayesian linear regression of answers ``y`` on features ``x`` of independent unknowns.

The unknowns have a Gaussian prior of equal variance, the answers Gaussian noise; the ratio of the
two variances and the noise are those of highest marginal likelihood. See ``surrogate`` for its use.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

UNSURE = 50  # answers at which the choice of the prior adds as much variance as the noise
RATIOS = torch.logspace(-4, 5, 46, dtype=torch.float64)  # of prior to noise variance


def log_evidence(
    x: Float64[Tensor, "n unknowns"], y: Float64[Tensor, " n"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log marginal likelihood at every ratio of prior to noise variance.

    The noise variance is the best one at each ratio (Rasmussen and Williams, equation 5.8); it is
    returned too, with the eigenvalues and vectors of ``x @ x.T``.
    """
    values, vectors = torch.linalg.eigh(x @ x.T)
    values = values.clamp(min=0)
    spectrum = values[:, None] * RATIOS + 1
    noise = ((vectors.T @ y).square() @ (1 / spectrum) / len(y)).clamp(min=1e-12)
    return -0.5 * (spectrum.log().sum(0) + len(y) * noise.log()), noise, values, vectors


@dataclass(frozen=True, slots=True)
class Learnt:
    """Posterior of the unknowns.

    Attributes:
        mean: of the unknowns.
        halves: ``unknowns 2``: the same from every second answer alone, and from the others.
        n: number of answers.
        noise: variance of an answer that the model does not explain.
        gain: log marginal likelihood over that of noise alone.
        spread: variance of linear functions ``unknowns n`` of the unknowns, over ``noise``.
    """

    mean: Float64[Tensor, " unknowns"]
    halves: Float64[Tensor, "unknowns 2"]
    n: int
    noise: float
    gain: float
    spread: Callable[[Tensor], Tensor]

    def variance(self, functions: Float64[Tensor, "unknowns n"]) -> Float64[Tensor, " n"]:
        """Posterior variance of linear functions of the unknowns."""
        return (self.noise * self.spread(functions)).clamp(min=0)

    def judge(self, functions: Float64[Tensor, "unknowns n"]) -> tuple[float, float]:
        """Expected correlation, in [0, 1], of the functions' posterior means with the truth.

        By the posterior, and by the agreement of both halves of the answers.
        """
        signal = float((functions.T @ self.mean).square().sum())
        noise = float(self.variance(functions).sum())
        if signal <= 0:
            return 0.0, 0.0
        first, second = (functions.T @ self.halves).T
        lengths = float(first.norm() * second.norm())
        alike = max(0.0, float(first @ second) / lengths) if lengths > 0 else 0.0
        noise *= 1 + UNSURE / self.n
        return math.sqrt(signal / (signal + noise)), math.sqrt(2 * alike / (1 + alike))


def from_contrasts(x: Float64[Tensor, "n unknowns"], y: Float64[Tensor, " n"]) -> Learnt:
    """The posterior by as many equations as there are answers."""
    likelihood, noises, values, vectors = log_evidence(x, y)
    best = int(likelihood.argmax())
    ratio = float(RATIOS[best])

    def mean(x: Tensor, y: Tensor) -> Tensor:
        system = ratio * (x @ x.T)
        system.diagonal().add_(1)
        solved: Tensor = ratio * (x.T @ torch.linalg.solve(system, y))
        return solved

    seen = ratio / (ratio * values + 1).sqrt()[:, None] * (vectors.T @ x)
    return Learnt(
        mean=mean(x, y),
        halves=torch.stack([mean(x[0::2], y[0::2]), mean(x[1::2], y[1::2])], dim=1),
        n=len(y),
        noise=float(noises[best]),
        gain=float(likelihood[best]) - _of_noise_alone(float(y.square().sum()), len(y)),
        spread=lambda f: ratio * f.square().sum(0) - (seen @ f).square().sum(0),
    )


def from_moments(
    grams: Sequence[Float64[Tensor, "unknowns unknowns"]],
    projections: Float64[Tensor, "2 unknowns"],
    square: float,
    n: int,
    start: int,
) -> Learnt:
    """The posterior by as many equations as there are unknowns.

    ``grams`` are ``x.T @ x`` of both halves of the ``n`` answers, ``projections`` their
    ``x.T @ y``, and ``square`` is ``y @ y``. The search for the ratio of highest likelihood starts
    at index ``start``.
    """
    gram, projection = grams[0] + grams[1], projections.sum(0)[:, None]
    tried: dict[int, tuple[float, float, Tensor]] = {}

    def likelihood(index: int) -> float:
        if index not in tried:
            root = _root_of_precision(gram, index)
            explained = torch.linalg.solve_triangular(root, projection, upper=False).square().sum()
            noise = max((square - float(explained)) / n, 1e-12)
            volume = len(gram) * math.log(RATIOS[index]) + 2 * float(root.diagonal().log().sum())
            tried[index] = -0.5 * (volume + n * math.log(noise)), noise, root
        return tried[index][0]

    best = start
    for step in (4, 2, 1):
        moved = True
        while moved:
            around = [i for i in (best - step, best + step) if 0 <= i < len(RATIOS)]
            better = max(around, key=likelihood)
            moved = likelihood(better) > likelihood(best)
            best = better if moved else best
    value, noise, root = tried[best]
    halves = [
        torch.cholesky_solve(part[:, None], _root_of_precision(half, best))
        for half, part in zip(grams, projections, strict=True)
    ]
    return Learnt(
        mean=torch.cholesky_solve(projection, root)[:, 0],
        halves=torch.cat(halves, dim=1),
        n=n,
        noise=noise,
        gain=value - _of_noise_alone(square, n),
        spread=lambda f: torch.linalg.solve_triangular(root, f, upper=False).square().sum(0),
    )


def _root_of_precision(gram: Float64[Tensor, "n n"], index: int) -> Float64[Tensor, "n n"]:
    """Cholesky factor of the unknowns' posterior precision, times the noise."""
    precision = gram.clone()
    precision.diagonal().add_(1 / float(RATIOS[index]))
    root: Tensor = torch.linalg.cholesky(precision)
    return root


def _of_noise_alone(square: float, n: int) -> float:
    """Log marginal likelihood of answers that are noise, up to the same constant."""
    return -0.5 * n * math.log(max(square / n, 1e-12))
