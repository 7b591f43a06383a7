"""The Faster R-CNN for faces: measured out of fold, and trained to be shipped.

    python benchmarks/train_fasterrcnn.py folds boxes.json --images DIR [--folds 5] [--seeds 0 1 2]
    python benchmarks/train_fasterrcnn.py final boxes.json --images DIR [--out DIR]

``boxes.json`` annotates tenebrist paintings (COCO), which are not part of this project; the other
pictures are the sample sets met-training and met-faces. There are two detectors, as in the paper:

- ``fasterrcnn-faces-bright``: body, pyramid and context modules of the photo-trained RetinaFace,
  frozen; region proposals and box head from random weights, on met-training and the paintings of
  met-faces without tenebrism.
- ``fasterrcnn-faces``: all layers of that one retrained on these pictures, the tenebrist ones of
  met-faces, and ``boxes.json``.

``folds``: every fold of met-faces and of ``boxes.json`` is left out once by both stages. Prints AP,
AP50, AP75, and precision and recall at a score of 0.5, at longer sides of 640 and 1000, with the
90 % bootstrap interval of AP50 (resampling paintings), beside RetinaFace and CenterFace. Detections
of every fold are kept in ``benchmarks/runs/fasterrcnn``, so that a later call goes on.

``final``: both checkpoints, on everything, with the folds' figures in their metadata.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import torch

import chiaroscuro as cs
from chiaroscuro.core.declared import plain
from chiaroscuro.core.records import Proposals
from chiaroscuro.data.datasets import open_data_set
from chiaroscuro.data.samples import met_faces
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.metrics.average_precision import average_precision
from chiaroscuro.studies.matching import match
from chiaroscuro.training import (
    Augmentation,
    TrainingPicture,
    TrainingSettings,
    open_trainable,
    train,
    training_pictures,
)
from chiaroscuro.training.measure import detections
from chiaroscuro.training.state import pictures_digest

RUNS = Path(__file__).parent / "runs" / "fasterrcnn"
SIDES, SCORE, IOU = (640, 1000), 0.5, 0.5
TOGETHER = (("susanna_1622", "susanna_and_the_elders_not_ncmg"),)  # two pictures of one painting

CROPS = Augmentation(size=448, long_side=(320, 1300), near_a_face=0.7)
HEADS = TrainingSettings(
    steps=400,
    batch_size=6,
    learning_rate=1e-3,
    weight_decay=0.05,
    warm_up=50,
    keep=0.0,
    freeze=("backbone",),
    evaluate_every=100,
    augmentation=CROPS,
)
ALL_LAYERS = attrs.evolve(HEADS, steps=200, learning_rate=2e-4, warm_up=20, freeze=())

Pictures = Sequence[TrainingPicture]


def start(seed: int) -> Trainable:
    """The network with RetinaFace's body, and random heads."""
    torch.manual_seed(seed)
    detector = open_trainable("torchvision/fasterrcnn_faces", device="cpu", weights=None)
    own = detector.network.state_dict()
    photo_trained = cs.load_detector("retinaface", form="torch", device="cpu").network.state_dict()
    for name, value in photo_trained.items():
        part, _, rest = name.partition(".")
        if part in ("backbone", "pyramid", "context"):
            own[f"backbone.body.{rest}" if part == "backbone" else f"backbone.{name}"].copy_(value)
    return detector


class Collection:
    """The pictures by set, and which fold each is in."""

    def __init__(self, annotations: str, images: str | None, n_folds: int) -> None:
        self.met = training_pictures(open_data_set("met-faces"), {0: 0})
        self.more = training_pictures(open_data_set("met-training"), {0: 0})
        self.tenebrist = training_pictures(open_data_set(annotations, images), {0: 0})
        dark = {str(painting.id) for painting in met_faces(tenebrist=True)}
        self.dark = [picture for picture in self.met if picture.name in dark]
        self.folds = {one.name: i % n_folds for i, one in enumerate(self.met)}
        self.folds |= {one.name: i % n_folds for i, one in enumerate(self.tenebrist)}
        for parts in TOGETHER:
            names = [name for name in self.folds if any(part in name for part in parts)]
            self.folds |= dict.fromkeys(names, self.folds[names[0]])

    def without(self, pictures: Pictures, fold: int | None) -> list[TrainingPicture]:
        return [one for one in pictures if fold is None or self.folds[one.name] != fold]

    def bright(self, fold: int | None) -> list[TrainingPicture]:
        """What the first stage learns from."""
        dark = {one.name for one in self.dark}
        return [one for one in self.without(self.met, fold) if one.name not in dark] + self.more

    def everything(self, fold: int | None) -> list[TrainingPicture]:
        """What the second stage learns from."""
        return [*self.without(self.met, fold), *self.more, *self.without(self.tenebrist, fold)]


def stages(data: Collection, fold: int | None, seed: int) -> dict[str, Trainable]:
    """Both detectors, trained without a fold."""
    made, detector = {}, start(seed)
    for name, pictures, settings in (
        ("fasterrcnn-faces-bright", data.bright(fold), HEADS),
        ("fasterrcnn-faces", data.everything(fold), ALL_LAYERS),
    ):
        began = time.perf_counter()
        train(detector, pictures, attrs.evolve(settings, seed=seed))
        minutes = (time.perf_counter() - began) / 60
        print(f"fold {fold}, seed {seed}: {name}, {minutes:.1f} minutes", flush=True)
        made[name] = open_trainable(_saved(detector, f"{name}-{fold}-{seed}"), device="cpu")
    return made


