"""What the surrogate gains over noise alone on pure noise: ``python benchmarks/noise_gain.py``.

Weights at random, 250 seeds of three kinds, 100 masks: quantiles of the log likelihood of the best
model over that of noise alone. ``surrogate.DOUBT`` is set beyond them.
"""

import numpy as np
import torch

import chiaroscuro as cs
from chiaroscuro.evidence.surrogate import Surrogate

HEIGHT, WIDTH, MASKS, SEEDS = 96, 128, 100, 250
TARGET = cs.Target(box=[40, 30, 70, 64])


def gain(weights: torch.Tensor, seed: int) -> float:
    masks = cs.Masks(cs.MaskDesign(), HEIGHT, WIDTH, seed)
    model = Surrogate(masks, torch.ones(3, HEIGHT, WIDTH), weights[None].float())
    spread = model._spread(model._choose_prior(0, TARGET), TARGET)
    return model._learn(0, model.answers[:, 0], spread).gain


def main() -> None:
    torch.set_num_threads(1)
    gains = []
    for seed in range(SEEDS):
        values = torch.rand(MASKS, generator=torch.Generator().manual_seed(seed + 1000)).double()
        kinds = (values, values**6, 0.8 * (values < 0.1))
        gains.extend(gain(weights, seed) for weights in kinds)
    quantiles = np.quantile(gains, (0.5, 0.9, 0.99, 1))
    print(
        "{} runs: median {:.1f}, 90 % {:.1f}, 99 % {:.1f}, most {:.1f}".format(
            len(gains), *quantiles
        )
    )


if __name__ == "__main__":
    main()
