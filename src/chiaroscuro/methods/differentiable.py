"""A detector as a differentiable function, from a picture to the weight of every target.

The weight is that of D-RISE (see ``similarity``): IoU x score of the proposal most similar to the
target, 0 for proposals of another class. The maximum is that of one proposal, the first where
several are equal, so a gradient always describes one place in the network.

During use the network is in evaluation mode and its parameters have no gradients; afterwards both
are as they were. One thread at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import (
    ChiaroscuroError,
    DetectorError,
    DetectorFailedError,
    DetectorOutputError,
    UnsupportedMethodError,
)
from chiaroscuro.core.notes import Note
from chiaroscuro.core.records import Target
from chiaroscuro.detectors.commons.networks import evaluating
from chiaroscuro.detectors.protocol import (
    Detector,
    Differentiable,
    RawProposals,
    torch_form,
)
from chiaroscuro.evidence.passes import default_batch_size, out_of_memory
from chiaroscuro.methods.question import Answer, Question

NOISE = 0.1
"""Standard deviation of the noise of SmoothGrad and Smooth Grad-CAM++; pictures are in [0, 1]."""


class TargetScores(nn.Module):
    """Pictures to weights of the targets, with gradients.

    Unless ``follow_boxes``, gradients are of a proposal's score alone, not of how its box fits.

    Attributes:
        network: the detector's own, shared.
        passes: pictures that went through it so far.
        extent: of the latest picture; see ``RawProposals``.
    """

    def __init__(
        self, detector: Differentiable, targets: Sequence[Target], follow_boxes: bool = True
    ) -> None:
        super().__init__()
        self._follow_boxes = follow_boxes
        self.network = detector.network
        self.passes = 0
        self.extent: tuple[float, float] = (0.0, 0.0)
        self._detector, self._targets = detector, targets
        self._boxes = torch.stack([target.box for target in targets])
        self._highest = [0.0] * len(targets)

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n targets"]:
        """Weight of every target in every picture, in [0, 1]; 0 where nothing overlaps it."""
        rows = []
        for image, raw in zip(images, self.propose(images), strict=True):
            if len(raw.scores):
                rows.append(self._similarities(raw).max(dim=1).values)
            else:  # zeros with a gradient
                rows.append(image.sum() * 0 + image.new_zeros(len(self._targets)))
        weights = torch.stack(rows)
        self._keep_highest(weights.amax(dim=0))
        return weights

    def propose(self, images: Float[Tensor, "n 3 height width"]) -> Sequence[RawProposals]:
        """The network's proposals in every picture, checked."""
        name = self._detector.info.name
        try:
            found = self._detector.propose(images)
        except ChiaroscuroError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise DetectorFailedError(
                f"detector {name} failed: {type(error).__name__}: {error}"
            ) from error
        self.passes += len(images)
        for raw in found:
            self.extent = raw.extent
            if not bool(raw.scores.isfinite().all() & raw.boxes.isfinite().all()):
                raise DetectorOutputError(
                    f"detector {name}: wanted finite scores and boxes, got NaN or infinity; "
                    "the weights or the picture hold NaN or infinity"
                )
        return found

    def best_scores(self, raw: RawProposals) -> list[Float[Tensor, ""] | None]:
        """For every target the score of the most similar proposal; None where none is similar."""
        if not len(raw.scores):
            return [None] * len(self._targets)
        highest, best = self._similarities(raw).detach().max(dim=1)
        self._keep_highest(highest)
        return [
            raw.scores[index] if similar else None
            for similar, index in zip(highest.tolist(), best.tolist(), strict=True)
        ]

    def answer(
        self,
        question: Question,
        explain: Callable[[int], Tensor | None],
        notes: Sequence[Note] = (),
        choices: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The answer of a method that makes one map after the other.

        ``explain`` makes the map of the target with an index, or None where there is no gradient;
        it may add to ``notes`` and ``choices``.
        """
        maps = []
        n_targets = len(question.targets)
        for index in range(n_targets):
            saliency = explain(index)
            if saliency is None:
                saliency = torch.zeros(question.size, dtype=torch.float32)
            maps.append(saliency.detach().float().cpu())
            if question.progress is not None:
                question.progress(self.passes, self.passes * n_targets // (index + 1))
        found = torch.stack(maps)
        if not bool(found.isfinite().all()):
            raise DetectorOutputError(
                f"detector {self._detector.info.name}: wanted finite gradients, got NaN or "
                "infinity; a score is computed in a way that has no derivative there"
            )
        return Answer(
            saliency=found,
            n_passes=self.passes,
            notes=(*self._notes(found), *notes),
            choices=choices or {},
        )

    def _similarities(self, raw: RawProposals) -> Float[Tensor, "targets proposals"]:
        """``IoU x score`` of every target with every proposal, 0 for another class; in [0, 1]."""
        overlap = boxes.iou(self._boxes.to(raw.boxes), raw.boxes)
        if not self._follow_boxes:
            overlap = overlap.detach()
        agrees = [
            torch.ones_like(raw.scores)
            if target.label is None
            else (raw.labels == target.label).to(raw.scores)
            for target in self._targets
        ]
        return overlap * torch.stack(agrees) * raw.scores

    def _keep_highest(self, weights: Float[Tensor, " targets"]) -> None:
        self._highest = [max(*pair) for pair in zip(self._highest, weights.tolist(), strict=True)]

    def _notes(self, maps: Float[Tensor, "targets height width"]) -> Iterator[Note]:
        """Why maps are zero."""
        for number, (one, highest) in enumerate(zip(maps, self._highest, strict=True), start=1):
            if bool(one.any()):
                continue
            if highest:
                yield Note("saturated", number, weight=highest)
            else:
                yield Note("no gradient", number)


def differentiable(detector: Detector, method: str) -> Differentiable:
    """The detector in torch; UnsupportedMethodError where it is a black box."""
    detector = torch_form(detector)
    has_network = isinstance(getattr(detector, "network", None), nn.Module)
    if isinstance(detector, Differentiable) and has_network:
        return detector
    if has_network:
        missing = [name for name in ("propose", "feature_layers") if not hasattr(detector, name)]
        reason = (
            f"{detector.info.name} runs a torch network but has no {' and no '.join(missing)}; "
            "docs/how-to/my-own-detector.md shows how to write them"
        )
    else:
        reason = (
            f"{detector.info.name} is a black box here, without a torch network (no network, "
            "propose and feature_layers)"
        )
    raise UnsupportedMethodError(
        method,
        f"wanted a detector with gradients; {reason}; methods such as drise and occlusion "
        "explain any detector",
    )


@contextmanager
def target_scores(
    question: Question, method: str, follow_boxes: bool = True
) -> Iterator[TargetScores]:
    """The question's detector as a function with gradients."""
    detector = differentiable(question.detector, method)
    network = detector.network
    with torch.inference_mode(False), evaluating(network), torch.enable_grad():
        learned = [one for one in network.parameters() if one.requires_grad]
        try:
            for parameter in learned:
                parameter.requires_grad_(False)
            yield TargetScores(detector, question.targets, follow_boxes)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            height, width = question.size
            raise DetectorError(
                f"method {method}, detector {detector.info.name}: out of memory on a picture of "
                f"{width}x{height}; give batch_size=1, or explain a smaller copy of it "
                "(read_image(..., max_side=1024))"
            ) from error
        finally:
            for parameter in learned:
                parameter.requires_grad_(True)


def input_image(question: Question) -> Float32[Tensor, "1 3 height width"]:
    """The picture on the detector's device, with a gradient."""
    return question.pixels[None].to(question.detector.info.device, copy=True).requires_grad_()


def batch_size(question: Question) -> int:
    """Pictures that go through the network at a time."""
    device = torch.device(question.detector.info.device)
    return question.plan.batch_size or default_batch_size(*question.size, device)
