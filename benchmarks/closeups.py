"""Whether close-ups find what is planted, and what matters in real faces.

    python benchmarks/closeups.py fit [--detectors retinaface centerface]
    python benchmarks/closeups.py planted
    python benchmarks/closeups.py hidden [--detectors retinaface centerface] [--faces 40]

``fit``: three faces of one painting per detector, strong to weak, each under masks of several
designs, 300 of each and of two seeds. Prints the mean weight, the fidelity that both seeds state,
and the correlation of their maps in the box.

``planted``: a detector whose score depends on a few bright pixels alone, all smaller than a mask
cell: one eye, both eyes (both are needed), eye and mouth together (both are needed), a collar below
the box; boxes of 24, 60 and 120 pixels in a painting of 640. Prints the share of the positive
evidence within a tenth of the box of the planted pixels, of the map and of the close-up, and the
correlation of two seeds' close-ups in the box.

``hidden``: for faces that a detector finds in the sample paintings, squares of a tenth of the box
are hidden, one at a time, at 25 places: by the blur of the close-up, by a blur of the whole box,
and by black. Prints in how many faces the square in which the close-up has most evidence lowers the
score more than every square that does not overlap it, and its median place among all 25. The same
for the map, and for the weight (IoU x score) in place of the score.
"""

import argparse
import math

import attrs
import numpy as np
import torch
from torch import Tensor

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.core.masks import gaussian_blur
from chiaroscuro.core.plan import Plan
from chiaroscuro.core.records import as_targets
from chiaroscuro.core.similarity import similarity
from chiaroscuro.data.samples import met_faces, sample_painting
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.closeups import Fit, area_round, design_for
from chiaroscuro.evidence.explanation import CloseUp
from chiaroscuro.evidence.observation import Observation
from chiaroscuro.evidence.targets import find

FIT_ON = {"centerface": 435844, "retinaface": 437455}
LOWEST_SCORE, FIT_MASKS = 0.12, 300
BLURS = {"blur of 1/3 box": 1 / 3, "blur of 1 box": 1.0}
DESIGNS = (
    ("black", 5.0),
    ("blur of 1/3 box", 5.0),
    ("blur of 1 box", 5.0),
    ("blur of 1/3 box", 3.0),
    ("blur of 1/3 box", 8.0),
)
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
PLACES = 5  # of squares, each way
LEAST_IOU = 0.5  # of the detection whose score is read


