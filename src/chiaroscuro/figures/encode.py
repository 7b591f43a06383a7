"""Pixels and figures as bytes, and in files: the one place that encodes pictures."""

import base64
import io
import warnings
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath

_Path = TypeVar("_Path", bound=AnyPath)
_JPEG_QUALITY = 88


def png(rgba: npt.NDArray[np.floating]) -> bytes:
    """Colours ``height width 4`` in [0, 1] as PNG."""
    stream = io.BytesIO()
    Image.fromarray((rgba.clip(0, 1) * 255).round().astype(np.uint8), "RGBA").save(stream, "png")
    return stream.getvalue()


def jpeg(pixels: npt.NDArray[np.uint8], longer: int | None = None) -> bytes:
    """A picture ``height width 3`` as JPEG.

    Args:
        pixels: the picture.
        longer: the longer side is reduced to this many pixels; never enlarged.
    """
    picture = Image.fromarray(pixels)
    if longer is not None:
        picture.thumbnail((longer, longer), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "jpeg", quality=_JPEG_QUALITY)
    return stream.getvalue()


def data_uri(pixels: npt.NDArray[np.uint8], longer: int | None = None) -> str:
    """A picture as ``jpeg`` encodes it, as an address that holds all of it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(pixels, longer)).decode()}"


def save(figure: Figure, path: _Path, *, dpi: int | None = None) -> _Path:
    """Write a figure as PNG or SVG by the path's suffix, whole or not at all.

    The same figure gives the same bytes. Text stays text in SVG.

    Args:
        figure: the figure.
        path: the file.
        dpi: pixels per inch of a PNG; those of the figure when not given.
    """
    stream = io.BytesIO()
    kind = path.suffix.lstrip(".")
    unchanging = {"Date": None} if kind == "svg" else {"Software": None}
    svg = rc_context({"svg.fonttype": "none", "svg.hashsalt": "chiaroscuro"})
    with PROCESS_WIDE, warnings.catch_warnings(), svg:
        warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font lacks
        figure.savefig(stream, format=kind, dpi=dpi or "figure", metadata=unchanging)
    bundle.write_atomically(path, lambda file: file.write(stream.getvalue()))
    return path


def save_all(figures: Mapping[str, Figure], folder: AnyPath) -> list[str]:
    """Write every figure to ``folder`` as SVG and as PNG, named by its key.

    Returns:
        The names of the files.
    """
    return [
        save(figure, folder / f"{name}.{suffix}").name
        for name, figure in figures.items()
        for suffix in ("svg", "png")
    ]
