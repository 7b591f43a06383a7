"""Class activation maps: where the features speak for the target.

CAM: Zhou et al. 2016, arXiv:1512.04150, section 2. Grad-CAM: Selvaraju et al. 2017,
arXiv:1610.02391, section 3, through torchcam. Grad-CAM++: Chattopadhay et al. 2018,
arXiv:1710.11063, section 3, equations 10 and 19. Smooth Grad-CAM++: Omeiza et al. 2019,
arXiv:1908.01224, section 3. These two are our own: torchcam 0.5 leaves out the division that makes
Grad-CAM++ differ (it divides a copy), and its smooth form lays the weights over the features of the
last noisy picture.

A detector slides one head over several layers, one a scale. The three Grad-CAMs are of the layer
that the target is read from, found by the gradient, and of the window that its score reads there:
this is all the picture that the head sees of it. Without the window a map would be one of the
class, highest at the strongest object of that size. How well the proposal's box fits is taken as
it is: its gradient would be the larger one, and tell which features move the box.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiaroscuro.core.errors import UnsupportedMethodError
from chiaroscuro.methods.differentiable import (
    TargetScores,
    batch_size,
    check_budget,
    differentiable,
    looking_into,
    picture,
    tell,
)
from chiaroscuro.methods.features import Features, watching
from chiaroscuro.methods.question import Answer, Question

NOISE = 0.1
"""Standard deviation of the noise of Smooth Grad-CAM++; the picture's values are in [0, 1]."""

_LEAST_SAMPLES = 2
_NO_LARGER = 1e-6  # of the largest gradient: what rounding alone may leave in a cell
_ONE_SCALE = (
    "cam is a map of the class at one scale, not of one target: targets of one size have one map"
)


def cam(question: Question) -> Answer:
    """Log odds of the class that the features at every place would give, at the target's scale."""
    check_budget(question, "cam", 1)
    layers = _feature_layers(question, "cam")
    with looking_into(question, "cam") as scores, watching(scores.network, layers) as seen:
        (raw,) = scores.propose(picture(question))
        maps, read = [], []
        for index, row in enumerate(scores.similarities(raw).detach()):
            highest = float(row.max()) if len(row) else 0.0
            scores.saw(index, highest)
            head = _class_head(raw.scores[int(row.argmax())], seen) if highest else None
            read.append(head[0] if head else None)
            maps.append(
                seen.enlarge(head[1], scores.extent, *question.size)
                if head
                else torch.zeros(question.size, dtype=torch.float32)
            )
            tell(question, scores, index + 1)
        found = scores.checked(maps)
        notes = scores.notes(found) + ([_ONE_SCALE] if any(read) else [])
        return Answer(
            saliency=found, passes=scores.passes, notes=tuple(notes), settings={"layers": read}
        )


def _class_head(
    score: Float[Tensor, ""], seen: Features
) -> tuple[str, Float[Tensor, "h w"]] | None:
    """The layer a score is read from, and the class head's log odds in all of its cells.

    The gradient in the one cell that the score is read from is the head's weights; what it leaves
    of the score's log odds is the head's bias.
    """
    odds = torch.logit(score, eps=1e-7)
    found = seen.read_from(odds)
    if found is None:
        return None
    layer, gradient = found
    cells = _window(gradient[0]).nonzero()
    if len(cells) != 1:
        raise UnsupportedMethodError(
            "cam",
            f"its class score is read from {len(cells)} cells of the feature map, through layers "
            "in between; CAM needs a class head that reads one cell, a 1 x 1 convolution; take "
            "gradcam",
        )
    row, column = cells[0].tolist()
    spoken = torch.einsum("c,chw->hw", gradient[0, :, row, column], seen.outputs[layer][0]).detach()
    return layer, (spoken - spoken[row, column] + odds.detach()).cpu()


def _window(gradient: Float[Tensor, "channels h w"]) -> Bool[Tensor, "h w"]:
    """The cells that a score reads."""
    strength = gradient.abs().amax(dim=0)
    return strength > _NO_LARGER * strength.max()


def gradcam(question: Question) -> Answer:
    """Positive part of the features' sum, weighted by the mean gradient of their channel."""
    from torchcam.methods import GradCAM

    check_budget(question, "gradcam", 1)
    layers = _feature_layers(question, "gradcam")
    with (
        looking_into(question, "gradcam", follow_boxes=False) as scores,
        watching(scores.network, layers) as seen,
        ExitStack() as stack,
    ):
        extractors = {
            layer: stack.enter_context(GradCAM(scores, f"network.{layer}")) for layer in layers
        }
        weights = scores(picture(question))
        maps, read = [], []
        for index in range(len(question.targets)):
            found = seen.read_from(weights[0, index])
            if found is None:
                maps.append(torch.zeros(question.size, dtype=torch.float32))
            else:
                layer, gradient = found
                (cells,) = extractors[layer](index, weights, normalized=False, retain_graph=True)
                shown = (cells[0] * _window(gradient[0])).cpu()
                maps.append(seen.enlarge(shown, scores.extent, *question.size))
            read.append(found[0] if found else None)
            tell(question, scores, index + 1)
        saliency = scores.checked(maps)
        return Answer(
            saliency=saliency,
            passes=scores.passes,
            notes=(*scores.notes(saliency), *_elsewhere(question, saliency)),
            settings={"layers": read},
        )


