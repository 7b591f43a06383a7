"""A detector that searches large pictures in tiles: at full size for small faces, and at halves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chiaroscuro.core import boxes, limits
from chiaroscuro.core.records import Proposals
from chiaroscuro.core.tiles import Tile, tiles_of
from chiaroscuro.detectors.commons.rows import LOOSE_NMS_IOU
from chiaroscuro.detectors.protocol import Detector, checked_detect, unsuppressed
from chiaroscuro.images.resize import shrink

_LARGEST = 0.125  # of a tile's side; larger objects are left to a smaller size of the picture
_SHARED = 0.5  # share of the smaller box that lies in the other, above which they are one object
_CUT = 2.0  # pixels: what is nearer to a tile's border may go on beyond it
_PIXELS_PER_BATCH = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What was found in a picture.

    Attributes:
        proposals: best first, in pixels of the picture.
        tiles: the one that each was found in.
    """

    proposals: Proposals
    tiles: tuple[Tile, ...]


class TiledDetector:
    """A detector on tiles of a picture, put together; pictures that fit one tile are passed as is.

    The tiles are those of ``core.tiles.tiles_of``. Boxes longer than an eighth of a tile are left
    to a smaller size of the picture, and boxes that a tile's border may cut to its neighbour.
    Within a tile the detector has suppressed what it reports twice; of two boxes of one class from
    different tiles the better stays where more than half of the smaller lies in the other, as in
    SAHI.

    Args:
        detector: for the tiles.
        side: of a tile, in pixels, at most.

    Raises:
        InputError: if ``side`` is below 1.
    """

    def __init__(self, detector: Detector, side: int = limits.TILE) -> None:
        self.detector, self.side = detector, limits.SIDE("side", side)
        self.info = replace(
            detector.info,
            name=f"{detector.info.name} in tiles of {side}",
            any_size=False if detector.info.any_size is False else None,
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """As of any detector."""
        return [self.search(image).proposals for image in images]

    def without_nms(self) -> "TiledDetector":
        """The same on the detector without its suppression, near copies apart."""
        return TiledDetector(unsuppressed(self.detector), self.side)

    def search(self, image: Tensor) -> Found:
        """What is found in a picture ``3 height width``, with the tiles that it was found in."""
        height, width = image.shape[1:]
        tiles = tiles_of(height, width, self.side)
        found: list[tuple[Proposals, Tile]] = []
        for proposals, tile in self._of_tiles(image, tiles):
            proposals = proposals.to("cpu").within(*tile.window.size)
            own = proposals[self._belong(proposals, tile)]
            found.append((own.placed(tile.in_picture(own.boxes)), tile))
        everything = Proposals.joined([proposals for proposals, _ in found])
        owners = [i for i, (proposals, _) in enumerate(found) for _ in range(len(proposals))]
        kept = self._kept(everything, torch.tensor(owners))
        return Found(proposals=everything[kept], tiles=tuple(found[owners[i]][1] for i in kept))

    def _belong(self, proposals: Proposals, tile: Tile) -> Tensor:
        """Which proposals, in the tile's pixels, are a tile's to report, ``n``."""
        if tile.whole:
            return torch.ones(len(proposals), dtype=torch.bool)
        sides = proposals.boxes[:, 2:] - proposals.boxes[:, :2]
        small: Tensor = sides.amax(dim=1) <= _LARGEST * self.side
        return small & (tile.depth(proposals.boxes) > _CUT)

    def _of_tiles(self, image: Tensor, tiles: Sequence[Tile]) -> Iterator[tuple[Proposals, Tile]]:
        """What the detector reports in every tile; tiles of one shape share batches."""
        for scale in dict.fromkeys(tile.scale for tile in tiles):
            of_size = [tile for tile in tiles if tile.scale == scale]
            reduced, _ = shrink(image, max(of_size[0].size))
            n = max(1, _PIXELS_PER_BATCH // of_size[0].window.area)
            for start in range(0, len(of_size), n):
                batch = of_size[start : start + n]
                shown = torch.stack([tile.window.of(reduced) for tile in batch])
                yield from zip(checked_detect(self.detector, shown), batch, strict=True)

    def _kept(self, found: Proposals, tiles: Tensor) -> list[int]:
        """Numbers of the proposals that stay, best first."""
        order = torch.argsort(found.scores, descending=True, stable=True).tolist()
        dropped = torch.zeros(len(found), dtype=torch.bool)
        kept = []
        for i in order:
            if not dropped[i]:
                kept.append(i)
                shared = self._shared(found.boxes[i : i + 1], found.boxes)
                same = (found.labels == found.labels[i]) & (tiles != tiles[i])
                dropped |= same & (shared > self._limit)
        return kept

    @property
    def _limit(self) -> float:
        return LOOSE_NMS_IOU if self.info.before_nms else _SHARED

    def _shared(self, box: Tensor, others: Tensor) -> Tensor:
        """How far a box ``1 4`` and each of others ``n 4`` are the same, ``n``, in [0, 1]."""
        if self.info.before_nms:
            return boxes.iou(box, others)[0]
        of_others = boxes.share_inside(others, box)[:, 0]
        return torch.maximum(boxes.share_inside(box, others)[0], of_others)
