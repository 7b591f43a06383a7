"""Picture: a picture as it is explained, perhaps a reduced copy of its file."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from chiaroscuro.core.plan import Reading
from chiaroscuro.data.paths import folder_name
from chiaroscuro.images.read import read_image
from chiaroscuro.images.resize import shrink
from chiaroscuro.store.schema import PictureRecord


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A picture as it is explained: perhaps a reduced copy of its file.

    Attributes:
        source: path or address it was read from.
        image: ``3 height width``, uint8.
        scale: pixels of ``image`` per pixel of the file; 1 where it was not reduced.
        title: heads the contact sheet; the file's name where it is empty.
        name: of its folder of results; by default the file's without its suffix, as
            ``paths.folder_name`` makes it safe.
        file_size: height and width of the file, upright; from the scale where it is not given.
    """

    source: str
    image: Tensor
    scale: float = 1.0
    title: str = ""
    name: str = ""
    file_size: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not any(self.file_size):
            height, width = (round(side / self.scale) for side in self.image.shape[1:])
            object.__setattr__(self, "file_size", (height, width))
        if not self.name:
            object.__setattr__(self, "name", folder_name(self.source))

    def record(self) -> PictureRecord:
        """Source, size and scale as the manifest states them."""
        height, width = self.image.shape[1:]
        return PictureRecord(
            source=self.source, width=width, height=height, scale=round(self.scale, 6)
        )


def open_picture(source: str | Path, reading: Reading | None = None, *, name: str = "") -> Picture:
    """Read a picture, reduced as ``reading`` says.

    Args:
        source: a path, or an ``http://`` or ``https://`` address.
        reading: how.
        name: of its folder of results, where it is not to be the file's; see
            ``paths.folder_names`` for several pictures.

    Raises:
        ImageError: if it cannot be read.
    """
    reading = reading or Reading()
    image = read_image(source, max_pixels=reading.max_pixels)
    height, width = image.shape[1:]
    scale = 1.0
    if reading.max_side is not None:
        image, scale = shrink(image, reading.max_side)
    return Picture(
        source=str(source), image=image, scale=scale, name=name, file_size=(height, width)
    )
