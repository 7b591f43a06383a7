"""A detector with known evidence, so that a map can be checked against it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats


class PlantedDetector:
    """Reports one box whose score is a known, linear function of known pixels.

    ``score = clip(bias + sum(evidence * brightness), 0, 1)``, where brightness is the mean over the
    three channels in [0, 1]. Pixels with positive evidence raise the score when they are shown,
    those with negative evidence suppress it.

    Args:
        box: the box reported, x1 y1 x2 y2 in pixels.
        evidence: ``height width``, score per unit of brightness.
        bias: score of a black picture.
        min_score: below it nothing is reported.
    """

    def __init__(
        self,
        box: Sequence[float | int],
        evidence: Float[Tensor, "height width"],
        *,
        bias: float = 0.0,
        min_score: float = 0.001,
    ) -> None:
        self.box = torch.tensor([list(box)], dtype=torch.float32)
        self.evidence = evidence.to(torch.float64)
        self.bias = bias
        self.info = DetectorInfo(name="planted", min_score=min_score, any_size=False)

    def detect(self, images: Tensor) -> list[Proposals]:
        """One proposal per image, none where its score is below ``min_score``."""
        brightness = as_unit_floats(images).detach().cpu().mean(dim=1).double()
        height, width = self.evidence.shape
        if brightness.shape[1:] != (height, width):  # another size: the same scene, resized
            brightness = torch.nn.functional.interpolate(brightness[:, None], (height, width))[:, 0]
        scores = (self.bias + (brightness * self.evidence).sum(dim=(1, 2))).clamp(0, 1).float()
        return [
            Proposals(boxes=self.box, scores=score[None])
            if score >= self.info.min_score
            else Proposals.empty()
            for score in scores
        ]
