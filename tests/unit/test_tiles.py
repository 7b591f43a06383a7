"""Large pictures in tiles: nothing is lost between them, nothing is found twice."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core.limits import TILE
from chiaroscuro.core.plan import Selection
from chiaroscuro.core.records import Proposals, as_targets
from chiaroscuro.core.tiles import OVERLAP, tile_for, tiles_of
from chiaroscuro.detectors.protocol import DetectorInfo
from chiaroscuro.results.parts import parts_of, search
from chiaroscuro.results.picture import Picture


class Blobs:
    """Finds white blobs of 6 to 70 pixels; sure of those near 30."""

    info = DetectorInfo(name="blobs", any_size=True, min_score=0.01)

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def detect(self, images: Tensor) -> list[Proposals]:
        self.seen += [tuple(image.shape[1:]) for image in images]
        return [self._found(image) for image in images]

    def _found(self, image: Tensor) -> Proposals:
        boxes = rectangles(image.float().mean(dim=0) > (128 if image.dtype == torch.uint8 else 0.5))
        sides = [max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes]
        narrow = [min(x2 - x1, y2 - y1) < 6 for x1, y1, x2, y2 in boxes]
        kept = [i for i, side in enumerate(sides) if side <= 70 and not narrow[i]]
        scores = [1 / (1 + abs(sides[i] - 30) / 30) for i in kept]
        return Proposals(boxes=[boxes[i] for i in kept], scores=scores)


def rectangles(white: Tensor) -> list[list[int]]:
    """Boxes of white rectangles that do not touch, from their upper left corners."""
    dark = torch.nn.functional.pad(~white, (1, 1, 1, 1), value=True)
    boxes = []
    for y, x in (white & dark[:-2, 1:-1] & dark[1:-1, :-2]).nonzero().tolist():
        width = int(dark[y + 1, x + 1 :].int().argmax())
        height = int(dark[y + 1 :, x + 1].int().argmax())
        boxes.append([x, y, x + width, y + height])
    return boxes


def with_blobs(height: int, width: int, *boxes: tuple[int, int, int, int]) -> Tensor:
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for x1, y1, x2, y2 in boxes:
        image[:, y1:y2, x1:x2] = 255
    return image


@pytest.mark.parametrize("size", [(90, 100), (100, 101), (700, 433), (130, 1700)])
def test_tiles_cover_every_size_of_the_picture_and_overlap(size: tuple[int, int]) -> None:
    side = 100
    tiles = tiles_of(*size, side)
    assert tiles[0].whole
    assert tiles[-1].scale == 1
    for scale in {tile.scale for tile in tiles}:
        windows = [tile.window for tile in tiles if tile.scale == scale]
        (of_size,) = {tile.size for tile in tiles if tile.scale == scale}
        assert max(of_size) == round(max(size) * scale)
        assert len({window.size for window in windows}) == 1
        assert max(windows[0].size) <= side
        seen = torch.zeros(of_size, dtype=torch.int64)
        for window in windows:
            window.of(seen).add_(1)
        assert int(seen.min()) >= 1
        for first, second in pairwise(windows):
            if first.y1 == second.y1:
                assert first.x2 - second.x1 >= OVERLAP * side - 1


def test_every_blob_is_found_once_whatever_its_place_and_size() -> None:
    generator = torch.Generator().manual_seed(3)
    places = [(40 + 130 * i % 900, 30 + 97 * i, 15 + 7 * i) for i in range(9)]
    shift = torch.randint(0, 40, (9, 2), generator=generator).tolist()
    boxes = [
        (x + dx, y + dy, x + dx + side, y + dy + side)
        for (x, y, side), (dx, dy) in zip(places, shift, strict=True)
    ]
    image = with_blobs(1100, 1000, *boxes, (600, 700, 800, 890))
    found = cs.TiledDetector(Blobs(), 256).search(image)
    assert len(found.proposals) == 10
    known = torch.tensor([*boxes, (600, 700, 800, 890)], dtype=torch.float32)
    overlap = cs.boxes.iou(found.proposals.boxes, known)
    assert sorted(overlap.argmax(dim=1).tolist()) == list(range(10))
    assert float(overlap.amax(dim=1).min()) > 0.85
    (large,) = (overlap[:, 9] > 0.5).nonzero()[:, 0].tolist()
    assert found.tiles[large].scale < 0.5
    assert found.proposals.scores.tolist() == sorted(found.proposals.scores.tolist(), reverse=True)


def test_a_picture_that_fits_a_tile_is_seen_as_it_is() -> None:
    image, detector = with_blobs(200, 256, (30, 40, 60, 70)), Blobs()
    found = cs.TiledDetector(detector, 256).detect(image[None])
    assert detector.seen == [(200, 256)]
    assert torch.equal(found[0].boxes, detector.detect(image[None])[0].boxes)
    assert len(cs.TiledDetector(detector, 256).detect(torch.zeros(2, 3, 300, 300))) == 2


def test_small_boxes_inside_a_better_large_one_are_parts_of_it() -> None:
    class Sees(Blobs):
        def _found(self, image: Tensor) -> Proposals:  # an eye at full size, the face at a half
            return Proposals(
                boxes=[[10.0, 10, 20, 20]] if image.shape[2] == 100 else [[2.0, 2, 40, 40]],
                scores=[0.4 if image.shape[2] == 100 else 0.9],
            )

    image = torch.zeros(3, 100, 150, dtype=torch.uint8)
    detector = Sees()
    (found,) = cs.TiledDetector(detector, 100).detect(image[None])
    assert len(set(detector.seen)) == 2
    assert len(found) == 1


def test_a_drawn_box_is_placed_where_there_is_enough_around_it() -> None:
    tiles = tiles_of(3000, 4000, 1280)
    small = tile_for(torch.tensor([1000.0, 1000, 1040, 1050]), tiles)
    assert small.scale == 1
    assert float(small.depth(small.in_tile(torch.tensor([[1000.0, 1000, 1040, 1050]])))[0]) >= 50
    large = tile_for(torch.tensor([500.0, 500, 1900, 1900]), tiles)
    assert large.whole
    middle = tile_for(torch.tensor([1000.0, 400, 1400, 850]), tiles)
    assert small.scale > middle.scale > large.scale


def test_what_was_found_is_explained_in_the_tile_that_shows_most_around_it() -> None:
    boxes = [(1270, 900, 1310, 940), (100, 100, 130, 130), (1500, 60, 1760, 320)]
    picture = Picture(source="scan.png", image=with_blobs(1800, 2600, *boxes))
    detector = Blobs()
    found = search(picture.image, detector, Selection(min_score=0.1))
    drawn = as_targets([(2000.0, 1500, 2050, 1540)])
    parts = parts_of(picture, found, drawn)
    placed = [(part.picture.in_file(target.box), part) for part in parts for target in part.targets]
    assert len(placed) == 4
    for box, part in placed:
        known = torch.tensor([*boxes, (2000, 1500, 2050, 1540)]).float()
        assert float(cs.boxes.iou(box[None], known).max()) > 0.9
        assert max(part.picture.image.shape[1:]) <= TILE
    names = [part.picture.name for part in parts]
    assert len(set(names)) == len(names)
    whole = [part for part in parts if part.picture.tile is None]
    assert [part.picture.name for part in whole] in ([], ["scan"])
    record = parts[-1].picture.record()
    assert record.part is not None
    assert record.scale == 1


def test_nothing_found_leaves_the_whole_picture_reduced() -> None:
    picture = Picture(source="scan.png", image=with_blobs(1800, 2600))
    (part,) = parts_of(picture, search(picture.image, Blobs(), Selection()))
    assert part.targets == ()
    assert part.picture.name == "scan"
    assert part.picture.tile is None
    assert tuple(part.picture.image.shape[1:]) == (450, 650)
    assert part.picture.file_size == (1800, 2600)
