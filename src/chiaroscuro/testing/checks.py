"""A suite of checks for every detector, built-in or from a plug-in.

Use it in a test of your own adapter::

    import pytest
    from chiaroscuro.testing import detector_checks

    @pytest.mark.parametrize(("name", "check"), detector_checks(MyDetector()))
    def test_my_detector(name, check):
        check()
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from chiaroscuro.core.boxes import iou
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.protocol import (
    Detector,
    DetectorInfo,
    Suppressing,
    checked_detect,
    parts_detector,
)

Check = Callable[[], None]
MARGIN = 6  # strides between a target and the border of a part
PART_IOU, PART_SCORE = 0.9, 0.05  # least overlap, largest difference of scores, part and whole


def detector_checks(
    detector: Detector, image: Tensor | None = None, *, tolerance: float = 1e-3
) -> list[tuple[str, Check]]:
    """Every check as ``(name, function)``; a function raises AssertionError if the check fails.

    Args:
        detector: what to check.
        image: ``3 height width`` uint8, not square, in which the detector finds something. Without
            it, noise and a bright and a dark patch of 96 x 160 are tried, which suit a detector of
            anything, not one of faces.
        tolerance: largest difference of boxes (px / side of the picture) and scores between a
            picture alone and the same picture in a batch.
    """
    suite = _Suite(detector, image, tolerance)
    return [
        (name.removeprefix("check_"), getattr(suite, name))
        for name in dir(_Suite)
        if name.startswith("check_")
    ]


def _pictures() -> Iterator[Tensor]:
    """Simple pictures, not square, in which a detector of anything may find something."""
    generator = torch.Generator().manual_seed(0)
    yield torch.randint(0, 256, (3, 96, 160), dtype=torch.uint8, generator=generator)
    for ground, patch in ((20, 235), (235, 20)):
        picture = torch.full((3, 96, 160), ground, dtype=torch.uint8)
        picture[:, 20:60, 40:90] = patch
        yield picture


class _Suite:
    def __init__(self, detector: Detector, image: Tensor | None, tolerance: float) -> None:
        self.detector, self.tolerance, self._given = detector, tolerance, image

    @cached_property
    def image(self) -> Tensor:
        """The given picture, or the first simple one in which something is found."""
        if self._given is not None:
            return self._given
        pictures = list(_pictures())
        return next((one for one in pictures if len(self._detect(one[None])[0])), pictures[0])

    def check_protocol(self) -> None:
        """``info`` is complete and both members exist."""
        assert isinstance(self.detector, Detector)
        info = self.detector.info
        assert isinstance(info, DetectorInfo)
        assert info.name
        assert info.class_names
        assert 0 <= info.min_score < 1
        torch.device(info.device)

    def check_something_is_found(self) -> None:
        """Without this, a detector that never finds anything would pass."""
        of = "the given picture" if self._given is not None else "noise and plain patches"
        assert len(self._detect(self.image[None])[0]), (
            f"nothing was found in {of}; give detector_checks(detector, image) a picture in which "
            "the detector finds something, or lower its min_score"
        )

    def check_one_result_per_image(self) -> None:
        for n in (1, 2, 3):
            assert len(checked_detect(self.detector, self._batch(n))) == n

    def check_empty_batch(self) -> None:
        assert list(self.detector.detect(self._batch(1)[:0])) == []

    def check_results_live_on_one_device(self) -> None:
        for proposals in self._detect(self._batch(2)):
            devices = {proposals.boxes.device, proposals.scores.device, proposals.labels.device}
            assert len(devices) == 1

    def check_scores_reach_no_lower_than_stated(self) -> None:
        for proposals in self._detect(self._batch(2)):
            assert bool((proposals.scores >= self.detector.info.min_score - 1e-6).all())

    def check_labels_have_names(self) -> None:
        names = self.detector.info.class_names
        for proposals in self._detect(self._batch(2)):
            assert bool(((proposals.labels >= 0) & (proposals.labels < len(names))).all())
            vectors = proposals.class_probabilities
            assert vectors is None or len(vectors) == 0 or vectors.shape[1] == len(names)

    def check_boxes_are_pixels_of_the_input(self) -> None:
        """Boxes lie near the picture, which is not square: no swapped axes, no other scale."""
        _, height, width = self.image.shape
        for proposals in self._detect(self._batch(1)):
            centres = (proposals.boxes[:, :2] + proposals.boxes[:, 2:]) / 2
            assert bool((centres >= -0.25 * max(height, width)).all())
            assert bool((centres[:, 0] <= 1.25 * width).all())
            assert bool((centres[:, 1] <= 1.25 * height).all())

    def check_same_picture_same_result(self) -> None:
        first, second = self._detect(self._batch(1)), self._detect(self._batch(1))
        self._assert_alike(first, second, 0.0)

    def check_uint8_equals_float(self) -> None:
        exact = self._detect(self.image[None])
        floats = self._detect(self.image[None].float() / 255)
        self._assert_alike(exact, floats, self.tolerance)

    def check_batch_equals_singles(self) -> None:
        batch = self._batch(3)
        alone = [self._detect(batch[i : i + 1])[0] for i in range(3)]
        self._assert_alike(self._detect(batch), alone, self.tolerance)

    def check_input_is_unchanged(self) -> None:
        batch = self._batch(2)
        before = batch.clone()
        self._detect(batch)
        assert torch.equal(batch, before)

    def check_result_owns_its_memory(self) -> None:
        """A later call does not change an earlier result."""
        first = self._detect(self._batch(1))[0]
        boxes = first.boxes.clone()
        self._detect(1 - self._batch(1))
        assert torch.equal(first.boxes, boxes)

    def check_blank_and_tiny_pictures(self) -> None:
        for size in ((96, 160), (1, 1), (1, 40), (33, 2)):
            for value in (0.0, 1.0):
                assert len(self._detect(torch.full((1, 3, *size), value))) == 1

    def check_gradients_are_not_kept(self) -> None:
        for proposals in self._detect(self._batch(1).requires_grad_()):
            assert not proposals.boxes.requires_grad
            assert not proposals.scores.requires_grad

    def check_without_nms_finds_no_less(self) -> None:
        if not isinstance(self.detector, Suppressing):
            return
        more = self.detector.without_nms()
        assert isinstance(more, Detector)
        assert more.info.before_nms
        plain, raw = self._detect(self._batch(1))[0], more.detect(self._batch(1))[0]
        if len(plain):
            assert len(raw) >= 1
            assert float(raw.scores.max()) >= float(plain.scores.max()) - self.tolerance

    def check_parts_are_seen_as_in_the_whole(self) -> None:
        """Where ``info.any_size`` is true: the best target in a part around it.

        The part has a margin of 6 strides and corners at multiples of the stride, so only a picture
        larger than that shows a difference.
        """
        (whole,) = self._detect(self.image[None])
        if not self.detector.info.any_size or not len(whole):
            return
        best = int(whole.scores.argmax())
        box, score = whole.boxes[best].cpu(), float(whole.scores[best])
        detector = parts_detector(self.detector, *self.image.shape[1:])
        stride = detector.info.stride
        left, top = (max(0, math.floor(v / stride) - MARGIN) for v in box[:2].tolist())
        right, bottom = (max(0, math.ceil(v / stride) + MARGIN) for v in box[2:].tolist())
        x1, y1, x2, y2 = (round(cell * stride) for cell in (left, top, right, bottom))
        (seen,) = checked_detect(detector, self.image[None, :, y1:y2, x1:x2])
        overlap = iou(box[None], seen.boxes.cpu() + torch.tensor([x1, y1, x1, y1]))[0]
        apart = (seen.scores.cpu() - score).abs()
        assert bool(((overlap >= PART_IOU) & (apart <= PART_SCORE)).any()), (
            f"the target {box.tolist()} of score {score:z.2f} is not found alike in the part "
            f"{x1} {y1} {x2} {y2} of the picture; any_size should be None or False, or the stride "
            f"another than {stride:g}"
        )

    def _batch(self, n: int) -> Tensor:
        """The picture, darker with every copy, float32."""
        image = self.image.float() / 255
        return torch.stack([image * (1 - 0.2 * i) for i in range(n)])

    def _detect(self, images: Tensor) -> list[Proposals]:
        return checked_detect(self.detector, images)

    def _assert_alike(
        self, got: Sequence[Proposals], wanted: Sequence[Proposals], tolerance: float
    ) -> None:
        side = max(self.image.shape[1:])
        for one, other in zip(got, wanted, strict=True):
            one, other = one.above(0.05), other.above(0.05)
            assert len(one) == len(other)
            torch.testing.assert_close(
                one.scores, other.scores, atol=tolerance, rtol=0, check_device=False
            )
            # proposals of equal score have no order: match each with another one
            box_apart = (one.boxes.cpu()[:, None] - other.boxes.cpu()).abs().amax(dim=2) / side
            score_apart = (one.scores.cpu()[:, None] - other.scores.cpu()).abs()
            alike = (box_apart <= tolerance) & (score_apart <= tolerance)
            taken: set[int] = set()
            for i, row in enumerate(alike):
                partners = [j for j in row.nonzero()[:, 0].tolist() if j not in taken]
                assert partners, f"no partner for the box {one.boxes[i].tolist()}"
                taken.add(partners[0])
