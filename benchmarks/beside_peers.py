"""What other implementations of D-RISE cost around the same detector passes.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install xaitk-saliency==0.15.0 \
        vision-explanation-methods==0.1.1 opencv-python-headless
    /tmp/peers/bin/pip install '.[faces]'
    /tmp/peers/bin/python benchmarks/beside_peers.py [--masks 200] [--size 640] [--rounds 3]

XAITK-saliency, vision-explanation-methods and chiaroscuro explain the same faces in the same
picture with the same CenterFace in one process, each in turns with the bare passes at the batch
size it uses itself. Prints a Markdown table: whole run over bare passes, and peak memory above
them, the latter in a fresh process each.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from overhead import DETECTOR, Run, bare, peak_mb, picture, whole

import chiaroscuro as cs
from chiaroscuro.evidence.passes import default_batch_size


def xaitk(detector: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    from smqtk_detection.interfaces.detect_image_objects import DetectImageObjects
    from smqtk_image_io import AxisAlignedBoundingBox
    from xaitk_saliency.impls.gen_object_detector_blackbox_sal.drise import DRISEStack

    class Faces(DetectImageObjects):
        def detect_objects(self, images):  # type: ignore[no-untyped-def]
            size = default_batch_size(*image.shape[1:], torch.device("cpu"))
            batch = []
            for one in images:
                batch.append(torch.from_numpy(np.ascontiguousarray(one)).permute(2, 0, 1))
                if len(batch) == size:
                    yield from self._run(batch)
                    batch = []
            if batch:
                yield from self._run(batch)

        def _run(self, batch):  # type: ignore[no-untyped-def]
            for found in detector.detect(torch.stack(batch)):
                yield [
                    (AxisAlignedBoundingBox(box[:2], box[2:]), {"face": score})
                    for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True)
                ]

        def get_config(self):  # type: ignore[no-untyped-def]
            return {}

    found = detector.detect(image[None])[0].above(0.3)
    stack = DRISEStack(n=n_masks, s=16, p1=0.5, seed=0, threads=2)
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    stack.generate(pixels, found.boxes.numpy(), found.scores[:, None].numpy(), Faces())


def vem(detector: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    from vision_explanation_methods.explanations import common, drise

    def record(found: cs.Proposals) -> common.DetectionRecord:
        return common.DetectionRecord(
            bounding_boxes=found.boxes,
            objectness_scores=found.scores,
            class_scores=torch.stack([found.scores, 1 - found.scores], dim=1),
        )

    class Faces(common.GeneralObjectDetectionModelWrapper):
        def predict(self, x: torch.Tensor) -> list[common.DetectionRecord]:
            return [record(found) for found in detector.detect(x)]

    target = record(detector.detect(image[None])[0].above(0.3))
    drise.DRISE_saliency(Faces(), image.float()[None] / 255, [target], n_masks)


def bare_one_by_one(detector: cs.Detector, image: torch.Tensor, n_masks: int) -> None:
    one = image.float()[None] / 255
    for _ in range(n_masks):
        detector.detect(one)


TOOLS: dict[str, tuple[Run, Run]] = {
    "chiaroscuro": (whole, bare),
    "XAITK-saliency 0.15.0": (xaitk, bare),
    "vision-explanation-methods 0.1.1": (vem, bare_one_by_one),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=200)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    detector, image = cs.load_detector(DETECTOR), picture(options.size)
    size, threads = options.size, torch.get_num_threads()
    print(f"{options.masks} masks of {size}x{size}, {threads} threads")
    print("| tool | whole run / bare passes | memory above bare passes |\n|---|---|---|")
    for name, runs in TOOLS.items():
        seconds: dict[Run, list[float]] = {run: [] for run in runs}
        for _ in range(options.rounds):
            for run in runs:
                began = time.perf_counter()
                run(detector, image, options.masks)
                seconds[run].append(time.perf_counter() - began)
        ratio = statistics.median(seconds[runs[0]]) / statistics.median(seconds[runs[1]])
        peaks = [peak_mb(run, options.masks, options.size) for run in runs]
        print(f"| {name} | {ratio:z.2f} | {peaks[0] - peaks[1]:z.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
