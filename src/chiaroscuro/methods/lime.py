"""LIME and KernelSHAP: a linear model of the target's weight under random sets of superpixels.

Both through captum, on presence and absence of each superpixel: its features are ones. The weights
of a set are kept, and captum draws the same sets for every target, so all targets share the passes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.core.errors import InputError
from chiaroscuro.core.notes import Note
from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.methods.black_box import BlackBox
from chiaroscuro.methods.method import BLACK_BOX_PASSES, Method
from chiaroscuro.methods.question import Answer, Question
from chiaroscuro.methods.regions import grid, one_colour, superpixels

_MOST_REGIONS = 100
_PASSES_PER_REGION = 4  # with fewer the regression has few more equations than unknowns
_LEAST = 16  # passes
_ALPHA = 0.001  # of the lasso, where the weight of the whole picture is 1
_BATCH = 16  # sets per call by captum


def lime(question: Question) -> Answer:
    """LIME with a lasso.

    Every superpixel is shown with probability 1/2; a set is weighted by an exponential kernel of
    its cosine distance to the whole picture.
    """
    from captum._utils.models.linear_model import SkLearnLasso
    from captum.attr import Lime

    return _fitted(
        "lime", question, lambda f: Lime(f, interpretable_model=SkLearnLasso(alpha=_ALPHA))
    )


def kernelshap(question: Question) -> Answer:
    """KernelSHAP: the superpixels' values sum to the weight of the picture less the fill's."""
    from captum.attr import KernelShap

    return _fitted("kernelshap", question, KernelShap)


def _fitted(
    name: str, question: Question, make: Callable[[Callable[[Tensor], Tensor]], Any]
) -> Answer:
    wanted = min(_MOST_REGIONS, question.n_passes // _PASSES_PER_REGION)
    regions = superpixels(question.pixels, wanted)
    n = int(regions.max()) + 1
    if n < 2:
        height, width = question.size
        raise InputError(
            f"{name}: wanted a picture that can be cut into regions, got {width}x{height} pixels; "
            "enlarge it, or use drise"
        )
    notes = []
    if torch.equal(regions, grid(*question.size, wanted)):
        kind = "one colour" if one_colour(question.pixels) else "no edges"
        notes.append(Note(kind, n_regions=n))
    sets = _Sets(question, regions)
    (whole,) = sets.weights(torch.ones(1, n, dtype=torch.float32))
    coefficients = torch.zeros(len(question.targets), n, dtype=torch.float32)
    for i, weight in enumerate(whole.tolist()):
        scale = weight or 1.0
        with _seeded(question.plan.seed):
            values = make(sets.function(i, scale)).attribute(
                torch.ones(1, n, dtype=torch.float32),
                baselines=torch.zeros(1, n, dtype=torch.float32),
                n_samples=question.n_passes - 1,
                perturbations_per_eval=_BATCH,
            )
        coefficients[i] = values[0] * scale
        if not bool(coefficients[i].any()):
            notes.append(Note("no region", i + 1))
    return Answer(
        saliency=coefficients[:, regions],
        n_passes=sets.detector.passes,
        notes=tuple(notes),
        choices={"regions": n},
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch (for captum) and NumPy (for scikit-learn), in float32.

    Generators and torch's default type belong to the process: one thread at a time, and all are
    restored at the end.
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
    """Weights of all targets when a set of regions is shown; every set is run once."""

    def __init__(self, question: Question, regions: Tensor) -> None:
        self.detector = BlackBox(question, question.n_passes)
        self._regions = regions
        self._known: dict[bytes, Tensor] = {}

    def function(self, target: int, scale: float) -> Callable[[Tensor], Tensor]:
        """The function that captum explains: the weight of one target over ``scale``."""
        return lambda shown: self.weights(shown)[:, target] / scale

    def weights(self, shown: Float[Tensor, "n regions"]) -> Float[Tensor, "n targets"]:
        keys = [row.bool().numpy().tobytes() for row in shown]
        new = dict.fromkeys(key for key in keys if key not in self._known)
        rows = {key: shown[keys.index(key)].float() for key in new}
        weights = self.detector.weights(row[self._regions] for row in rows.values())
        self._known.update(zip(rows, weights.T, strict=True))
        return torch.stack([self._known[key] for key in keys])


LIME = Method(
    name="lime",
    title="superpixels are hidden at random; a sparse linear model predicts the target's weight",
    family="perturbation",
    signed=True,
    meaning="coefficient of the pixel's superpixel in a sparse linear model of the target's weight",
    n_passes=BLACK_BOX_PASSES,
    least=(_LEAST, 0),
    shared=True,
    random=True,
    packages=("captum", "skimage", "sklearn"),
    source="Ribeiro et al. 2016, arXiv:1602.04938, algorithm 1",
    run=lime,
)

KERNELSHAP = Method(
    name="kernelshap",
    title="Shapley values of superpixels by a weighted linear regression",
    family="perturbation",
    signed=True,
    meaning="Shapley value of the pixel's superpixel",
    n_passes=BLACK_BOX_PASSES,
    least=(_LEAST, 0),
    shared=True,
    random=True,
    packages=("captum", "skimage", "sklearn"),
    source="Lundberg and Lee 2017, arXiv:1705.07874, section 4.1 and theorem 2",
    run=kernelshap,
)
