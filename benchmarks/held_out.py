"""Does ``search`` still lead on paintings that no choice in it was made on?

    python benchmarks/held_out.py [--detector retinaface] [--pictures 40]

Its shares, spreads and precisions were chosen on met-faces, where the table of methods is measured
too. Here are other paintings of the same wheel, in an order drawn once, and of each the weakest
face found: the kind that most of its lead comes from. 400 passes each, both protocols of the table.
Prints a line a target, then what search gains.
"""

import argparse

import numpy as np

import chiaroscuro as cs
from chiaroscuro import metrics
from chiaroscuro.core.records import as_targets
from chiaroscuro.data.samples import met_faces
from chiaroscuro.images.resize import shrink
from methods import MAX_SIDE, PASSES, PROTOCOLS, scored


def paintings(detector, wanted):
    """Name, picture and weakest found face of paintings outside met-faces."""
    known = met_faces()
    inside = {painting.path.name for painting in known}
    files = sorted(f for f in known[0].path.parent.glob("*.jpg") if f.name not in inside)
    for index in np.random.default_rng(0).permutation(len(files)):
        image, _ = shrink(cs.read_image(files[index]), MAX_SIDE)
        found = as_targets(detector.detect(image[None])[0].above(0.3))
        if found and wanted:
            wanted -= 1
            yield files[index].stem, image, found[-1].inside(*image.shape[1:])


def stated(gains):
    values = np.array(gains)
    return (
        f"{values.mean():+z.3f} ± {values.std() / np.sqrt(len(values)):z.3f}, median "
        f"{np.median(values):+z.3f}, at least as good on {(values >= 0).mean():z.0%}"
    )


def run(detector_name, wanted):
    detector, gains, score = cs.load_detector(detector_name), {}, []
    for name, image, target in paintings(detector, wanted):
        rows = {"box": scored(image, target, metrics.baseline("box", image, target), detector)}
        for method in ("search", "occlusion"):
            result = cs.explain(image, detector, [target], method=method, n_passes=PASSES)
            rows[method] = scored(image, target, result.saliency[0], detector)
        print(
            f"{detector_name} {name}, score {target.score:z.2f}:",
            *(f"{method} {row[PROTOCOLS[0]][2]:z.3f}" for method, row in rows.items()),
            flush=True,
        )
        score.append(target.score)
        for other in ("occlusion", "box"):
            for protocol in PROTOCOLS:
                gain = rows["search"][protocol][2] - rows[other][protocol][2]
                gains.setdefault((other, protocol), []).append(gain)
    weak = np.array(score) < 0.6
    for (other, protocol), values in gains.items():
        print(f"{detector_name}, search - {other}, {protocol}, {len(score)}: {stated(values)}")
        if weak.any():
            some = np.array(values)[weak]
            print(f"  of them {weak.sum()} with a score below .6: {stated(some)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", default="retinaface")
    parser.add_argument("--pictures", type=int, default=40)
    given = parser.parse_args()
    run(given.detector, given.pictures)