def _saved(detector: Trainable, name: str) -> Path:
    path = RUNS / f"{name}.safetensors"
    detector.save(path)
    return path


Found = dict[str, dict[int, Proposals]]  # by picture and side


def found_by(detector: cs.Detector, pictures: Pictures) -> Found:
    return {
        one.name: {side: detections(detector, one, side)[0] for side in SIDES} for one in pictures
    }


def out_of_fold(data: Collection, n_folds: int, seed: int) -> dict[str, Found]:
    """What both detectors find in every painting that they have not learned from."""
    everything: dict[str, Found] = {}
    for fold in range(n_folds):
        file = RUNS / f"found-{fold}-{seed}.pt"
        if not file.exists():
            held = [one for one in (*data.met, *data.tenebrist) if data.folds[one.name] == fold]
            trained = stages(data, fold, seed)
            content = {name: _plain(found_by(one, held)) for name, one in trained.items()}
            torch.save(content, file)
        for name, found in torch.load(file, weights_only=True).items():
            everything.setdefault(name, {}).update(_proposals(found))
    return everything


def _plain(found: Found) -> dict[str, dict[int, tuple[torch.Tensor, torch.Tensor]]]:
    return {
        name: {side: (one.boxes, one.scores) for side, one in sides.items()}
        for name, sides in found.items()
    }


def _proposals(found: dict) -> Found:
    return {
        name: {side: Proposals(boxes=one[0], scores=one[1]) for side, one in sides.items()}
        for name, sides in found.items()
    }


def measure(found: Found, pictures: Pictures, side: int) -> dict[str, float]:
    """AP, AP50 with its interval, AP75, precision and recall."""
    ours = [found[one.name][side] for one in pictures]
    truth = [one.truth.scaled(min(1.0, side / max(one.image.shape[1:]))) for one in pictures]
    ap = average_precision(ours, truth, n_resamples=400)
    kinds = [
        each.kind
        for one, known in zip(ours, truth, strict=True)
        for each in match(one.above(SCORE), known, IOU).detections
    ]
    hits, false = kinds.count("hit"), sum(kind not in ("hit", "ignored") for kind in kinds)
    n_faces = sum(int((~known.ignore).sum()) for known in truth)
    low, high = ap.ap50_interval or (float("nan"), float("nan"))
    return {
        "ap": ap.ap,
        "ap50": ap.ap50,
        "low": low,
        "high": high,
        "ap75": ap.ap75,
        "precision": hits / max(1, hits + false),
        "recall": hits / n_faces,
    }


def table(data: Collection, runs: Sequence[dict[str, Found]]) -> dict[str, dict[str, float]]:
    """Prints means over seeds; intervals are of the first seed."""
    others = {}
    for name in ("retinaface", "retinaface-paintings", "centerface"):
        others[name] = found_by(cs.load_detector(name, device="cpu"), (*data.met, *data.tenebrist))
    sets = {"met-faces": data.met, "its tenebrist ones": data.dark, "boxes.json": data.tenebrist}
    print(
        "\n| detector, paintings | side | AP | AP50 | interval | AP75 | precision | recall ", end=""
    )
    print("| spread of AP50 over seeds |\n|" + "---|" * 9)
    figures = {}
    for what, pictures in sets.items():
        for name in (*runs[0], *others):
            for side in SIDES:
                of = [one[name] for one in runs] if name in runs[0] else [others[name]]
                rows = [measure(found, pictures, side) for found in of]
                mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
                spread = np.ptp([row["ap50"] for row in rows])
                figures[f"{name}, {what}, {side}"] = mean
                print(
                    f"| {name}, {what} | {side} | {mean['ap']:.3f} | {mean['ap50']:.3f} "
                    f"| {rows[0]['low']:.3f} to {rows[0]['high']:.3f} | {mean['ap75']:.3f} "
                    f"| {mean['precision']:.3f} | {mean['recall']:.3f} | {spread:.3f} |",
                    flush=True,
                )
    return figures


def final(data: Collection, out: Path) -> None:
    """Train both detectors on everything, and save them with what they were made of."""
    measured = RUNS / "figures.json"
    for name, detector in stages(data, None, 0).items():
        bright = name.endswith("bright")
        pictures = data.bright(None) if bright else data.everything(None)
        about = {
            "data_sha256": pictures_digest(pictures),
            "pictures": [one.name for one in pictures],
            "training": [plain(one) for one in ([HEADS] if bright else [HEADS, ALL_LAYERS])],
            "measured": json.loads(measured.read_text()) if measured.exists() else {},
        }
        detector.save(out / f"{name}.safetensors", about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("folds", "final"))
    parser.add_argument("annotations")
    parser.add_argument("--images")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RUNS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    RUNS.mkdir(parents=True, exist_ok=True)
    data = Collection(given.annotations, given.images, given.folds)
    if given.what == "final":
        final(data, given.out)
        return
    runs = [out_of_fold(data, given.folds, seed) for seed in given.seeds]
    (RUNS / "figures.json").write_text(json.dumps(table(data, runs)))


if __name__ == "__main__":
    main()
