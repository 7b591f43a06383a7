"""What every method is asked, and what it answers: the one interface of all methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core.masks import MaskDesign
from chiaroscuro.core.records import Target
from chiaroscuro.detectors import Detector
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.evidence import Evidence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """Why does this detector report these targets in this picture?

    Attributes:
        image: ``3 height width``, uint8 or float32 in [0, 1].
        detector: the detector asked.
        targets: at least one, inside the picture.
        budget: how many times the network may be run, all targets together.
        seed: of whatever is drawn at random.
        design: its fill stands where a method hides pixels; its grid is that of methods with masks.
        evidence: what a D-RISE run of this picture, detector, seed and design has observed; perhaps
            of no mask. Methods that can use it have that many passes less to make.
        estimator: of D-RISE's map.
        batch_size: pictures a detector call; chosen from the picture's size when not given.
        progress: called with passes done and passes to do.
    """

    image: Tensor
    detector: Detector
    targets: tuple[Target, ...]
    budget: int
    seed: int = 0
    design: MaskDesign = field(default_factory=MaskDesign)
    evidence: Evidence | None = None
    estimator: str = "surrogate"
    batch_size: int | None = None
    progress: Callable[[int, int], None] | None = None

    @property
    def pixels(self) -> Float32[Tensor, "3 height width"]:
        """The picture with values in [0, 1], on the CPU."""
        return as_unit_floats(self.image[None])[0].cpu()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[1], self.image.shape[2]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What a method found.

    Attributes:
        saliency: ``targets height width``, raw, in the units that the method's ``meaning`` states.
        passes: how many times the network was run on a picture for it, evidence that was at hand
            counted; a run forwards and backwards is one.
        standard_error: ``targets height width`` in the same units, where the method knows it.
        fidelity: ``targets``, where the method estimates it.
        notes: what the reader of the maps should know.
        settings: the choices behind it, as plain JSON values.
    """

    saliency: Float32[Tensor, "targets height width"]
    passes: int
    standard_error: Float32[Tensor, "targets height width"] | None = None
    fidelity: Float32[Tensor, " targets"] | None = None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
