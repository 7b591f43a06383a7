"""A detector as a differentiable function: picture to weight of every target.

The weight is that of D-RISE (see ``similarity``): IoU x score of the proposal that is most the
target, 0 for proposals of another class. The maximum is that of one proposal, the first where
several are equal, so a gradient always tells of one place in the network.

While a network is looked into it is in evaluation mode and its parameters have no gradients;
afterwards both are as they were. One thread at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import (
    ChiaroscuroError,
    DetectorError,
    DetectorFailedError,
    DetectorOutputError,
    InputError,
    UnsupportedMethodError,
)
from chiaroscuro.core.records import Target
from chiaroscuro.detectors.commons.networks import evaluating
from chiaroscuro.detectors.protocol import (
    Detector,
    Differentiable,
    RawProposals,
    torch_form,
)
from chiaroscuro.evidence.passes import default_batch_size, out_of_memory
from chiaroscuro.methods.question import Question


class TargetScores(nn.Module):
    """Pictures to weights of the targets, with gradients.

    Args:
        detector: what is differentiated.
        targets: in the order of the outputs.
        follow_boxes: whether gradients also tell how the proposal's box would come to fit the
            target better; if not, only what its score comes from.

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
                rows.append(self.similarities(raw).max(dim=1).values)
            else:  # zeros that a gradient can be asked of
                rows.append(image.sum() * 0 + image.new_zeros(len(self._targets)))
        weights = torch.stack(rows)
        for index, highest in enumerate(weights.detach().amax(dim=0).tolist()):
            self.saw(index, highest)
        return weights

    def saw(self, index: int, weight: float) -> None:
        """Keep the highest weight that a target ever had, for ``notes``."""
        self._highest[index] = max(self._highest[index], weight)

    def propose(self, images: Float[Tensor, "n 3 height width"]) -> Sequence[RawProposals]:
        """What the network says of every picture, checked.

        Raises:
            DetectorOutputError: if a number of it is NaN or infinite.
            DetectorFailedError: if the detector raised.
        """
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

    def similarities(self, raw: RawProposals) -> Float[Tensor, "targets proposals"]:
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

    def checked(
        self, maps: Sequence[Float[Tensor, "height width"]]
    ) -> Float32[Tensor, "targets height width"]:
        """The targets' maps as an answer has them.

        Raises:
            DetectorOutputError: if a gradient was NaN or infinite.
        """
        stacked = torch.stack([one.detach().float().cpu() for one in maps])
        if not bool(stacked.isfinite().all()):
            raise DetectorOutputError(
                f"detector {self._detector.info.name}: wanted finite gradients, got NaN or "
                "infinity; a score is computed in a way that has no derivative there"
            )
        return stacked

    def notes(self, maps: Float[Tensor, "targets height width"]) -> list[str]:
        """Why maps are zero, one sentence a target; numbers of targets count from 1."""
        said = []
        for number, (one, highest) in enumerate(zip(maps, self._highest, strict=True), start=1):
            if bool(one.any()):
                continue
            if not highest:
                said.append(
                    f"target {number}: no proposal overlaps the box, so nothing has a gradient; "
                    "the map is zero because there is no evidence, not because nothing matters; "
                    "draw the box where the detector reports something"
                )
            else:
                said.append(
                    f"target {number}: the map is zero although its weight is {highest:z.3g}:"
                    " this method has nothing positive to show, or the score is saturated, so that "
                    "small changes of a pixel do not change it; ask a method that hides parts"
                )
        return said


def differentiable(detector: Detector, method: str) -> Differentiable:
    """The detector, in torch, if gradients can be had of it.

    Raises:
        UnsupportedMethodError: if it is a black box, or lacks a member of ``Differentiable``.
    """
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
            f"{detector.info.name} is a black box here, with no torch network to look into (no "
            "network, propose and feature_layers)"
        )
    raise UnsupportedMethodError(
        method,
        f"wanted a detector with gradients; {reason}; methods such as drise and occlusion "
        "explain any detector",
    )


@contextmanager
def looking_into(
    question: Question, method: str, follow_boxes: bool = True
) -> Iterator[TargetScores]:
    """The question's detector as a function with gradients, for as long as it is needed.

    Raises:
        UnsupportedMethodError: if it is a black box.
        DetectorError: if memory runs out.
    """
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


def picture(question: Question) -> Float32[Tensor, "1 3 height width"]:
    """The picture on the detector's device, to be differentiated by."""
    return question.pixels[None].to(question.detector.info.device, copy=True).requires_grad_()


def batch_size(question: Question) -> int:
    """Pictures that go through the network at a time."""
    device = torch.device(question.detector.info.device)
    return question.batch_size or default_batch_size(*question.size, device)


def check_budget(question: Question, method: str, least: int) -> None:
    """Hold the budget against what a method cannot do without.

    Raises:
        InputError: if it is less.
    """
    if question.budget < least:
        raise InputError(
            f"method {method}: wanted at least {least} passes for {len(question.targets)} "
            f"target(s), got {question.budget}"
        )


def tell(question: Question, scores: TargetScores, done: int) -> None:
    """Report progress after ``done`` of the targets."""
    if question.progress is not None:
        total = len(question.targets)
        question.progress(scores.passes, scores.passes * total // done)


@contextmanager
def drawing(seed: int, device: str) -> Iterator[None]:
    """Torch's random numbers begin at a seed; afterwards they go on as if nothing had been drawn.

    For libraries that draw from torch's global generators.
    """
    place = torch.device(device)
    on_gpu = place.type == "cuda"
    with torch.random.fork_rng(devices=[place] if on_gpu else []):
        torch.default_generator.manual_seed(seed % 2**64)
        if on_gpu:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(seed % 2**64)
        yield
