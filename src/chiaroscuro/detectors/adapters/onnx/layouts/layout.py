"""What a layout is: which outputs play which part, how their numbers read, what pictures it needs.

A file states what its outputs are called and how large they are, not what they mean. Their meaning
is a :class:`Layout`: a small record and a function that decodes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Roles
from chiaroscuro.detectors.adapters.onnx.layouts.reading import Reading
from chiaroscuro.detectors.adapters.onnx.layouts.scene import Scene
from chiaroscuro.detectors.commons.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """How a family of networks expects its pictures.

    Attributes:
        normalise: how pixels are scaled, a name of ``NORMALISATIONS``.
        channel_order: ``"rgb"`` or ``"bgr"``.
        letterbox: whether pictures get bars or are stretched.
        padding: where a picture lies between the bars: ``"centre"`` or ``"top-left"``.
        padding_colour: of the bars: a grey or red, green and blue in [0, 255], or ``"mean"`` for
            the colour that becomes 0.
        multiple: of which sides must be multiples, where a file leaves them open.
    """

    normalise: str = "unit"
    channel_order: str = "rgb"
    letterbox: bool = True
    padding: str = "centre"
    padding_colour: Any = 114
    multiple: int = 32

    def with_options(self, **options: Any) -> "Feeding":
        """This feeding with the user's options in its place; None keeps the default."""
        return replace(self, **{k: v for k, v in options.items() if v is not None})


Decode = Callable[[dict[str, Tensor], Scene], Rows]  # of one picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a family of exports means by its outputs, and how it expects its pictures.

    Attributes:
        summary: one line for messages.
        roles: which output plays which part; None where these outputs cannot be of this layout.
            The first of the roles holds the boxes.
        knows: whether names and shapes indicate this layout.
        decode: outputs of one picture, by role, as rows.
        reading: how the numbers read.
        feeding: how pictures are prepared.
        before_nms: whether non-maximum suppression is left to the caller.
        columns: number of columns of scores by the shapes, None while sides are open; None where
            rows carry labels.
        one_by_one: whether the outputs of several pictures are mixed.
        needs_format: whether the user must give the format of the boxes.
        class_names: where the family has classes of its own.
    """

    summary: str
    roles: Callable[[File], Roles | None]
    knows: Callable[[File, Roles], bool]
    decode: Decode
    reading: Reading = field(default_factory=Reading)
    feeding: Feeding = field(default_factory=Feeding)
    before_nms: bool = False
    columns: Callable[[Roles], int | None] | None = None
    one_by_one: bool = False
    needs_format: bool = False
    class_names: tuple[str, ...] = ()
