"""The loop that costs: hide parts of the picture, detect, hand the proposals on.

Streaming: masks are made on the detector's device a batch at a time and thrown away, so memory does
not grow with their number.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core import limits
from chiaroscuro.core.errors import ChiaroscuroError, DetectorError, DetectorFailedError
from chiaroscuro.core.masks import Masks, fill_image, hide
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.core.similarity import similarity
from chiaroscuro.core.windows import Window
from chiaroscuro.detectors.protocol import Detector, checked_detect

MAX_PROPOSALS = 300  # per mask; the best are kept, and those most like the targets
_PIXELS_PER_BATCH = {"cpu": 2_000_000, "cuda": 16_000_000}
_OUT_OF_MEMORY = (
    "out of memory",
    "failed to allocate memory",  # ONNX Runtime
    "can't allocate memory",  # torch on a CPU
    "not enough memory",  # the same on Windows
    "alloc_failed",  # cuDNN, cuBLAS
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What a detector is shown: a picture, or a window of it, with parts hidden.

    Attributes:
        detector: that is observed.
        masks: of ``area``.
        image: ``3 height width`` of the window, float32 in [0, 1], on the detector's device.
        fill: what stands where a pixel is hidden, of the part of ``area`` in the window; None for
            black.
        window: that is shown, in the picture.
        area: that masks cover, in the picture; what lies outside of it is never hidden.
    """

    detector: Detector
    masks: Masks
    image: Float32[Tensor, "3 height width"]
    fill: Float32[Tensor, "3 rows columns"] | None
    window: Window
    area: Window

    @classmethod
    def of(
        cls,
        detector: Detector,
        masks: Masks,
        image: Float32[Tensor, "3 height width"],
        window: Window | None = None,
        area: Window | None = None,
    ) -> "View":
        """A view of a picture with values in [0, 1], or of a window of it.

        Raises:
            ImageError: if the design's fill is of another size than the area.
        """
        image = image.to(torch.device(detector.info.device))
        whole = Window.whole(image.shape[1:])
        window, area = window or whole, area or whole
        fill = fill_image(masks.design, area.of(image))
        hidden = window.within(area)
        return cls(
            detector=detector,
            masks=masks,
            image=window.of(image).contiguous(),
            fill=None if fill is None else hidden.moved(-area.x1, -area.y1).of(fill).contiguous(),
            window=window,
            area=area,
        )

    def hidden(self, start: int, stop: int) -> Float32[Tensor, "n 3 height width"]:
        """The view under masks ``start`` to ``stop - 1``."""
        part = self.window.within(self.area)
        place = part.moved(-self.area.x1, -self.area.y1)
        rows, columns = (one.to(self.image.device) for one in (place.rows, place.columns))
        masks = self.masks.sample(start, stop, rows, columns)
        if part == self.window:
            return hide(self.image, masks, self.fill)
        inside = part.moved(-self.window.x1, -self.window.y1)
        shown = self.image.repeat(stop - start, 1, 1, 1)
        inside.of(shown).copy_(hide(inside.of(self.image), masks, self.fill))
        return shown

    def placed(self, found: Proposals) -> Proposals:
        """Proposals in the view's pixels as proposals in the picture's."""
        if not self.window.x1 and not self.window.y1:
            return found
        return found.moved(self.window.x1, self.window.y1)


def observe_masks(
    view: View,
    start: int,
    stop: int,
    batch_size: int | None = None,
    targets: Sequence[Target] = (),
) -> Iterator[list[Proposals]]:
    """Run the detector under masks ``start`` to ``stop - 1``; yields batches, on the CPU.

    Of more than ``MAX_PROPOSALS`` under one mask the best by score are kept, and for every target
    the one most similar to it: its weight is then that of all proposals. When memory runs out the
    batch is halved and tried again.

    Raises:
        DetectorFailedError: if the detector raised.
        DetectorError: if one picture alone does not fit in memory, or the detector broke its
            promise.
    """
    size = batch_size or default_batch_size(*view.window.size, view.image.device)
    while start < stop:
        end = min(start + size, stop)
        try:
            found = _detected(view.detector, view.hidden(start, end))
        except Exception as error:  # out of memory, by any name; all else is raised again
            size = _smaller(size, error, view.detector, view.image)
            continue
        yield [_thinned(view.placed(proposals), targets).to("cpu") for proposals in found]
        start = end


