"""Running a black-box detector on changed pictures: the weight of every target in each.

The same passes serve all targets.
"""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core.masks import fill_image, hide
from chiaroscuro.core.records import Proposals
from chiaroscuro.core.similarity import similarity
from chiaroscuro.detectors.protocol import unsuppressed
from chiaroscuro.evidence.passes import default_batch_size, detect_each
from chiaroscuro.methods.question import Question


class BlackBox:
    """The detector of a question, with a count of its passes; ``total`` is what they may become.

    As in ``observe``, a detector that can run without non-maximum suppression does so.
    """

    def __init__(self, question: Question, total: int) -> None:
        self.question = question
        self.passes = 0
        self._total = total
        self._detector = unsuppressed(question.detector)
        self.pixels = question.pixels
        self._fill = fill_image(question.plan.design, self.pixels)

    def weights(
        self, masks: Iterable[Float32[Tensor, "height width"]]
    ) -> Float32[Tensor, "targets n"]:
        """Weight of every target under every mask: 1 shows a pixel, 0 hides it by the fill."""
        hidden = (hide(self.pixels, mask[None], self._fill)[0] for mask in masks)
        return self.weights_in(hidden)

    def weights_in(
        self, pictures: Iterable[Float32[Tensor, "3 height width"]]
    ) -> Float32[Tensor, "targets n"]:
        """Weight of every target in every picture, in [0, 1]."""
        rows = [self._weights(found) for found in self._detect(pictures)]
        empty = torch.zeros(len(self.question.targets), 0, dtype=torch.float32)
        return torch.stack(rows, dim=1) if rows else empty

    def _detect(self, pictures: Iterable[Float32[Tensor, "3 height width"]]) -> Iterator[Proposals]:
        height, width = self.question.size
        device = torch.device(self._detector.info.device)
        size = self.question.plan.batch_size or default_batch_size(height, width, device)
        for found in detect_each(iter(pictures), self._detector, size):
            self.passes += 1
            if self.question.progress is not None:
                self.question.progress(self.passes, max(self.passes, self._total))
            yield found

    def _weights(self, found: Proposals) -> Float32[Tensor, " targets"]:
        targets = self.question.targets
        if not len(found):
            return torch.zeros(len(targets), dtype=torch.float32)
        return similarity(targets, found).amax(dim=1)