def fit(names: list[str]) -> None:
    print("| face | hidden by, cells | mean weight | fidelity | two seeds |")
    print("|---|---|---|---|---|")
    for name in names:
        detector, image = cs.load_detector(name), sample_painting(FIT_ON[name]).read(max_side=640)
        found = as_targets(find(image, detector, LOWEST_SCORE))
        for target in (found[0], found[len(found) // 2], found[-1]):
            for filled, cells in DESIGNS:
                made = [with_design(image, detector, target, filled, cells, s) for s in (0, 1)]
                inside, _ = boxes.neighbourhood(
                    target.moved(-made[0].window.x1, -made[0].window.y1).box,
                    *made[0].saliency.shape,
                )
                same = np.corrcoef(*(one.saliency[inside].numpy() for one in made))[0, 1]
                print(
                    f"| {name}, {target.score:.2f} | {filled}, {cells:g} "
                    f"| {made[0].mean_weight:.2f} "
                    f"| {made[0].fidelity:.2f}, {made[1].fidelity:.2f} | {same:.2f} |",
                    flush=True,
                )


def with_design(
    image: Tensor, detector: cs.Detector, target: cs.Target, filled: str, cells: float, seed: int
) -> CloseUp:
    """A close-up by masks of a design, from 300 of them."""
    target = target.inside(*image.shape[1:])
    plan = Plan(n_passes=FIT_MASKS, seed=seed)
    under_way = Observation(image, detector, plan, (target,), None, None)
    area = area_round(target.box, under_way.size)
    design = design_for(target.box, area, Fit(cells=cells, blur=BLURS.get(filled, 1.0)))
    if filled not in BLURS:
        design = attrs.evolve(design, fill=filled, blur_sigma=None)
    window = under_way.window_for(0, area)
    under_way.advance(under_way.close_up(0, area, window, design), FIT_MASKS)
    made = under_way.seen().closeup(target)
    assert made is not None
    return made


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


def squares(box: Tensor) -> list[tuple[int, int, int, int]]:
    """Parts of a tenth of the box, with its aspect, evenly over it."""
    x1, y1, x2, y2 = box.tolist()
    wide, high = (x2 - x1) * math.sqrt(0.1), (y2 - y1) * math.sqrt(0.1)
    return [
        (round(x), round(y), round(x + wide), round(y + high))
        for y in np.linspace(y1, y2 - high, PLACES)
        for x in np.linspace(x1, x2 - wide, PLACES)
    ]


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def seen(detector: cs.Detector, image: Tensor, target: cs.Target) -> tuple[float, float]:
    """Score and weight of what is left of a target."""
    found = detector.detect(image[None])[0]
    if not len(found):
        return 0.0, 0.0
    same = boxes.iou(target.box[None], found.boxes)[0] >= LEAST_IOU
    score = float(found.scores[same].max()) if bool(same.any()) else 0.0
    return score, float(similarity([target], found).amax())


def hidden(names: list[str], n_faces: int) -> None:
    for name in names:
        detector, rows = cs.load_detector(name), []
        for painting in met_faces():
            if len(rows) >= n_faces:
                break
            image = painting.read(max_side=640)
            found = find(image, detector)[:2]
            if not len(found):
                continue
            made = cs.explain(image, detector, found, closeup=True)
            for i in range(len(made)):
                rows.append(of_face(detector, image, made, i))
                print(f"{painting.id} {made.targets[i].score:.2f} {rows[-1]}", flush=True)
        print(f"\n| {name}, {len(rows)} faces | highest of those apart | median place of 25 |")
        print("|---|---|---|")
        for key in rows[0]:
            first, place = (np.array([row[key][k] for row in rows]) for k in (0, 1))
            print(f"| {', '.join(key)} | {first.mean():.2f} | {np.median(place):.0f} |")


def of_face(
    detector: cs.Detector, image: Tensor, made: cs.Explanation, index: int
) -> dict[tuple[str, ...], tuple[bool, int]]:
    """By map, fill and measure: whether its square falls most, and its place among all."""
    target, closeup = made.targets[index], made.closeups[index]
    pixels = as_unit_floats(image[None])[0]
    size = float(boxes.area(target.box).sqrt())
    fills = {
        "blur of the close-up": gaussian_blur(pixels, sigma=closeup.record.design.blur_sigma),
        "blur of the box": gaussian_blur(pixels, sigma=size),
        "black": torch.zeros_like(pixels),
    }
    near = torch.zeros(image.shape[1:])
    closeup.window.of(near).copy_(closeup.saliency)
    parts, result = squares(target.box), {}
    evidence = {
        name: [float(one[y1:y2, x1:x2].mean()) for x1, y1, x2, y2 in parts]
        for name, one in (("close-up", near), ("map", made.saliency[index]))
    }
    for fill_name, fill in fills.items():
        left = []
        for x1, y1, x2, y2 in parts:
            changed = pixels.clone()
            changed[:, y1:y2, x1:x2] = fill[:, y1:y2, x1:x2]
            left.append(seen(detector, changed, target))
        for k, measure in enumerate(("score", "weight")):
            values = [one[k] for one in left]
            for name, sums in evidence.items():
                best = int(np.argmax(sums))
                apart = [
                    v
                    for v, part in zip(values, parts, strict=True)
                    if not overlap(part, parts[best])
                ]
                place = 1 + sum(value < values[best] for value in values)
                result[name, fill_name, measure] = values[best] < min(apart), place
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("fit", "planted", "hidden"))
    parser.add_argument("--detectors", nargs="+", default=["retinaface", "centerface"])
    parser.add_argument("--faces", type=int, default=40)
    given = parser.parse_args()
    if given.what == "fit":
        fit(given.detectors)
    elif given.what == "planted":
        planted()
    else:
        hidden(given.detectors, given.faces)


if __name__ == "__main__":
    main()
