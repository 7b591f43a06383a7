"""The weight's gradient by every pixel, through captum.

Saliency, gradient x input and SmoothGrad: a gradient describes small changes only. Where a part
matters only together with another that is absent, or where the score can rise no further, it is
zero. Integrated gradients cover the whole straight path from a filled picture, and see more.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.core.masks import fill_image
from chiaroscuro.core.notes import Note
from chiaroscuro.methods.differentiable import (
    NOISE,
    TargetScores,
    batch_size,
    input_image,
    target_scores,
)
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question

_LEAST_SAMPLES = 2
_LEAST_STEPS = 2
_ENDS = 2  # passes for all targets together: the picture, and the filled picture
_GAP = 0.1  # of the weight's rise; a larger part that is missing is worth a note
_ROUNDING = 1e-4  # smaller gaps are rounding


def saliency(question: Question) -> Answer:
    """Size of the gradient, the largest over the channels: change of the weight per unit."""
    from captum.attr import Saliency

    def explain(scores: TargetScores, index: int) -> Tensor:
        gradient: Tensor = Saliency(scores).attribute(input_image(question), target=index)
        return gradient[0].amax(dim=0)

    return _each_target(question, "saliency", explain)


def gradient_x_input(question: Question) -> Answer:
    """Gradient times brightness, summed over the channels."""
    from captum.attr import InputXGradient

    def explain(scores: TargetScores, index: int) -> Tensor:
        product: Tensor = InputXGradient(scores).attribute(input_image(question), target=index)
        return product[0].sum(dim=0)

    return _each_target(question, "gradient-x-input", explain)


def smoothgrad(question: Question) -> Answer:
    """Mean over noisy copies of the gradient's size, the largest over the channels."""
    from captum.attr import NoiseTunnel, Saliency

    samples = question.n_passes // len(question.targets)

    def explain(scores: TargetScores, index: int) -> Tensor:
        with _seeded(question.plan.seed + index, question.detector.info.device):
            mean: Tensor = NoiseTunnel(Saliency(scores)).attribute(
                input_image(question),
                nt_type="smoothgrad",
                nt_samples=samples,
                nt_samples_batch_size=batch_size(question),
                stdevs=NOISE,
                target=index,
            )
        return mean[0].amax(dim=0)

    answer = _each_target(question, "smoothgrad", explain)
    return replace(answer, choices={"samples": samples, "noise": NOISE})


def _each_target(
    question: Question, method: str, explain: Callable[[TargetScores, int], Tensor]
) -> Answer:
    with target_scores(question, method) as scores:
        return scores.answer(question, lambda index: explain(scores, index))


@contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    """Seed torch's global generators, which captum uses; afterwards restore their states."""
    place = torch.device(device)
    on_gpu = place.type == "cuda"
    with torch.random.fork_rng(devices=[place] if on_gpu else []):
        torch.default_generator.manual_seed(seed % 2**64)
        if on_gpu:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed % 2**64)
        yield


def integrated_gradients(question: Question) -> Answer:
    """Share of every pixel in the weight's rise from the filled picture to the picture itself."""
    from captum.attr import IntegratedGradients

    steps = (question.n_passes - _ENDS) // len(question.targets)
    pixels = question.pixels
    fill = fill_image(question.plan.design, pixels)
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


SALIENCY = Method(
    name="saliency",
    title="gradient of the target's weight",
    family="gradient",
    meaning="largest change of the weight per unit of brightness, over the three channels",
    n_passes=1,
    least=(0, 1),
    packages=("captum",),
    source="Simonyan et al. 2014, arXiv:1312.6034, section 3",
    run=saliency,
)

GRADIENT_X_INPUT = Method(
    name="gradient-x-input",
    title="gradient times the picture",
    family="gradient",
    signed=True,
    meaning="gradient x brightness, summed over the channels",
    n_passes=1,
    least=(0, 1),
    packages=("captum",),
    source="Shrikumar et al. 2016, arXiv:1605.01713",
    run=gradient_x_input,
)

SMOOTHGRAD = Method(
    name="smoothgrad",
    title="gradients of noisy copies, averaged",
    family="gradient",
    meaning="mean over noisy copies of the gradient's size, largest over the channels",
    n_passes=50,
    least=(0, _LEAST_SAMPLES),
    random=True,
    packages=("captum",),
    source="Smilkov et al. 2017, arXiv:1706.03825, equation 1",
    run=smoothgrad,
)

INTEGRATED_GRADIENTS = Method(
    name="integrated-gradients",
    title="gradients along the path from a filled picture",
    family="gradient",
    signed=True,
    meaning="share of the weight's rise above that of the filled picture; shares sum to the rise",
    n_passes=100,
    least=(_ENDS, _LEAST_STEPS),
    packages=("captum",),
    source="Sundararajan et al. 2017, arXiv:1703.01365, equation 1",
    run=integrated_gradients,
)