def gradcam_plus_plus(question: Question) -> Answer:
    """Positive part of the features' sum, weighted by positive gradients, cell by cell."""
    check_budget(question, "gradcam++", 1)
    return _plus_plus(question, "gradcam++", samples=0)


def smooth_gradcam_plus_plus(question: Question) -> Answer:
    """As ``gradcam_plus_plus``, with gradients that are means over noisy copies of the picture.

    The copies are the same for every target.
    """
    n_targets = len(question.targets)
    check_budget(question, "smooth-gradcam++", (1 + _LEAST_SAMPLES) * n_targets)
    return _plus_plus(question, "smooth-gradcam++", question.budget // n_targets - 1)


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
    first: Float[Tensor, "channels h w"]
    second: Float[Tensor, "channels h w"]
    third: Float[Tensor, "channels h w"]
    count: int = 0

    def add(self, gradients: Float[Tensor, "n channels h w"]) -> None:
        positive = gradients.clamp(min=0)
        self.first = self.first + positive.sum(dim=0)
        self.second = self.second + positive.pow(2).sum(dim=0)
        self.third = self.third + positive.pow(3).sum(dim=0)
        self.count += len(gradients)

    def cells(self) -> Float[Tensor, "h w"]:
        """Grad-CAM++ by the means of the powers."""
        first, second, third = (p / self.count for p in (self.first, self.second, self.third))
        excited = (self.features.clamp(min=0) * third).sum(dim=(1, 2), keepdim=True)
        alpha = torch.where(second > 0, second / (2 * second + excited), 0)
        weights = (alpha * first).sum(dim=(1, 2))
        spoken = torch.einsum("c,chw->hw", weights, self.features).clamp(min=0)
        return (spoken * self.window).cpu()


def _plus_plus(question: Question, method: str, samples: int) -> Answer:
    """Grad-CAM++ by the gradient at the picture itself, or at noisy copies of it."""
    layers = _feature_layers(question, method)
    with (
        looking_into(question, method, follow_boxes=False) as scores,
        watching(scores.network, layers) as seen,
    ):
        powers = _at_the_picture(scores(picture(question))[0], seen, keep_gradient=not samples)
        if samples:
            _at_noisy_copies(question, scores, seen, powers, samples)
        maps = []
        for index, one in enumerate(powers):
            maps.append(
                torch.zeros(question.size, dtype=torch.float32)
                if one is None
                else seen.enlarge(one.cells(), scores.extent, *question.size)
            )
            tell(question, scores, index + 1)
        found = scores.checked(maps)
        return Answer(
            saliency=found,
            passes=scores.passes,
            notes=(*scores.notes(found), *_elsewhere(question, found)),
            settings={
                "layers": [one.layer if one else None for one in powers],
                **({"samples": samples, "noise": NOISE} if samples else {}),
            },
        )


def _at_the_picture(
    weights: Float[Tensor, " targets"], seen: Features, keep_gradient: bool
) -> list[_Powers | None]:
    """Layer and features of every target, and the gradient's powers; None without a gradient."""
    powers: list[_Powers | None] = []
    for weight in weights:
        found = seen.read_from(weight)
        if found is None:
            powers.append(None)
            continue
        layer, gradient = found
        features = seen.outputs[layer].detach()[0]
        none = torch.zeros_like(features)
        one = _Powers(
            layer=layer,
            features=features,
            window=_window(gradient[0]),
            first=none,
            second=none,
            third=none,
        )
        if keep_gradient:
            one.add(gradient)
        powers.append(one)
    return powers


def _at_noisy_copies(
    question: Question,
    scores: TargetScores,
    seen: Features,
    powers: list[_Powers | None],
    samples: int,
) -> None:
    """Add the powers of the gradients at noisy copies, a batch at a time."""
    generator = torch.Generator().manual_seed(question.seed % 2**64)
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
                    seen.outputs[one.layer],
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
                one.add(gradients)


def _elsewhere(question: Question, maps: Float[Tensor, "targets height width"]) -> list[str]:
    """Notes on the targets whose map is highest outside their box."""
    notes = []
    for number, (target, one) in enumerate(zip(question.targets, maps, strict=True), start=1):
        row, column = divmod(int(one.argmax()), one.shape[1])
        x1, y1, x2, y2 = target.box.tolist()
        inside = x1 - 1 < column < x2 and y1 - 1 < row < y2
        if bool(one.any()) and not inside:
            notes.append(
                f"target {number}: the map is highest outside the box, in the window around it "
                "that the score reads; it weighs whole channels, and what speaks for a face there "
                "may be another face"
            )
    return notes


def _feature_layers(question: Question, method: str) -> tuple[str, ...]:
    """The layers that the detector says its class scores are read from.

    For CAM those that the last layer of its head reads, where the detector tells them apart.
    """
    detector = differentiable(question.detector, method)
    if method == "cam" and hasattr(detector, "class_layers"):
        return tuple(detector.class_layers)
    if not detector.feature_layers:
        raise UnsupportedMethodError(
            method,
            f"{detector.info.name} does not say which layers its class scores are read from; "
            "wanted their names as the detector's feature_layers",
        )
    return tuple(detector.feature_layers)