def _thinned(proposals: Proposals, targets: Sequence[Target]) -> Proposals:
    """The best by score, best first, and for every target the one most similar to it."""
    if len(proposals) <= MAX_PROPOSALS:
        return proposals
    best = torch.argsort(proposals.scores, descending=True, stable=True)[:MAX_PROPOSALS]
    if not targets:
        return proposals[best]
    alike = torch.unique(similarity(targets, proposals).argmax(dim=1))
    return proposals[torch.cat([best, alike[~torch.isin(alike, best)]])]


def detect_each(
    pictures: Iterator[Float32[Tensor, "3 height width"]],
    detector: Detector,
    batch_size: int,
) -> Iterator[Proposals]:
    """Run the detector on pictures of one size as they are made; yields proposals on the CPU.

    ``pictures`` have values in [0, 1], and are taken ``batch_size`` at a time. When memory runs out
    the batch is halved and tried again. Errors are those of ``observe_masks``.
    """
    batch_size = limits.N_PASSES("batch_size", batch_size)
    device = torch.device(detector.info.device)
    while batch := list(islice(pictures, batch_size)):
        while batch:
            images = torch.stack(batch[:batch_size]).to(device)
            try:
                found = _detected(detector, images)
            except Exception as error:  # out of memory, by any name; all else is raised again
                batch_size = _smaller(batch_size, error, detector, images)
                continue
            batch = batch[batch_size:]
            for proposals in found:
                yield proposals.to("cpu")


def detect_whole(detector: Detector, image: Tensor) -> Proposals:
    """All that the detector reports in a whole picture, on the CPU.

    Boxes without area, and boxes wholly outside the picture, are left out; a warning counts them.
    """
    try:
        found = checked_detect(detector, image[None])[0].to("cpu")
    except ChiaroscuroError:
        raise
    except Exception as error:
        raise DetectorFailedError(
            f"detector {detector.info.name} failed on the whole picture: "
            f"{type(error).__name__}: {error}"
        ) from error
    usable = found.within(*image.shape[1:])
    if len(usable) < len(found):
        warnings.warn(
            f"detector {detector.info.name}: left out {len(found) - len(usable)} of {len(found)} "
            "detections without area or wholly outside the picture",
            RuntimeWarning,
            stacklevel=2,
        )
    return usable


def _detected(detector: Detector, images: Tensor) -> list[Proposals]:
    """What the detector reports; what it raises is a DetectorFailedError, with that as its cause.

    Running out of memory is raised as it is.
    """
    try:
        return checked_detect(detector, images)
    except DetectorError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise DetectorFailedError(
            f"detector {detector.info.name} failed: {type(error).__name__}: {error}"
        ) from error


def default_batch_size(height: int, width: int, device: torch.device) -> int:
    """Pictures per detector call: as many as keep the batch's own memory near 24 MB on a CPU."""
    pixels = _PIXELS_PER_BATCH.get(device.type, _PIXELS_PER_BATCH["cpu"])
    return max(1, min(64, pixels // (height * width)))


def _smaller(size: int, error: Exception, detector: Detector, image: Tensor) -> int:
    """Half the batch size after running out of memory; any other error is raised again."""
    if not out_of_memory(error):
        raise error
    if size == 1:
        height, width = image.shape[-2:]
        raise DetectorError(
            f"detector {detector.info.name}: out of memory on a single picture of "
            f"{width}x{height}; explain a smaller copy of it (read_image(..., max_side=1024))"
        ) from error
    return max(1, size // 2)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a CPU or a GPU, in torch or ONNX Runtime."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(sentence in text for sentence in _OUT_OF_MEMORY)
