"""Does it matter whether a face detector is observed before or after its own suppression?

    python benchmarks/suppression.py

The figures of docs/decisions/0003: correlation of mask weights and of maps with and without
non-maximum suppression, and how much the evidence grows. The detectors do not offer this, so the
script reaches into them.
"""

import numpy as np
import torch

import chiaroscuro as cs
from chiaroscuro.data.samples import sample_painting
from chiaroscuro.detectors.adapters.retinaface import detector as retinaface

N_MASKS = 300
TARGETS = {
    436838: [16, 88, 69, 160],  # missed
    435817: [181, 81, 226, 127],  # missed
    437455: [318, 119, 342, 149],  # a false positive
    436839: None,  # the face that is found
}


def without_suppression(detector: cs.Detector, off: bool) -> None:
    if detector.info.name == "centerface":
        detector._nms_iou = 1.0 if off else 0.3
    else:
        retinaface._NMS_IOU = 1.0 if off else 0.4


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def main() -> None:
    for name in ("centerface", "retinaface"):
        detector = cs.load_detector(name)
        for painting, box in TARGETS.items():
            image = sample_painting(painting).read()
            target = box or detector.detect(image[None])[0].above(0.3).boxes[:1]
            evidence = {}
            for off in (False, True):
                without_suppression(detector, off)
                evidence[off] = cs.observe(image, detector, n_passes=N_MASKS)
            without_suppression(detector, False)
            weights = [evidence[off].weights(target)[0] for off in (False, True)]
            maps = [evidence[off].explain(target).saliency[0] for off in (False, True)]
            growth = len(evidence[True].boxes) / len(evidence[False].boxes)
            print(
                f"{name} {painting}: weights {correlation(*weights):z.4f}  "
                f"maps {correlation(*maps):z.4f}  evidence x{growth:z.1f}"
            )


if __name__ == "__main__":
    main()
