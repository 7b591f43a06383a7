"""Picture: a picture as it is explained, perhaps a reduced copy of its file, or a part of that."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from chiaroscuro.core.plan import Reading, TiledReading
from chiaroscuro.core.tiles import Tile
from chiaroscuro.data.paths import folder_name
from chiaroscuro.images.read import read_image
from chiaroscuro.images.resize import shrink
from chiaroscuro.store.schema import PictureRecord


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A picture as it is explained: perhaps a reduced copy of its file, or a part of that.

    Attributes:
        source: path or address it was read from.
        image: ``3 height width``, uint8.
        scale: pixels of ``image`` per pixel of the file; 1 where it was not reduced.
        title: heads the contact sheet; the file's name where it is empty.
        name: of its folder of results; by default the file's without its suffix, as
            ``paths.folder_name`` makes it safe.
        file_size: height and width of the file, upright; from the scale where it is not given.
        tile: the part of the reduced file that ``image`` is; None where it is all of it.
    """

    source: str
    image: Tensor
    scale: float = 1.0
    title: str = ""
    name: str = ""
    file_size: tuple[int, int] = (0, 0)
    tile: Tile | None = None

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
            source=self.source,
            width=width,
            height=height,
            scale=round(self.scale, 6),
            part=None if self.tile is None else self.tile.window,
        )

    @property
    def shown_source(self) -> str:
        """The source; of a tile with its place in the file."""
        if self.tile is None:
            return self.source
        x1, y1, x2, y2 = self.tile.place
        return f"{self.source} from {x1},{y1} to {x2},{y2}"

    def in_file(self, box: Tensor) -> Tensor:
        """A box ``4`` in the picture's pixels, in those of the file."""
        return box / self.scale if self.tile is None else self.tile.in_picture(box)

    def part(self, tile: Tile) -> "Picture":
        """A tile of this picture, which is not reduced, as a picture of its own."""
        if tile.whole and tile.scale == 1:
            return self
        reduced, _ = shrink(self.image, max(tile.size))
        x1, y1, x2, y2 = tile.place
        return replace(
            self,
            title="" if tile.whole else f"{self.name}, {x1},{y1} to {x2},{y2}",
            image=tile.window.of(reduced).contiguous(),
            scale=tile.scale,
            name=self.name if tile.whole else f"{self.name}__{x1}-{y1}-{x2}-{y2}",
            tile=None if tile.whole else tile,
        )


def open_picture(
    source: str | Path, reading: Reading | TiledReading | None = None, *, name: str = ""
) -> Picture:
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
    if isinstance(reading.max_side, int):
        image, scale = shrink(image, reading.max_side)
    return Picture(
        source=str(source), image=image, scale=scale, name=name, file_size=(height, width)
    )
