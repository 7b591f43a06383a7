"""How the target's weight changes with every pixel: gradients, through captum.

Saliency: Simonyan et al. 2014, arXiv:1312.6034, section 3. Gradient x input: Shrikumar et al. 2016,
arXiv:1605.01713. SmoothGrad: Smilkov et al. 2017, arXiv:1706.03825, equation 1. Integrated
gradients: Sundararajan et al. 2017, arXiv:1703.01365, equation 1.

A gradient tells of small changes only. Where a part matters only together with another that is not
there, or where the score can rise no further, it is zero; integrated gradients see more, since they
go all the way from a filled picture.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from captum.attr import InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.core.masks import fill_image
from chiaroscuro.methods.differentiable import (
    TargetScores,
    batch_size,
    check_budget,
    drawing,
    looking_into,
    picture,
    tell,
)
from chiaroscuro.methods.question import Answer, Question

NOISE = 0.1
"""Standard deviation of SmoothGrad's noise; the picture's values are in [0, 1]."""

_LEAST_SAMPLES = 2
_ENDS = 2  # passes of integrated gradients, for all targets together: the picture, and it filled
_GAP = 0.1  # of the weight's rise; more left out by integrated gradients is worth a note
_ROUNDING = 1e-4  # a gap of that size is none


def saliency(question: Question) -> Answer:
    """Size of the gradient, the largest over the channels: change of the weight a unit."""

    def explain(scores: TargetScores, index: int) -> Tensor:
        gradient: Tensor = Saliency(scores).attribute(picture(question), target=index)
        return gradient[0].amax(dim=0)

    return _each(question, "saliency", explain)


def gradient_x_input(question: Question) -> Answer:
    """Gradient times brightness, summed over the channels."""

    def explain(scores: TargetScores, index: int) -> Tensor:
        product: Tensor = InputXGradient(scores).attribute(picture(question), target=index)
        return product[0].sum(dim=0)

    return _each(question, "gradient-x-input", explain)


def smoothgrad(question: Question) -> Answer:
    """Mean over noisy copies of the gradient's size, the largest over the channels."""
    n_targets = len(question.targets)
    check_budget(question, "smoothgrad", _LEAST_SAMPLES * n_targets)
    samples = question.budget // n_targets

    def explain(scores: TargetScores, index: int) -> Tensor:
        with drawing(question.seed + index, question.detector.info.device):
            mean: Tensor = NoiseTunnel(Saliency(scores)).attribute(
                picture(question),
                nt_type="smoothgrad",
                nt_samples=samples,
                nt_samples_batch_size=batch_size(question),
                stdevs=NOISE,
                target=index,
            )
        return mean[0].amax(dim=0)

    answer = _each(question, "smoothgrad", explain)
    return replace(answer, settings={"samples": samples, "noise": NOISE})


def integrated_gradients(question: Question) -> Answer:
    """Share of every pixel in the weight's rise from the filled picture to the picture itself."""
    n_targets = len(question.targets)
    check_budget(question, "integrated-gradients", _ENDS + _LEAST_SAMPLES * n_targets)
    steps = (question.budget - _ENDS) // n_targets
    pixels = question.pixels
    fill = fill_image(question.design.fill, pixels)
    filled = (torch.zeros_like(pixels) if fill is None else fill)[None]

    def explain(scores: TargetScores, index: int) -> Tensor:
        image = picture(question)
        shares: Tensor = IntegratedGradients(scores).attribute(
            image,
            baselines=filled.to(image),
            target=index,
            n_steps=steps,
            internal_batch_size=batch_size(question),
        )
        return shares[0].sum(dim=0)

    def rise(scores: TargetScores) -> Float[Tensor, " targets"]:
        image = picture(question).detach()
        with torch.no_grad():
            weights: Tensor = scores(torch.cat([image, filled.to(image)]))
        return (weights[0] - weights[1]).cpu()

    answer = _each(question, "integrated-gradients", explain, rise)
    fill_name = question.design.describe()["fill"]
    return replace(answer, settings={"steps": steps, "fill": fill_name})


def _each(
    question: Question,
    method: str,
    explain: Callable[[TargetScores, int], Tensor],
    rise: Callable[[TargetScores], Tensor] | None = None,
) -> Answer:
    """A map of every target for itself; what it should sum to, where the method says."""
    check_budget(question, method, len(question.targets))
    with looking_into(question, method) as scores:
        wanted = None if rise is None else rise(scores)
        maps = []
        for index in range(len(question.targets)):
            maps.append(explain(scores, index))
            tell(question, scores, index + 1)
        found = scores.checked(maps)
        notes = scores.notes(found)
        if wanted is not None:
            notes += _gaps(found.sum(dim=(1, 2)), wanted)
        return Answer(saliency=found, passes=scores.passes, notes=tuple(notes))


def _gaps(sums: Float[Tensor, " targets"], wanted: Float[Tensor, " targets"]) -> list[str]:
    """Notes on the targets whose map does not sum to the weight's rise."""
    return [
        f"target {number}: the map sums to {found:z.3g}, the weight rises by {rise:z.3g}; the "
        "gradient jumps on the way, and more steps (n_masks) bring the two together"
        for number, (found, rise) in enumerate(
            zip(sums.tolist(), wanted.tolist(), strict=True), start=1
        )
        if abs(found - rise) > max(_GAP * abs(rise), _ROUNDING)
    ]
