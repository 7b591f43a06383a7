"""Where the pictures of a data set are."""

from pathlib import Path

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".jp2", ".gif"))


def find_pictures(folder: Path) -> list[Path]:
    """The picture files in a folder and the folders in it, by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def resolve(folder: Path, file_name: str) -> Path | None:
    """The file that a data set means by a name, None where there is none."""
    try:
        return folder / file_name if (folder / file_name).is_file() else None
    except (OSError, ValueError):
        return None
