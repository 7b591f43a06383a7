"""Integrated gradients: gradients along the straight path from a filled picture, through captum.

They see more than a single gradient, since they cover the whole path.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.core.masks import fill_image
from chiaroscuro.core.notes import Note
from chiaroscuro.methods.differentiable import batch_size, input_image, target_scores
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question

_LEAST_STEPS = 2
_ENDS = 2  # passes for all targets together: the picture, and the filled picture
_GAP = 0.1  # of the weight's rise; a larger part that is missing is worth a note
_ROUNDING = 1e-4  # smaller gaps are rounding


def integrated_gradients(question: Question) -> Answer:
    """Share of every pixel in the weight's rise from the filled picture to the picture itself."""
    from captum.attr import IntegratedGradients

    steps = (question.n_passes - _ENDS) // len(question.targets)
    pixels = question.pixels
    fill = fill_image(question.plan.design.fill, pixels)
    filled = (torch.zeros_like(pixels) if fill is None else fill)[None]
    settings = {"steps": steps, "fill": question.plan.design.plain()["fill"]}
    with target_scores(question, "integrated-gradients") as scores:
        image = input_image(question).detach()
        with torch.no_grad():
            weights: Tensor = scores(torch.cat([image, filled.to(image)]))
        rise = (weights[0] - weights[1]).cpu()

        def explain(index: int) -> Tensor:
            image = input_image(question)
            shares: Tensor = IntegratedGradients(scores).attribute(
                image,
                baselines=filled.to(image),
                target=index,
                n_steps=steps,
                internal_batch_size=batch_size(question),
            )
            return shares[0].sum(dim=0)

        answer = scores.answer(question, explain, (), settings)
    gaps = _gaps(answer.saliency.sum(dim=(1, 2)), rise)
    return replace(answer, notes=(*answer.notes, *gaps))


def _gaps(sums: Float[Tensor, " targets"], wanted: Float[Tensor, " targets"]) -> list[Note]:
    """Notes on the targets whose map does not sum to the weight's rise."""
    return [
        Note("incomplete sum", number, sum=found, rise=rise)
        for number, (found, rise) in enumerate(
            zip(sums.tolist(), wanted.tolist(), strict=True), start=1
        )
        if abs(found - rise) > max(_GAP * abs(rise), _ROUNDING)
    ]


INTEGRATED_GRADIENTS = Method(
    name="integrated-gradients",
    title="gradients along the path from a filled picture",
    family="gradient",
    needs="gradients",
    signed=True,
    meaning="share of the weight's rise above that of the filled picture; shares sum to the rise",
    n_passes=100,
    least=(_ENDS, _LEAST_STEPS),
    packages=("captum",),
    source="Sundararajan et al. 2017, arXiv:1703.01365, equation 1",
    run=integrated_gradients,
)
