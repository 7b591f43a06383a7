"""Grad-CAM, Grad-CAM++ and Smooth Grad-CAM++: feature maps weighted by their gradients.

A detector slides one head over several layers, one per scale. The Grad-CAMs are of the layer that
the target is read from, found by the gradient, and of the window that its score is computed from:
the head sees no more of the picture. Without the window a map would be one of the class, highest at
the strongest object of that size. The fit of the proposal's box is held constant: its gradient
would be the larger one, and show which features move the box.

Grad-CAM is torchcam's. The other two are our own code: torchcam 0.5 leaves out the division that
distinguishes Grad-CAM++ (it divides a copy), and its smooth form applies the weights to the
features of the last noisy picture.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiaroscuro.core.notes import Note
from chiaroscuro.methods.differentiable import (
    NOISE,
    TargetScores,
    batch_size,
    input_image,
    target_scores,
)
from chiaroscuro.methods.features import Features, feature_layers, receptive_window, recording
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question

_LEAST_SAMPLES = 2


def gradcam(question: Question) -> Answer:
    """Positive part of the features' sum, weighted by the mean gradient of their channel."""
    from torchcam.methods import GradCAM

    layers = feature_layers(question, "gradcam")
    read: list[str | None] = []
    with (
        target_scores(question, "gradcam", follow_boxes=False) as scores,
        recording(scores.network, layers) as features,
        ExitStack() as stack,
    ):
        extractors = {
            layer: stack.enter_context(GradCAM(scores, f"network.{layer}")) for layer in layers
        }
        weights = scores(input_image(question))

        def explain(index: int) -> Tensor | None:
            found = features.read_from(weights[0, index])
            read.append(found[0] if found else None)
            if found is None:
                return None
            layer, gradient = found
            (cells,) = extractors[layer](index, weights, normalized=False, retain_graph=True)
            shown = (cells[0] * receptive_window(gradient[0])).cpu()
            return features.enlarge(shown, scores.extent, *question.size)

        return with_notes_on_peaks(question, scores.answer(question, explain, (), {"layers": read}))


def with_notes_on_peaks(question: Question, answer: Answer) -> Answer:
    """The answer with a note on every target whose map is highest outside its box."""
    notes = []
    for number, (target, one) in enumerate(
        zip(question.targets, answer.saliency, strict=True), start=1
    ):
        row, column = divmod(int(one.argmax()), one.shape[1])
        x1, y1, x2, y2 = target.box.tolist()
        inside = x1 - 1 < column < x2 and y1 - 1 < row < y2
        if bool(one.any()) and not inside:
            notes.append(Note("highest outside", number))
    return replace(answer, notes=(*answer.notes, *notes))


def gradcam_plus_plus(question: Question) -> Answer:
    """Positive part of the features' sum, weighted by positive gradients, cell by cell."""
    return _plus_plus(question, "gradcam++", samples=0, settings={})


def smooth_gradcam_plus_plus(question: Question) -> Answer:
    """As ``gradcam_plus_plus``, with gradients that are means over noisy copies of the picture.

    The copies are the same for every target.
    """
    samples = question.n_passes // len(question.targets) - 1
    settings = {"samples": samples, "noise": NOISE}
    return _plus_plus(question, "smooth-gradcam++", samples, settings)


@dataclass(slots=True, eq=False)
class _Powers:
    """Sums of the first three powers of the positive gradients by the layer a target is read from.

    The published formula takes powers of the gradient itself, which for one picture is the same:
    cells of negative gradient have no weight. Over several copies its denominator can come near
    zero and the map blow up; with positive parts of gradients and features it cannot.
    """

    layer: str
    features: Float[Tensor, "channels h w"]
    window: Bool[Tensor, "h w"]
    sums: Float[Tensor, "3 channels h w"]
    count: int = 0

    def add(self, gradients: Float[Tensor, "n channels h w"]) -> None:
        positive = gradients.clamp(min=0)
        self.sums = self.sums + torch.stack(
            [positive.sum(dim=0), positive.pow(2).sum(dim=0), positive.pow(3).sum(dim=0)]
        )
        self.count += len(gradients)

    def cells(self) -> Float[Tensor, "h w"]:
        """Grad-CAM++ by the means of the powers."""
        first, second, third = self.sums / self.count
        excited = (self.features.clamp(min=0) * third).sum(dim=(1, 2), keepdim=True)
        alpha = torch.where(second > 0, second / (2 * second + excited), 0)
        weights = (alpha * first).sum(dim=(1, 2))
        weighted = torch.einsum("c,chw->hw", weights, self.features).clamp(min=0)
        return (weighted * self.window).cpu()


