"""Cost of a map in a picture of 1600 pixels: in windows, and by full passes.

    python benchmarks/large_windows.py [--detectors retinaface centerface] [--faces 10]

The picture is a part of the wall of paintings of ``benchmarks/tiles.py``, 1600 pixels wide. Every
face that is found is explained alone until fidelity 0.9, in windows; then all of them, in windows
and by full passes. Prints box size, score, the window's share of the picture, the full passes of
the certificate, cost and fidelity.
"""

import argparse

import torch
from tiles import wall

import chiaroscuro as cs
from chiaroscuro.core import boxes
from chiaroscuro.data.datasets import open_data_set

WIDTH, HEIGHT = 1600, 1300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detectors", nargs="+", default=["retinaface", "centerface"])
    parser.add_argument("--faces", type=int, default=10)
    given = parser.parse_args()
    entries = open_data_set("met-faces").entries
    picture, _ = wall([(cs.read_image(entry.path), entry.truth) for entry in entries])
    image = picture[:, :HEIGHT, :WIDTH].contiguous()
    print("| detector | box, px | score | window's share | full passes | cost | fidelity |")
    print("|" + "---|" * 7)
    for name in given.detectors:
        detector = cs.load_detector(name)
        found = detector.detect(image[None])[0].above(0.15)
        ranks = torch.linspace(0, len(found) - 1, min(len(found), given.faces)).round().long()
        faces, costs = found[ranks.unique()], []
        for i in range(len(faces)):
            made = cs.explain(image, detector, faces[[i]])
            source, costs = made.sources[0], [*costs, made.cost]
            share = (
                1.0 if source.window is None else source.window.area / math.prod(image.shape[1:])
            )
            looks = 0 if source.certificate is None else source.certificate.n_masks
            print(
                f"| {name} | {float(boxes.area(faces.boxes[i]).sqrt()):.0f} "
                f"| {float(faces.scores[i]):.2f} | {share:.3f} | {looks} | {made.cost:.1f} "
                f"| {float(made.fidelity[0]):.3f} |",
                flush=True,
            )
        both = [cs.explain(image, detector, faces, windows=windows) for windows in (True, False)]
        print(
            f"{name}: median of one face {torch.tensor(costs).median():.1f}; all {len(faces)} in "
            f"windows {both[0].cost:.0f}, by full passes {both[1].cost:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
