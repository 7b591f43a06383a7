"""A large picture as parts that are explained one by one, each with the targets that lie in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from chiaroscuro.core.limits import TILE
from chiaroscuro.core.plan import Selection
from chiaroscuro.core.records import Target, as_targets
from chiaroscuro.core.tiles import Tile, tile_for, tiles_of
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.detectors.tiled import Found, TiledDetector
from chiaroscuro.evidence.targets import class_label
from chiaroscuro.results.picture import Picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A part of a picture, and what is to be explained in it.

    Attributes:
        picture: the part as a picture of its own.
        targets: in its pixels.
    """

    picture: Picture
    targets: tuple[Target, ...]


def needs_parts(image: Tensor) -> bool:
    """Whether a picture ``3 height width`` is larger than a tile."""
    return max(image.shape[1:]) > TILE


def search(image: Tensor, detector: Detector, selection: Selection) -> Found:
    """What a detector finds in the tiles of a picture, of the selection's class and scores."""
    found = TiledDetector(detector).search(image)
    wanted = found.proposals.scores >= selection.min_score
    if selection.target_class is not None:
        label = class_label(selection.target_class, detector.info.class_names)
        wanted &= found.proposals.labels == label
    numbers = wanted.nonzero()[:, 0].tolist()
    return Found(proposals=found.proposals[numbers], tiles=tuple(found.tiles[i] for i in numbers))


def parts_of(picture: Picture, found: Found | None, drawn: Sequence[Target] = ()) -> list[Part]:
    """The tiles of a picture that hold targets, coarse ones first.

    What was found is explained in a tile of the size in which it was found, the tile that shows
    most around it. Where there is nothing to explain, the only part is the whole picture, reduced.

    Args:
        picture: at its full size.
        found: explained too; None for the others alone.
        drawn: boxes that are not found, in the picture's pixels; ``tiles.tile_for`` places them.
    """
    height, width = picture.image.shape[1:]
    tiles = tiles_of(height, width, TILE)
    placed: dict[Tile, list[Target]] = {}
    if found is not None:
        for target, tile in zip(as_targets(found.proposals), found.tiles, strict=True):
            of_size = [one for one in tiles if one.scale == tile.scale]
            placed.setdefault(_with_most_around(target, of_size), []).append(target)
    for target in drawn:
        placed.setdefault(tile_for(target.box, tiles), []).append(target)
    return [
        Part(
            picture=picture.part(tile),
            targets=tuple(_in_tile(target, tile) for target in placed.get(tile, ())),
        )
        for tile in tiles
        if tile in placed or (not placed and tile.whole)
    ]


def _with_most_around(target: Target, tiles: Sequence[Tile]) -> Tile:
    return max(tiles, key=lambda tile: float(tile.depth(tile.in_tile(target.box[None]))[0]))


def _in_tile(target: Target, tile: Tile) -> Target:
    """A target in the picture's pixels, in those of a tile that holds it."""
    moved = target.scaled(tile.scale).moved(-tile.window.x1, -tile.window.y1)
    return moved.inside(*tile.window.size)
