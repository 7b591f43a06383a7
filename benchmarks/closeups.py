"""Whether close-ups find what is planted, and what matters in real faces.

    python benchmarks/closeups.py planted [--seeds 2]
    python benchmarks/closeups.py hidden [--detectors retinaface centerface] [--faces 40]

``planted``: a detector whose score depends on a few bright pixels alone, all smaller than a mask
cell: one eye, both eyes (both are needed), eye and mouth together (both are needed), a collar below
the box; boxes of 24, 60 and 120 pixels in a painting of 640. Prints the share of the positive
evidence within a tenth of the box of the planted pixels, of the map and of the close-up, and the
correlation of two seeds' close-ups in the box.

``hidden``: for faces that a detector finds in the sample paintings, the box is cut into ten parts
of equal size, each is replaced by a blur, and the fall of the weight is measured. Prints in how
many faces the part in which the close-up has most evidence falls most. The same for the map.
"""

import argparse

import numpy as np
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.masks import gaussian_blur
from chiaroscuro.core.similarity import similarity
from chiaroscuro.data.samples import met_faces
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.targets import find

# centre and size of what is planted, in units of the box
EYE, OTHER_EYE = (0.3, 0.4, 0.18, 0.12), (0.7, 0.4, 0.18, 0.12)
MOUTH, COLLAR = (0.5, 0.78, 0.3, 0.1), (0.5, 1.25, 0.5, 0.1)
PLANTED = {
    "one eye": (EYE,),
    "both eyes": (EYE, OTHER_EYE),
    "eye and mouth": (EYE, MOUTH),
    "collar": (COLLAR,),
}
SIZES = (24, 60, 120)
PLACE = (260, 200)
NEAR = 0.1  # of the box
ROWS, COLUMNS = 5, 2  # the tenths of a box


def places(box: tuple[float, ...], parts: tuple[tuple[float, ...], ...]) -> list[list[int]]:
    """Planted parts as rectangles of whole pixels, ``x1 y1 x2 y2``."""
    x, y, size = box[0], box[1], box[2] - box[0]
    return [
        [
            round(x + size * (cx - w / 2)),
            round(y + size * (cy - h / 2)),
            max(round(x + size * (cx + w / 2)), round(x + size * (cx - w / 2)) + 1),
            max(round(y + size * (cy + h / 2)), round(y + size * (cy - h / 2)) + 1),
        ]
        for cx, cy, w, h in parts
    ]


def planted() -> None:
    painting = as_unit_floats(met_faces()[0].read(max_side=640)[None])[0]
    print("| planted | box | map | close-up | two seeds | fidelity | masks |")
    print("|---|---|---|---|---|---|---|")
    for size in SIZES:
        for name, parts in PLANTED.items():
            box = (*PLACE, PLACE[0] + size, PLACE[1] + size)
            rectangles, image = places(box, parts), 0.5 * painting
            for x1, y1, x2, y2 in rectangles:
                image[:, y1:y2, x1:x2] = 1.0

            def score(
                images: Tensor,
                rectangles: list[list[int]] = rectangles,
                box: tuple[int, ...] = box,
            ) -> list[Tensor]:
                seen = torch.ones(len(images))
                for x1, y1, x2, y2 in rectangles:
                    bright = images[:, :, y1:y2, x1:x2].mean(dim=(1, 2, 3))
                    seen = seen * ((bright - 0.5) / 0.5).clamp(0, 1)
                return [torch.tensor([[*map(float, box), float(one)]]) for one in 0.9 * seen]

            detector = cs.load_detector(score, any_size=False)
            made = [cs.explain(image, detector, [box], closeup=True, seed=s) for s in (0, 1)]
            first, second = (one.closeups[0] for one in made)
            near = torch.zeros(image.shape[1:], dtype=torch.bool)
            reach = round(NEAR * size)
            for x1, y1, x2, y2 in rectangles:
                near[y1 - reach : y2 + reach, x1 - reach : x2 + reach] = True
            share = [
                float(m.clamp(min=0)[n].sum() / m.clamp(min=0).sum())
                for m, n in (
                    (made[0].saliency[0], near),
                    (first.saliency, first.window.of(near)),
                )
            ]
            target = first.target.moved(-first.window.x1, -first.window.y1)
            inside, _ = boxes.neighbourhood(target.box, *first.saliency.shape)
            same = np.corrcoef(first.saliency[inside], second.saliency[inside])[0, 1]
            print(
                f"| {name} | {size} | {share[0]:.2f} | {share[1]:.2f} | {same:.3f} | "
                f"{first.fidelity:.2f} | {first.record.source.n_masks} |",
                flush=True,
            )


def tenths(box: Tensor, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    x1, y1, x2, y2 = box.tolist()
    xs = [round(x1 + i * (x2 - x1) / COLUMNS) for i in range(COLUMNS + 1)]
    ys = [round(y1 + i * (y2 - y1) / ROWS) for i in range(ROWS + 1)]
    return [
        (max(0, xs[i]), max(0, ys[j]), min(size[1], xs[i + 1]), min(size[0], ys[j + 1]))
        for j in range(ROWS)
        for i in range(COLUMNS)
    ]


def hidden(names: list[str], n_faces: int) -> None:
    for name in names:
        detector, ranks = cs.load_detector(name), {"close-up": [], "map": []}
        for painting in met_faces():
            if len(ranks["map"]) >= n_faces:
                break
            image = painting.read(max_side=640)
            found = find(image, detector)[:2]
            if not len(found):
                continue
            made = cs.explain(image, detector, found, closeup=True)
            pixels = as_unit_floats(image[None])[0]
            for i, target in enumerate(made.targets):
                closeup = made.closeups[i]
                size = float(boxes.area(target.box).sqrt())
                blurred = gaussian_blur(pixels, sigma=max(1.0, size / 3))
                falls, evidence = [], {"close-up": [], "map": []}
                for x1, y1, x2, y2 in tenths(target.box, tuple(image.shape[1:])):
                    changed = pixels.clone()
                    changed[:, y1:y2, x1:x2] = blurred[:, y1:y2, x1:x2]
                    seen = detector.detect(changed[None])[0]
                    falls.append(-float(similarity([target], seen).amax()) if len(seen) else 0.0)
                    whole = torch.zeros(image.shape[1:])
                    closeup.window.of(whole).copy_(closeup.saliency)
                    evidence["close-up"].append(float(whole[y1:y2, x1:x2].sum()))
                    evidence["map"].append(float(made.saliency[i][y1:y2, x1:x2].sum()))
                order = np.argsort(falls)[::-1].tolist()
                for kind, sums in evidence.items():
                    ranks[kind].append(order.index(int(np.argmax(sums))))
                print(
                    f"{painting.id} {name} score {target.score:.2f} box {size:.0f}, rank "
                    f"close-up {ranks['close-up'][-1] + 1}, map {ranks['map'][-1] + 1}; "
                    f"fidelity {closeup.fidelity:.2f}",
                    flush=True,
                )
        print(f"\n| {name}, {len(ranks['map'])} faces | falls most | among two | among three |")
        print("|---|---|---|---|")
        for kind, values in ranks.items():
            shares = [np.mean([rank < n for rank in values]) for n in (1, 2, 3)]
            print(f"| {kind} | {' | '.join(f'{share:.2f}' for share in shares)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("planted", "hidden"))
    parser.add_argument("--detectors", nargs="+", default=["retinaface", "centerface"])
    parser.add_argument("--faces", type=int, default=40)
    given = parser.parse_args()
    if given.what == "planted":
        planted()
    else:
        hidden(given.detectors, given.faces)


if __name__ == "__main__":
    main()
