"""LIME and KernelSHAP: a linear model of the answers to random sets of superpixels.

Both through captum, on presence and absence of each superpixel: its features are ones. What the
detector says to a set is kept, and captum draws the same sets for every target, so all targets
share the passes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.core.errors import InputError
from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.methods.asking import Asker
from chiaroscuro.methods.question import Answer, Question
from chiaroscuro.methods.regions import grid, one_colour, superpixels

_MOST_REGIONS = 100
_PASSES_A_REGION = 4  # fewer leave the regression with little more equations than unknowns
_LEAST = 16  # passes
_ALPHA = 0.001  # of the lasso, of answers that are 1 for the whole picture
_BATCH = 16  # sets that captum hands over at a time


def lime(question: Question) -> Answer:
    """LIME (Ribeiro et al., KDD 2016, arXiv:1602.04938, algorithm 1) with a lasso.

    Every superpixel is shown with probability 1/2; a set counts by an exponential kernel of its
    cosine distance to the whole picture.
    """
    from captum._utils.models.linear_model import SkLearnLasso
    from captum.attr import Lime

    return _fitted(
        "lime", question, lambda ask: Lime(ask, interpretable_model=SkLearnLasso(alpha=_ALPHA))
    )


def kernelshap(question: Question) -> Answer:
    """KernelSHAP (Lundberg and Lee, NeurIPS 2017, arXiv:1705.07874, theorem 2).

    A map sums to the target's weight in the whole picture less that in the hidden one.
    """
    from captum.attr import KernelShap

    return _fitted("kernelshap", question, KernelShap)


def _fitted(
    name: str, question: Question, make: Callable[[Callable[[Tensor], Tensor]], Any]
) -> Answer:
    if question.budget < _LEAST:
        raise InputError(f"{name}: wanted at least {_LEAST} passes, got {question.budget}")
    wanted = min(_MOST_REGIONS, question.budget // _PASSES_A_REGION)
    regions = superpixels(question.pixels, wanted)
    n = int(regions.max()) + 1
    if n < 2:
        height, width = question.size
        raise InputError(
            f"{name}: wanted a picture that can be cut into regions, got {width}x{height} pixels; "
            "enlarge it, or take drise"
        )
    notes = []
    if torch.equal(regions, grid(*question.size, wanted)):
        why = "has one colour" if one_colour(question.pixels) else "has no edges to follow"
        notes.append(f"the picture {why}, so its {n} regions are a grid, not superpixels")
    sets = _Sets(question, regions)
    (whole,) = sets.weights(torch.ones(1, n, dtype=torch.float32))
    coefficients = torch.zeros(len(question.targets), n, dtype=torch.float32)
    for i, weight in enumerate(whole.tolist()):
        scale = weight or 1.0
        with _drawing(question.seed):
            values = make(sets.answers(i, scale)).attribute(
                torch.ones(1, n, dtype=torch.float32),
                baselines=torch.zeros(1, n, dtype=torch.float32),
                n_samples=question.budget - 1,
                perturbations_per_eval=_BATCH,
            )
        coefficients[i] = values[0] * scale
        if not bool(coefficients[i].any()):
            notes.append(
                f"target {i + 1}: no superpixel makes a difference that the model could tell from "
                "none, so the map is zero"
            )
    return Answer(
        saliency=coefficients[:, regions],
        passes=sets.asker.passes,
        notes=tuple(notes),
        settings={"regions": n},
    )


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Random numbers of captum (torch's) and scikit-learn (NumPy's) begin at a seed, in float32.

    Both generators, and torch's default type, are the process's: one thread at a time, and
    afterwards all are as they were.
    """
    with PROCESS_WIDE, torch.random.fork_rng(devices=[]):
        numpys = np.random.get_state()  # noqa: NPY002  (scikit-learn draws from the global one)
        chosen = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpys)  # noqa: NPY002
            torch.set_default_dtype(chosen)


class _Sets:
    """Weights of all targets when a set of regions is shown; no set is asked for twice."""

    def __init__(self, question: Question, regions: Tensor) -> None:
        self.asker = Asker(question, question.budget)
        self._regions = regions
        self._known: dict[bytes, Tensor] = {}

    def answers(self, target: int, scale: float) -> Callable[[Tensor], Tensor]:
        """What captum asks: the weight of one target over ``scale``."""
        return lambda shown: self.weights(shown)[:, target] / scale

    def weights(self, shown: Float[Tensor, "n regions"]) -> Float[Tensor, "n targets"]:
        keys = [row.bool().numpy().tobytes() for row in shown]
        new = dict.fromkeys(key for key in keys if key not in self._known)
        rows = {key: shown[keys.index(key)].float() for key in new}
        weights = self.asker.weights(row[self._regions] for row in rows.values())
        self._known.update(zip(rows, weights.T, strict=True))
        return torch.stack([self._known[key] for key in keys])
