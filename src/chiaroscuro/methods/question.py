"""What every method is given, and what it returns: the one interface of all methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core.notes import Note
from chiaroscuro.core.plan import Plan
from chiaroscuro.core.records import Target
from chiaroscuro.detectors import Detector
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import CloseUp
from chiaroscuro.store.schema import MapSource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """Why does this detector report these targets in this picture?

    Attributes:
        image: ``3 height width``, uint8 or float32 in [0, 1].
        detector: what is explained.
        targets: at least one, inside the picture.
        n_passes: how many times the network may be run, all targets together.
        plan: seed, mask design (its fill stands where a method hides pixels), estimator of D-RISE
            and batch size.
        evidence: what a D-RISE run of this picture, detector, seed and design has observed; perhaps
            of no mask. Methods that can use it have that many passes less to make.
        progress: called with passes done and passes to do.
    """

    image: Tensor
    detector: Detector
    targets: tuple[Target, ...]
    n_passes: int
    plan: Plan = field(default_factory=Plan)
    evidence: Evidence | None = None
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
        n_passes: how many times the network was run on a picture for it, evidence at hand included;
            a run forwards and backwards is one.
        standard_error: ``targets height width`` in the same units, where the method knows it.
        fidelity: ``targets``, where the method estimates it.
        mean_weight: ``targets``, for methods with masks.
        estimator: for methods with masks.
        meaning: of one unit, where it is not the method's.
        notes: what the reader of the maps should know.
        choices: the method's own choices, as plain JSON values.
        sources: the passes that each map is from, where they differ.
        closeups: of the targets, where they were asked for.
    """

    saliency: Float32[Tensor, "targets height width"]
    n_passes: int
    standard_error: Float32[Tensor, "targets height width"] | None = None
    fidelity: Float32[Tensor, " targets"] | None = None
    mean_weight: Float32[Tensor, " targets"] | None = None
    estimator: str | None = None
    meaning: str | None = None
    notes: tuple[Note, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[MapSource, ...] = ()
    closeups: tuple[CloseUp | None, ...] = ()
