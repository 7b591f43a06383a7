"""How the numbers of an ONNX file's outputs read."""

from dataclasses import dataclass

ACTIVATIONS = ("none", "sigmoid", "softmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the numbers of the outputs read.

    Attributes:
        box_format: one of ``BOX_FORMATS``.
        normalised: whether boxes are in [0, 1] of the network's input instead of its pixels.
        scores: the activation that the scores still need, one of ``ACTIVATIONS``.
        grid_offsets: whether centres are offsets from cells of 8, 16 and 32 pixels and sizes are
            logarithms, as in raw YOLOX; None where the numbers decide.
        first_label: label, or column of the scores, of the first class: 1 where a background comes
            before it; None where it is unknown.
        no_object: whether the last column of the scores stands for "no object".
    """

    box_format: str = "xyxy"
    normalised: bool = False
    scores: str = "none"
    grid_offsets: bool | None = False
    first_label: int | None = 0
    no_object: bool = False

    @property
    def n_extra(self) -> int:
        """Columns of the scores that are not classes."""
        return (self.first_label or 0) + self.no_object
