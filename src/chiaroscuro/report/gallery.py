"""A small page that shows explained pictures, linking to the files beside it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiaroscuro.report import page
from chiaroscuro.results.explaining import ExplainedPicture
from chiaroscuro.store.bundle import AnyPath


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GalleryEntry:
    """One picture on the page.

    Attributes:
        title: of the picture.
        byline: who made it, when.
        url: a page about it, or an empty string.
        explained: the result.
        captions: a word for every target.
    """

    title: str
    byline: str
    url: str
    explained: ExplainedPicture
    captions: Sequence[str]


def write_gallery(
    path: Path,
    heading: str,
    entries: Sequence[GalleryEntry],
    *,
    detector: str,
    links: Mapping[str, AnyPath] | None = None,
) -> Path:
    """Write the page; pictures are linked relative to it, so the folder can be moved whole.

    Args:
        path: the page.
        heading: its title.
        entries: the pictures.
        detector: its name.
        links: further pages in the same folder, by what is said of them.
    """
    page.render(
        path,
        "gallery.html",
        heading=heading,
        detector=detector,
        counts=Counter(caption for entry in entries for caption in entry.captions),
        links={
            text: other.relative_to(path.parent).as_posix()  # type: ignore[arg-type]
            for text, other in (links or {}).items()
        },
        entries=[_describe(entry, path.parent) for entry in entries],
    )
    return path


def _describe(entry: GalleryEntry, root: Path) -> dict[str, Any]:
    explained = entry.explained
    height, width = explained.picture.image.shape[1:]
    return {
        "title": entry.title,
        "byline": entry.byline,
        "url": entry.url,
        "sheet": explained.sheet.relative_to(root).as_posix(),
        "folder": explained.folder.relative_to(root).as_posix(),
        "n_masks": explained.result.settings["n_masks"],
        "size": f"{width} x {height}",
        "notes": explained.result.notes,
        "targets": [
            {
                "number": i + 1,
                "caption": caption,
                "score": target.score,
                "trust": explained.result.fidelity_text(i, 3).removeprefix("fidelity "),
                "mean_weight": float(explained.result.mean_weight[i]),
                "overlay": overlay.relative_to(root).as_posix(),
            }
            for i, (target, caption, overlay) in enumerate(
                zip(explained.result.targets, entry.captions, explained.overlays, strict=True)
            )
        ],
    }
