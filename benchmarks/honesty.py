"""Is a claimed fidelity true? Detectors that know nothing, or answer awkwardly, against brute force.

    python benchmarks/honesty.py [--seeds 6] [--noise-seeds 40]

Every detector here is a function of a white picture under black masks, so what it depends on is known.
The truth is the covariance of mask and weight over 100,000 independent masks, computed without any of
the package's estimators. "near" is the box and the ring around it; "picture" is everything. A claim is
the fidelity that the result states; the truth beside it is the correlation of its map with the true
map over the same region.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import chiaroscuro as cs

HEIGHT, WIDTH = 96, 128
WHITE = torch.ones(3, HEIGHT, WIDTH)
BOX = (40.0, 30.0, 70.0, 64.0)
TRUTH_MASKS = 100_000
MASKS = (100, 200, 500, 1000)

Score = Callable[[Tensor], Tensor]  # n height width of brightness to n scores


def shown(masks: Tensor, x1: int, y1: int, x2: int, y2: int) -> Tensor:
    """Mean brightness of a region, ``n``."""
    return masks[:, y1:y2, x1:x2].mean(dim=(1, 2))


def noise_of(masks: Tensor) -> Tensor:
    """A number in [0, 1) a picture, unrelated to what it shows but the same when it is seen again."""
    numbers = [
        int.from_bytes(hashlib.blake2b(m.numpy().tobytes(), digest_size=6).digest(), "little")
        for m in masks
    ]
    return torch.tensor(numbers, dtype=torch.float64) / 2**48


EYES = (44, 36, 52, 42), (58, 36, 66, 42)
MOUTH = (50, 54, 60, 60)
CORNER = (104, 4, 124, 20)
FAR = (100, 74, 124, 92)


def all_of(m: Tensor, *regions: tuple[int, int, int, int]) -> Tensor:
    return torch.stack([shown(m, *r) > 0.5 for r in regions]).all(0).float()


def cells(n: int, step: int = 8) -> list[tuple[int, int, int, int]]:
    """Regions of the size of a mask cell in the box, from its top left corner."""
    spots = [(x, y) for y in range(30, 62, 6) for x in range(40, 70, step)]
    return [(x, y, x + 8, y + 6) for x, y in spots[:n]]


@dataclass(frozen=True)
class Case:
    name: str
    score: Score
    knows_something: bool = True


CASES = (
    Case("linear, in the box", lambda m: 0.2 + 0.3 * shown(m, *EYES[0]) + 0.3 * shown(m, *MOUTH)),
    Case("AND near: both eyes and mouth", lambda m: 0.9 * all_of(m, *EYES, MOUTH)),
    Case("AND far: an eye and a corner", lambda m: 0.9 * all_of(m, EYES[0], FAR)),
    Case("AND of far places", lambda m: 0.9 * all_of(m, CORNER, FAR)),
    Case(
        "XOR of the eyes",
        lambda m: 0.1 + 0.8 * ((shown(m, *EYES[0]) > 0.5) ^ (shown(m, *EYES[1]) > 0.5)).float(),
    ),
    Case("rare, 1 in 280", lambda m: 0.9 * all_of(m, *cells(8))),
    Case("rare, 1 in 490", lambda m: 0.9 * all_of(m, *cells(9))),
    Case("weak signal in noise", lambda m: 0.1 * shown(m, *EYES[0]) + 0.9 * noise_of(m).float()),
    Case("strong signal in noise", lambda m: 0.5 * shown(m, *EYES[0]) + 0.5 * noise_of(m).float()),
    Case(
        "picture's edge",
        lambda m: 0.2 + 0.5 * shown(m, 0, 0, 10, 96) - 0.2 * shown(m, 0, 88, 128, 96),
    ),
    Case("far away, linear", lambda m: 0.2 + 0.4 * shown(m, *FAR) + 0.3 * shown(m, *CORNER)),
    Case(
        "far away, 1 in 6 the box", lambda m: 0.2 + 0.5 * shown(m, *FAR) + 0.1 * shown(m, *EYES[0])
    ),
    Case("constant", lambda m: torch.full((len(m),), 0.5), knows_something=False),
    Case("noise, uniform", lambda m: noise_of(m).float(), knows_something=False),
    Case("noise, squared", lambda m: noise_of(m).float() ** 6, knows_something=False),
    Case("coin, 1 in 10", lambda m: (noise_of(m) < 1 / 10).float() * 0.8, knows_something=False),
    Case("coin, 1 in 50", lambda m: (noise_of(m) < 1 / 50).float() * 0.8, knows_something=False),
    Case("coin, 1 in 500", lambda m: (noise_of(m) < 1 / 500).float() * 0.8, knows_something=False),
)


def true_map(score: Score) -> Tensor:
    masks = cs.Masks(cs.MaskDesign(antithetic=False), HEIGHT, WIDTH, seed=987_654)
    products = torch.zeros(HEIGHT, WIDTH, dtype=torch.float64)
    total = torch.zeros(HEIGHT, WIDTH, dtype=torch.float64)
    weights = 0.0
    for start in range(0, TRUTH_MASKS, 2000):
        m = masks.render(start, start + 2000)
        w = score(m).double()
        products += torch.einsum("n,nyx->yx", w.float(), m).double()
        total += m.sum(0).double()
        weights += float(w.sum())
    return products / TRUTH_MASKS - total / TRUTH_MASKS * weights / TRUTH_MASKS
