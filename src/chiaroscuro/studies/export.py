"""A run for other tools: Parquet tables, COCO results JSON, averages as NPZ."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chiaroscuro.core.text import printable
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.run import Run
from chiaroscuro.studies.summary import Summary, image_id

_TEXT = (
    *("picture", "title", "detector", "kind", "trust", "trust_first", "trust_second", "what"),
    *("status", "match", "reading", "why", "source", "failed"),
)
_WHOLE = ("target", "label", "hits", "false_positives", "missed", "found", "n_passes")


def export(run: Run, summary: Summary) -> list[AnyPath]:
    """Write a run's tables beside its pictures, and return their paths.

    ``targets.parquet``, ``pictures.parquet``, ``detections.json`` (COCO results), one
    ``average-<kind>.npz`` for every kind of target, and ``summary.json``.
    """
    files: list[AnyPath] = []
    for name, rows in (("targets", summary.targets), ("pictures", summary.pictures)):
        if rows:
            files.append(run.folder / f"{name}.parquet")
            write_table(files[-1], rows)
    files.append(run.folder / "detections.json")
    bundle.write_text(files[-1], json.dumps(coco_results(run)))
    for kind, average in summary.averages.items():
        files.append(run.folder / f"average-{kind.replace(' ', '-')}.npz")
        arrays = {field.name: np.asarray(getattr(average, field.name)) for field in fields(average)}
        bundle.write_arrays(files[-1], arrays)
    files.append(run.folder / "summary.json")
    bundle.write_json(files[-1], summary.figures)
    return files


def write_table(path: AnyPath, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as Parquet; a column that is empty throughout keeps its type.

    ``image_id`` is a column of whole numbers if all are, else of text.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    whole_ids = all(type(row.get("image_id")) is int for row in rows)
    text = _TEXT if whole_ids else (*_TEXT, "image_id")
    whole = (*_WHOLE, "image_id")
    fields = [
        (name, pa.string() if name in text else pa.int64() if name in whole else pa.float64())
        for name in names
    ]
    texts = [
        {name: _as_text(value) if name in text else value for name, value in row.items()}
        for row in rows
    ]
    table = pa.Table.from_pylist(texts, schema=pa.schema(fields))
    bundle.write_atomically(path, partial(pq.write_table, table))


def _as_text(value: Any) -> str | None:
    return None if value is None else printable(str(value))


def coco_results(run: Run) -> list[dict[str, Any]]:
    """All detections, weak ones too, as COCO's evaluation tools read them.

    ``image_id`` and ``category_id`` are the data set's own; where it has none, the picture's name
    and the detector's label. Classes that the data set lacks have ids that it does not use. Nothing
    is rounded, so that other tools match the same boxes.
    """
    numbers = {entry.label: entry.id for entry in run.record.data.classes}
    rows = []
    for one in run.pictures():
        for found in one.study.detections:
            x1, y1, x2, y2 = (value / one.scale for value in found.box)
            number = numbers.get(found.label)
            rows.append(
                {
                    "image_id": image_id(one),
                    "category_id": found.label if number is None else number,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": found.score,
                }
            )
    return rows
