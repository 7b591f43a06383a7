"""Score the maps in a folder of results: what ``chiaroscuro evaluate`` does.

Every picture's figures are written as soon as they are known (``measured``), so that a run that
stops is resumed and a later run adds to them. A figure that is not defined is counted with its
reason, and never averaged in.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from chiaroscuro import metrics
from chiaroscuro._version import __version__
from chiaroscuro.core.errors import BundleError
from chiaroscuro.core.plan import EvaluationSettings
from chiaroscuro.core.progress import Report, Steps
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.frame import Frame
from chiaroscuro.detectors import Detector
from chiaroscuro.detectors.protocol import torch_network
from chiaroscuro.evaluation import summary
from chiaroscuro.evaluation.measured import Measured
from chiaroscuro.evaluation.measuring import measure_picture
from chiaroscuro.evaluation.records import MAP, TABLES, EvaluationRecord, Row
from chiaroscuro.evaluation.sets import annotated_set, measure_set
from chiaroscuro.evaluation.summary import Unfinished
from chiaroscuro.figures import encode, plots
from chiaroscuro.methods import method_named
from chiaroscuro.metrics.catalogue import METRICS
from chiaroscuro.metrics.protocols import Protocol, protocol_named
from chiaroscuro.results.folder import ResultFolder, explained_detector, result_paths
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import SetCurve


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What ``evaluate_folder`` measured.

    Attributes:
        folder: where the files are.
        scores: one row per picture, target and map.
        curves: one row per picture, target, map and direction.
        summary: by map and metric: ``n``, ``undefined``, ``mean``, ``median``, and of two targets
            and more ``low`` and ``high`` (quartiles). All maps are averaged over the same ``n``
            targets, those for which every map has a value; ``undefined`` is the number of targets
            left out. Maps that were measured on some of the pictures only are not in it.
        stability: one row per picture, target and changed choice.
        randomisation: one row per picture, target and stage.
        costs: one row per picture and method: passes and seconds, of all targets together, and
            ``pass_seconds``, what one pass of the detector alone took at that time.
        collection: the insertion and the deletion curve of the whole set, or none.
        left_out: pictures, targets and maps without figures, with the reason.
        notes: sentences on what is left out, decided, or measured on some of the pictures only.
        unfinished: maps and measures of which the last is so.
    """

    folder: AnyPath
    scores: list[Row]
    curves: list[Row]
    summary: dict[str, dict[str, Row]]
    stability: list[Row]
    randomisation: list[Row]
    costs: list[Row]
    collection: tuple[SetCurve, ...]
    left_out: list[Row]
    notes: tuple[str, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()


def evaluate_folder(
    folder: AnyPath,
    detector: Detector,
    settings: EvaluationSettings,
    out: AnyPath,
    *,
    annotations: Annotations | None = None,
    frame: Frame | None = None,
    progress: Report | None = None,
) -> Evaluation:
    """Score every map under ``folder`` and write tables and figures to ``out``.

    ``folder`` is the ``--out`` folder of ``explain``, or one picture's folder in it. ``out`` gets
    ``scores.parquet``, ``curves.parquet``, ``curves.png`` and ``.svg``, and last
    ``evaluation.json``; with ``annotations``, read on their ``frame`` as by ``open_data_set``, also
    ``collection.png`` and ``.svg``. What an earlier run measured there stays: the tables hold it
    beside what is measured now.

    Raises:
        BundleError: if there are no results, they are of another detector, or ``out`` holds figures
            of other settings or maps.
        InputError: on an unknown protocol, or shuffling the weights of a black box.
    """
    paths = result_paths(folder)
    protocol = _checked(folder, paths, detector, settings)
    annotated = annotations and annotated_set(paths, annotations, detector, protocol, frame)
    made = {path.name: {"of": ResultFolder(path).fingerprint()} for path in paths}
    shared = _as_json(
        {"version": __version__, "detector": detector.info.name, "protocol": protocol.describe()}
    )
    made_set = None
    if annotated:
        pictures = {name: one["of"] for name, one in made.items()}
        made_set = {**shared, "pictures": pictures, "annotations": annotated.digest()}
    measured = Measured(out)
    n_passes = dict.fromkeys(settings.methods, settings.n_passes)
    measured.settle(made, shared, n_passes, made_set, overwrite=settings.overwrite)

    work = [(path, name) for path in paths for name in (MAP, *settings.methods)]
    to_do = len(work) + (len(paths) if annotated and measured.collection is None else 0)
    steps = Steps(progress, to_do, "maps")
    for path, name in work:
        steps.at(path.name if name == MAP else f"{path.name}, {name}")
        made_with = {**shared, **made[path.name]}
        if name != MAP:
            made_with["n_passes"] = settings.n_passes
        measure_picture(path, name, detector, settings, out, measured, made_with)
        steps.advance()
    if annotated and made_set:
        batch_size = settings.batch_size
        curves = measured.collection or measure_set(
            paths, annotated, detector, protocol, batch_size, made_set, steps
        )
        measured.add_collection(attrs.evolve(curves, annotations=annotated.source))
    evaluation = _gathered(measured, out, [path.name for path in paths])
    _write(evaluation, measured, detector, folder, protocol)
    return evaluation


def _checked(
    folder: AnyPath, paths: Sequence[AnyPath], detector: Detector, settings: EvaluationSettings
) -> Protocol:
    """The protocol, once it is known that everything can be measured."""
    explained, _ = explained_detector(paths)
    if explained != detector.info.name:
        raise BundleError(
            f"{folder}: its maps explain {explained}, not {detector.info.name}; a map is only "
            "true of the detector it came from"
        )
    for name in settings.methods:
        method_named(name).check_packages()
    if settings.randomisation:
        torch_network(detector)
    return protocol_named(settings.protocol)


def _as_json(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def _gathered(measured: Measured, out: AnyPath, pictures: Sequence[str]) -> Evaluation:
    """All that is measured, now and earlier."""
    rows = {name: measured.rows(name) for name in TABLES}
    collection: tuple[SetCurve, ...] = ()
    notes: list[str] = []
    if measured.collection is not None:
        notes += measured.collection.annotations.notes
        collection = measured.collection.curves
        rows["left_out"] = rows["left_out"] + measured.collection.left_out
    unfinished = summary.unfinished(measured)
    notes += unfinished.values()
    elsewhere = sorted(set(measured.pieces) - set(pictures))
    if elsewhere:
        notes.append(
            f"the tables also hold what was measured earlier of {len(elsewhere)} pictures that are "
            f"not among these results, such as {elsewhere[0]}"
        )
    finished = [
        row
        for row in rows["scores"]
        if (row["map"], summary.measure_of(row["map"])) not in unfinished
    ]
    return Evaluation(
        folder=out,
        summary=summary.summary(finished, rows["left_out"]),
        collection=collection,
        notes=tuple(notes),
        unfinished=tuple(unfinished),
        **rows,
    )


def _write(
    evaluation: Evaluation,
    measured: Measured,
    detector: Detector,
    folder: AnyPath,
    protocol: Protocol,
) -> None:
    out = evaluation.folder
    (out / "evaluation.json").unlink(missing_ok=True)
    files = [*_write_tables(evaluation), *_write_figures(evaluation, protocol)]
    steady = {
        name: summary.correlations(
            [
                row
                for row in getattr(evaluation, name)
                if (row["map"], name) not in evaluation.unfinished
            ],
            key,
        )
        for name, key in (("stability", "variant"), ("randomisation", "stage"))
    }
    kept = measured.collection
    bundle.write_record(
        out / "evaluation.json",
        EvaluationRecord(
            results=str(folder),
            detector=detector.info.name,
            protocol=protocol.describe(),
            baselines=any(row["map"] in metrics.BASELINES for row in evaluation.scores),
            version=__version__,
            metrics={name: metric.describe() for name, metric in METRICS.items()},
            summary=evaluation.summary,
            **{name: by_map.get(MAP, {}) for name, by_map in steady.items()},
            methods=summary.methods(evaluation.costs, steady),
            collection=evaluation.collection,
            annotations=kept.annotations if kept else None,
            left_out=evaluation.left_out,
            notes=evaluation.notes,
            files=tuple(files),
        ),
    )


def _write_tables(evaluation: Evaluation) -> list[str]:
    files = []
    for name in ("scores", "curves", "stability", "randomisation", "costs"):
        rows, file = getattr(evaluation, name), evaluation.folder / f"{name}.parquet"
        file.unlink(missing_ok=True)
        if rows:
            bundle.write_atomically(file, partial(pq.write_table, pa.Table.from_pylist(rows)))
            files.append(file.name)
    return files


def _write_figures(evaluation: Evaluation, protocol: Protocol) -> list[str]:
    figures = {}
    finished = [row for row in evaluation.curves if row["map"] in evaluation.summary]
    if curves := summary.paired_curves(finished):
        figures["curves"] = plots.curves_figure(curves, MAP, protocol.name)
    if evaluation.collection:
        figures["collection"] = plots.collection_figure(*evaluation.collection)
    return encode.save_all(figures, evaluation.folder)
