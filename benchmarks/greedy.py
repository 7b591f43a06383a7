"""Does trying out every next region find a better order than ``search``, and at what cost?

    python benchmarks/greedy.py [--pictures 10] [--detector retinaface]

The exhaustive form of what VX-CODE does (Yamauchi et al. 2026, arXiv:2412.00666), in our words: of
all regions not taken yet, take the one with which the picture that shows those taken, less the one
that hides them, has most of the target's weight. Same targets, regions, blur and curves as
``search``, which has 400 passes; ties go to the region most in the box. Prints a line per target.
"""

import argparse

import numpy as np
import torch

from chiaroscuro import metrics
from chiaroscuro.methods.black_box import BlackBox
from chiaroscuro.methods.question import Question
from chiaroscuro.methods.search_model import PROTOCOL, search_regions
from chiaroscuro.metrics.protocols import filled, protocol_named
from methods import PASSES, detectors, explained, pictures, scored


def greedy(image, target, detector):
    """The map whose order is the one found, and the passes it took."""
    question = Question(image=image, detector=detector, targets=(target,), n_passes=0)
    black_box = BlackBox(question, 0)
    pixels = black_box.pixels
    blurred = filled(protocol_named(PROTOCOL).insertion, pixels, target)
    regions = search_regions(pixels, target)
    n_regions = int(regions.max()) + 1
    box = metrics.baseline("box", image, target)
    in_box = torch.bincount(regions.flatten(), weights=box.flatten()) / torch.bincount(
        regions.flatten()
    )
    left = sorted(range(n_regions), key=lambda region: -float(in_box[region]))
    taken = torch.zeros(image.shape[1:], dtype=torch.bool)
    saliency = torch.zeros(image.shape[1:])
    while left:
        shown = [taken | (regions == region) for region in left]
        answers = black_box.weights_in(
            picture
            for mask in shown
            for picture in (torch.where(mask, pixels, blurred), torch.where(mask, blurred, pixels))
        )[0]
        best = left.pop(int((answers[::2] - answers[1::2]).argmax()))
        taken |= regions == best
        saliency[regions == best] = len(left) + 1
    return saliency, black_box.passes


def run(detector_name, wanted):
    detector, _ = detectors(detector_name)
    rows = []
    for picture, image, target in pictures(detector, wanted):
        saliency, passes = greedy(image, target, detector)
        by_greedy = scored(image, target, saliency, detector)
        result = explained("search", image, detector, None, target)
        by_search = scored(image, target, result.saliency[0], detector)
        rows.append((by_search["chiaroscuro"][2], by_greedy["chiaroscuro"][2], passes))
        print(
            f"{detector_name} {picture}, score {float(target.score):z.2f}: search "
            f"{rows[-1][0]:z.3f} in {result.settings.n_passes} passes, every next region "
            f"{rows[-1][1]:z.3f} in {passes}",
            flush=True,
        )
    found, tried, passes = np.array(rows).T
    gains = found - tried
    print(
        f"search {found.mean():z.3f}, every next region {tried.mean():z.3f}; search gains "
        f"{gains.mean():+z.3f} ± {gains.std() / np.sqrt(len(gains)):z.3f}, better on "
        f"{(gains > 0).sum()} of {len(gains)}, in 1/{passes.mean() / PASSES:z.0f} of the passes"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10)
    parser.add_argument("--detector", default="retinaface")
    given = parser.parse_args()
    run(given.detector, given.pictures)
