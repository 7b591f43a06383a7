"""Whether windows that are used see the same as the whole picture: a count over many targets.

    python benchmarks/certificates.py [--detectors retinaface centerface] [--paintings 25]

Every detection of score 0.12 and more, at most five in a painting, strong and weak by rank, is
observed in windows, as ``explain`` does, and by full passes under the same 400 masks. Prints how
many windows were used, the lowest correlations of their weights with those of full passes, the
slopes, and how many are below 0.95; masks of which the certificate knows, 64 at most, are counted
apart.
"""

import argparse

import numpy as np
import torch

import chiaroscuro as cs
from chiaroscuro.core.records import as_targets
from chiaroscuro.data.samples import met_faces
from chiaroscuro.evidence.certificate import LOOKS

LOWEST_SCORE, MOST_TARGETS, MASKS, SIDE = 0.12, 5, 400, 640


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detectors", nargs="+", default=["retinaface", "centerface"])
    parser.add_argument("--paintings", type=int, default=25)
    parser.add_argument("--skip", type=int, default=0, help="paintings, to go on where one ended")
    given = parser.parse_args()
    for name in given.detectors:
        detector, n_targets, all_of_them, later = cs.load_detector(name), 0, [], []
        for painting in met_faces()[given.skip :][: given.paintings]:
            image = painting.read(max_side=SIDE)
            found = detector.detect(image[None])[0].above(LOWEST_SCORE)
            ranks = torch.linspace(0, len(found) - 1, min(len(found), MOST_TARGETS)).round()
            targets = as_targets(found[ranks.long().unique()])
            if not targets:
                continue
            n_targets += len(targets)
            seen = cs.observe(image, detector, n_passes=MASKS, targets=targets)
            pairs = [(target, *seen.part_for(target)) for target in targets]
            pairs = [pair for pair in pairs if pair[2] is not None]
            if not pairs:
                continue
            full = cs.observe(image, detector, n_passes=MASKS, targets=targets, windows=False)
            for target, part, _ in pairs:
                both = [one.weights([target])[0].numpy() for one in (part, full)]
                all_of_them.append(float(np.corrcoef(*both)[0, 1]))
                rest = [one[LOOKS[-1] :] for one in both]
                later.append(float(np.corrcoef(*rest)[0, 1]))
            print(f"{name} {painting.id}: {[round(one, 4) for one in all_of_them[-len(pairs) :]]}")
        for what, values in (("all masks", all_of_them), ("masks after the 64th", later)):
            low, lowest = sum(one < 0.95 for one in values), np.round(sorted(values)[:5], 4)
            print(
                f"{name}, {what}: {len(values)} windows of {n_targets} targets, {low} below 0.95; "
                f"lowest {lowest.tolist()}, median {np.median(values):.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
