"""A run for FiftyOne: true boxes and detections in COCO's format, heat maps as pictures, a loader.

FiftyOne itself is not needed to write it. Boxes are in the pixels of the original files, which are
named by their paths and not copied.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.images.sources import is_address
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
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
        The folder: ``labels.json`` (COCO, true boxes), ``detections.json`` (COCO results),
        ``maps/*.png`` (8-bit, the positive evidence of a target, 255 at its highest), ``maps.json``
        and ``load.py``, which makes a FiftyOne data set of them.
    """
    folder = run.folder / "fiftyone"
    images: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    maps: dict[str, list[dict[str, Any]]] = {}
    for number, (name, manifest) in enumerate(run.manifests(), start=1):
        picture = manifest["picture"]
        source, scale = picture["source"], picture["scale"]
        images.append(
            {
                "id": number,
                "file_name": str(source if is_address(source) else Path(source).resolve()),
                "width": round(picture["width"] / scale),
                "height": round(picture["height"] / scale),
            }
        )
        for row in manifest["truth"] or ():
            mark = _row(row, number, scale)
            marks.append(
                {
                    **mark,
                    "id": len(marks) + 1,
                    "area": mark["bbox"][2] * mark["bbox"][3],
                    "iscrowd": int(row.get("crowd", False)),
                    "ignore": int(row["ignore"]),
                }
            )
        found += [
            {**_row(row, number, scale), "score": row["score"]} for row in manifest["detections"]
        ]
        maps[str(number)] = _maps(run, name, manifest, folder)
    classes = run.asked["data"]["classes"]
    _write(
        folder / "labels.json",
        {
            "images": images,
            "annotations": marks,
            "categories": [{"id": entry["label"], "name": entry["name"]} for entry in classes],
        },
    )
    _write(folder / "detections.json", found)
    _write(folder / "maps.json", maps)
    bundle.write_atomically(folder / "load.py", lambda stream: stream.write(LOADER.encode()))
    return folder


def _row(row: dict[str, Any], number: int, scale: float) -> dict[str, Any]:
    x1, y1, x2, y2 = (value / scale for value in row["box"])
    box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
    return {"image_id": number, "category_id": row["label"], "bbox": box}


def _maps(run: Run, name: str, manifest: dict[str, Any], folder: AnyPath) -> list[dict[str, Any]]:
    if not manifest["targets"]:
        return []
    explanation = Explanation.load(run.picture(name))
    rows = []
    for i, about in enumerate(manifest["study"], start=1):
        saliency = explanation.saliency[i - 1].clamp(min=0)
        highest = float(saliency.max())
        if highest <= 0:
            continue
        levels = (saliency / highest * 255).round().byte().numpy()
        file = f"maps/{name}-{i:02}.png"
        bundle.write_atomically(folder / file, _png(levels))
        rows.append({"file": file, "target": i, "kind": about["kind"]})
    return rows


def _png(levels: Any) -> Any:
    return lambda stream: Image.fromarray(np.ascontiguousarray(levels)).save(stream, "png")


def _write(path: AnyPath, value: Any) -> None:
    text = json.dumps(value)
    bundle.write_atomically(path, lambda stream: stream.write(text.encode()))