def _plus_plus(
    question: Question, method: str, samples: int, settings: Mapping[str, Any]
) -> Answer:
    """Grad-CAM++ by the gradient at the picture itself, or at noisy copies of it."""
    layers = feature_layers(question, method)
    with (
        target_scores(question, method, follow_boxes=False) as scores,
        recording(scores.network, layers) as features,
    ):
        weights = scores(input_image(question))[0]
        powers = [_powers(weight, features, keep_gradient=not samples) for weight in weights]
        if samples:
            _add_noisy_copies(question, scores, features, powers, samples)

        def explain(index: int) -> Tensor | None:
            one = powers[index]
            if one is None:
                return None
            return features.enlarge(one.cells(), scores.extent, *question.size)

        read = [one.layer if one else None for one in powers]
        answer = scores.answer(question, explain, (), {"layers": read, **settings})
        return with_notes_on_peaks(question, answer)


def _powers(
    weight: Float[Tensor, ""], features: Features, *, keep_gradient: bool
) -> _Powers | None:
    """Layer and features of a target, and the gradient's powers; None without a gradient."""
    found = features.read_from(weight)
    if found is None:
        return None
    layer, gradient = found
    output = features.outputs[layer].detach()[0]
    powers = _Powers(
        layer=layer,
        features=output,
        window=receptive_window(gradient[0]),
        sums=torch.zeros_like(output).expand(3, *output.shape),
    )
    if keep_gradient:
        powers.add(gradient)
    return powers


def _add_noisy_copies(
    question: Question,
    scores: TargetScores,
    features: Features,
    powers: list[_Powers | None],
    samples: int,
) -> None:
    """Add the powers of the gradients at noisy copies, a batch at a time."""
    generator = torch.Generator().manual_seed(question.plan.seed % 2**64)
    clean = question.pixels
    for start in range(0, samples, size := batch_size(question)):
        noise = [
            torch.randn(clean.shape, generator=generator, dtype=torch.float32)
            for _ in range(min(size, samples - start))
        ]
        noisy = (clean + NOISE * torch.stack(noise)).to(question.detector.info.device)
        weights = scores(noisy.requires_grad_()).sum(dim=0)
        for index, one in enumerate(powers):
            if one is not None:
                (gradients,) = torch.autograd.grad(
                    weights[index],
                    features.outputs[one.layer],
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
                one.add(gradients)


GRADCAM = Method(
    name="gradcam",
    title="feature maps weighted by their mean gradient",
    family="activation",
    meaning="positive part of the features' sum, weighted by their mean gradient",
    n_passes=1,
    packages=("torchcam",),
    source="Selvaraju et al. 2017, arXiv:1610.02391, section 3",
    run=gradcam,
)

GRADCAM_PLUS_PLUS = Method(
    name="gradcam++",
    title="feature maps weighted by their positive gradients, pixel by pixel",
    family="activation",
    meaning="positive part of the features' sum, weighted by their positive gradients",
    n_passes=1,
    source="Chattopadhay et al. 2018, arXiv:1710.11063, section 3, equations 10 and 19",
    run=gradcam_plus_plus,
)

SMOOTH_GRADCAM_PLUS_PLUS = Method(
    name="smooth-gradcam++",
    title="Grad-CAM++ with gradients averaged over noisy copies",
    family="activation",
    meaning="positive part of the features' sum, weighted by mean positive gradients",
    n_passes=12,
    least=(0, 1 + _LEAST_SAMPLES),
    random=True,
    source="Omeiza et al. 2019, arXiv:1908.01224, section 3",
    run=smooth_gradcam_plus_plus,
)
