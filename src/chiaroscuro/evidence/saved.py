"""Evidence as one ``.npz``: all parts of it, one after the other, and the settings that split them.

The parts are the passes on the whole picture, in every window, and of every close-up.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from chiaroscuro.core.declared import plain, read
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.pixels import checked_pixels
from chiaroscuro.core.plan import MaskDesign
from chiaroscuro.core.records import Proposals
from chiaroscuro.core.windows import Window
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.store import arrays, bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import AGAIN, CloseUpPasses, MapSettings

if TYPE_CHECKING:
    from chiaroscuro.evidence.evidence import Evidence

COLUMNS = ("boxes", "scores", "labels", "class_probabilities", "objectness")


def write(evidence: "Evidence", path: AnyPath) -> None:
    """Write everything, whole or not at all."""
    parts = (evidence, *evidence.windows, *evidence.closeups)
    columns = {
        "settings": np.array(json.dumps(plain(evidence.settings()))),
        "image": evidence.image.numpy(),
        "counts": torch.cat([part.counts for part in parts]).numpy(),
    }
    told = [part for part in parts if len(part.boxes)] or [evidence]  # nothing reported: no columns
    for name in COLUMNS:
        found = [getattr(part, name) for part in told]
        if all(one is not None for one in found):
            columns[name] = torch.cat(found).numpy()
    if isinstance(evidence.design.fill, Tensor):
        columns["fill"] = evidence.design.fill.cpu().numpy()
    bundle.write_arrays(path, columns)


def read_parts(path: AnyPath) -> tuple[list[dict[str, Any]], int]:
    """The fields of the evidence of every part, and how many of them are of windows.

    Raises:
        BundleError: if the file is damaged or is no evidence.
    """
    columns = bundle.read_arrays(path, arrays.EVIDENCE, remedy=AGAIN)
    with bundle.as_bundle_error(path, AGAIN):
        settings, counts = _settings_of(columns), torch.from_numpy(columns["counts"])
        image = torch.from_numpy(columns["image"])
        parts = _parts(settings, image, _design_of(settings, columns))
        n_passes = [n for n, _ in parts]
        if sum(n_passes) != len(counts):
            raise InputError(f"settings say {sum(n_passes)} masks, counts {len(counts)}")
        found = Proposals(**{name: columns.get(name) for name in COLUMNS})
        about = {
            "image": image,
            "seed": settings.seed,
            "detector": settings.detector,
            "before_nms": settings.before_nms,
            "image_sha256": settings.image_sha256 or "",
        }
        of_parts = _split(found, counts, n_passes)
        fields = [
            {**about, **own, **of_part} for own, (_, of_part) in zip(of_parts, parts, strict=True)
        ]
    return fields, len(settings.windows)


def read_image(path: AnyPath) -> Tensor:
    """The picture alone, ``3 height width``.

    Raises:
        BundleError: if the file is damaged or is no evidence.
    """
    columns = bundle.read_arrays(path, arrays.EVIDENCE, only=("settings", "image"), remedy=AGAIN)
    with bundle.as_bundle_error(path, AGAIN):
        _settings_of(columns)
    return torch.from_numpy(columns["image"])


def _settings_of(columns: Mapping[str, Any]) -> MapSettings:
    """The settings of an evidence file; an InputError if they are of another picture."""
    settings = read(MapSettings, bundle.parse_json(str(columns["settings"])), "settings")
    image = checked_pixels("image", torch.from_numpy(columns["image"]))
    if settings.image_sha256 != image_hash(image):
        raise InputError("its picture is not the one that was observed: another image_sha256")
    return settings


def _design_of(settings: MapSettings, columns: Mapping[str, Any]) -> MaskDesign:
    """The design of the maps' masks, with its fill."""
    design = settings.design
    if (design.fill == "image") != ("fill" in columns):
        raise InputError(f"its fill is {design.fill!r}, which does not fit its arrays")
    return attrs.evolve(design, fill=columns["fill"]) if "fill" in columns else design


def _parts(
    settings: MapSettings, image: Tensor, design: MaskDesign
) -> list[tuple[int, dict[str, Any]]]:
    """Number of passes and fields of the evidence on the whole, in windows, and of close-ups."""
    whole = Window.whole(image.shape[1:])
    fields = {"window": whole, "area": whole, "design": design, "kept_for": settings.kept_for}
    parts = [(settings.n_passes, fields)]
    for one in (*settings.windows, *settings.closeups):
        own = {**fields, "window": _inside(one.window, image), "kept_for": one.kept_for}
        if isinstance(one, CloseUpPasses):
            if one.design.fill == "image":
                raise InputError("closeups: wanted a fill that is no image")
            own |= {"area": _inside(one.area, image), "design": one.design}
        parts.append((one.n_passes, own))
    return parts


def _split(
    found: Proposals, counts: Int64[Tensor, " n_masks"], n_passes: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Counts and columns of passes, part after part."""
    if int(counts.sum()) != len(found):
        raise InputError(f"wanted {int(counts.sum())} proposals, as counts say, got {len(found)}")
    start = 0
    for own in torch.split(counts, list(n_passes)):
        stop = start + int(own.sum())
        columns = {name: getattr(found[start:stop], name) for name in COLUMNS}
        yield {"counts": own, **columns}
        start = stop


def _inside(window: Window, image: Tensor) -> Window:
    """A window of an evidence file; an InputError if it is not inside the picture."""
    height, width = image.shape[1:]
    if window.x2 > width or window.y2 > height:
        raise InputError(
            f"windows: wanted one inside the picture of {width}x{height}, got {window.plain()}"
        )
    return window
