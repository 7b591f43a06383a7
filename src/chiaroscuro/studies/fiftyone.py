"""A run for FiftyOne: annotated boxes and detections as COCO, heat maps as pictures, a loader.

FiftyOne itself is not needed to write it. Boxes are in the pixels of the original files, which are
named by their paths and not copied.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from chiaroscuro.images.sources import is_address
from chiaroscuro.results.folder import ResultFolder
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import AnnotationRecord, DetectionRecord
from chiaroscuro.studies.run import Run

LOADER = '''"""Makes a FiftyOne data set of this folder: python load.py [name]."""

import json
import sys
from pathlib import Path

import fiftyone as fo

here = Path(__file__).parent
labels = json.loads((here / "labels.json").read_text())
found = json.loads((here / "detections.json").read_text())
maps = json.loads((here / "maps.json").read_text())
names = {entry["id"]: entry["name"] for entry in labels["categories"]}


def boxes(rows, width, height):
    return fo.Detections(
        detections=[
            fo.Detection(
                label=names.get(row["category_id"], str(row["category_id"])),
                bounding_box=[
                    row["bbox"][0] / width,
                    row["bbox"][1] / height,
                    row["bbox"][2] / width,
                    row["bbox"][3] / height,
                ],
                confidence=row.get("score"),
            )
            for row in rows
        ]
    )


dataset = fo.Dataset(sys.argv[1] if len(sys.argv) > 1 else here.parent.name, overwrite=True)
for image in labels["images"]:
    sample = fo.Sample(filepath=image["file_name"])
    for field, rows in (("ground_truth", labels["annotations"]), ("predictions", found)):
        own = [row for row in rows if row["image_id"] == image["id"]]
        sample[field] = boxes(own, image["width"], image["height"])
    for one in maps.get(str(image["id"]), []):
        field = f"map_{one['target']}_{one['kind'].replace(' ', '_')}"
        sample[field] = fo.Heatmap(map_path=str(here / one["file"]))
    dataset.add_sample(sample)
dataset.persistent = True
print(dataset)
'''


def export_fiftyone(run: Run) -> AnyPath:
    """Write ``fiftyone/`` into a run folder.

    Returns:
        The folder: ``labels.json`` (COCO, annotated boxes), ``detections.json`` (COCO results),
        ``maps/*.png`` (8-bit, the positive evidence of a target, 255 at its highest), ``maps.json``
        and ``load.py``, which makes a FiftyOne data set of them.
    """
    folder = run.folder / "fiftyone"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    maps: dict[str, list[dict[str, Any]]] = {}
    for number, one in enumerate(run.pictures(), start=1):
        images.append(_image(one, number))
        for row in one.study.truth or ():
            placed = _placed(row, number, one.scale)
            annotations.append(
                {
                    **placed,
                    "id": len(annotations) + 1,
                    "area": placed["bbox"][2] * placed["bbox"][3],
                    "iscrowd": int(row.crowd),
                    "ignore": int(row.ignore),
                }
            )
        found += [
            {**_placed(row, number, one.scale), "score": row.score} for row in one.study.detections
        ]
        maps[str(number)] = _maps(one, folder)
    classes = [{"id": one.label, "name": one.name} for one in run.record.data.classes]
    labels = {"images": images, "annotations": annotations, "categories": classes}
    for name, value in (("labels", labels), ("detections", found), ("maps", maps)):
        bundle.write_text(folder / f"{name}.json", json.dumps(value))
    bundle.write_text(folder / "load.py", LOADER)
    return folder


def _image(one: ResultFolder, number: int) -> dict[str, Any]:
    source = one.source
    return {
        "id": number,
        "file_name": str(source if is_address(source) else Path(source).resolve()),
        "width": round(one.manifest.width / one.scale),
        "height": round(one.manifest.height / one.scale),
    }


def _placed(row: DetectionRecord | AnnotationRecord, number: int, scale: float) -> dict[str, Any]:
    x1, y1, x2, y2 = (value / scale for value in row.box)
    box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
    return {"image_id": number, "category_id": row.label, "bbox": box}


def _maps(one: ResultFolder, folder: AnyPath) -> list[dict[str, Any]]:
    rows = []
    for i, about in enumerate(one.study.targets, start=1):
        saliency = one.explanation.saliency[i - 1].clamp(min=0)
        highest = float(saliency.max())
        if highest <= 0:
            continue
        heat = Image.fromarray((saliency / highest * 255).round().byte().numpy())
        file = f"maps/{one.name}-{i:02}.png"
        bundle.write_atomically(folder / file, partial(heat.save, format="png"))
        rows.append({"file": file, "target": i, "kind": about.kind})
    return rows
