"""Score the maps in a folder of results: what ``chiaroscuro evaluate`` does.

Every picture's figures are written as soon as they are known, so a run that stops goes on from
there. A figure that cannot be had is counted with its reason, and never averaged in.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from chiaroscuro import bundle, contents, metrics, plots, remaking
from chiaroscuro._version import __version__
from chiaroscuro.bundle import AnyPath
from chiaroscuro.checks import settle
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.frame import Frame, place_all
from chiaroscuro.data.reading import storable
from chiaroscuro.detectors import Detector
from chiaroscuro.detectors.protocol import torch_network
from chiaroscuro.errors import BundleError, InputError, UndefinedMetricError
from chiaroscuro.evidence import Evidence
from chiaroscuro.methods import method_named
from chiaroscuro.metrics.catalogue import METRICS
from chiaroscuro.metrics.collection import protocol_of_sets
from chiaroscuro.metrics.maps import ordered_map
from chiaroscuro.metrics.protocols import protocol_named
from chiaroscuro.records import Explanation, Target, Truth
from chiaroscuro.results import (
    ExplainedPicture,
    SavedResult,
    explained_detector,
    explained_picture,
    saved_results,
)

_PARTS = ("scores", "curves", "stability", "randomisation", "costs", "left_out")
MAP = "map"  # what the explanation's own map is called beside the baselines


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """What is measured.

    Attributes:
        protocol: of the curves.
        baselines: whether maps that explain nothing are scored beside every map.
        stability: whether maps of other seeds, fills and grids are made and compared; five times
            the passes of the explanation.
        randomisation: whether the detector's weights are shuffled and the maps made anew; four
            times the passes of the explanation. Needs a torch network.
        methods: other methods whose maps of the same targets are made and scored beside.
        passes: of each of them for a picture's targets; its own default with ``"auto"``.
        batch_size: pictures a detector call.

    Raises:
        InputError: on a setting of another kind or out of range; it names the setting.
    """

    protocol: str = "chiaroscuro"
    baselines: bool = True
    methods: tuple[str, ...] = ()
    passes: int | Literal["auto"] = "auto"
    stability: bool = False
    randomisation: bool = False
    batch_size: int | None = None

    def __post_init__(self) -> None:
        settle(self, {"passes": contents.masks_or_auto, "batch_size": contents.BATCH_SIZE})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What ``evaluate_folder`` measured.

    Attributes:
        folder: where the files are.
        scores: one row for every picture, target and map.
        curves: one row a picture, target, map and direction.
        summary: by map and metric: ``n``, ``mean``, ``median``, ``low`` and ``high`` (quartiles)
            and ``undefined``. All maps are averaged over the same ``n`` targets, those for which
            every map has a value; ``undefined`` is the number of targets left out.
        stability: one row a picture, target and changed choice.
        randomisation: one row a picture, target and stage.
        costs: one row a picture and method: passes and seconds, of all targets together, and
            ``pass_seconds``, what one pass of the detector alone took at that time.
        collection: the insertion and the deletion curve of the whole set, or none.
        left_out: pictures, targets and maps without figures, with the reason.
        notes: what was left out of the annotations, or had to be decided, in sentences.
    """

    folder: AnyPath
    scores: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    summary: dict[str, dict[str, dict[str, Any]]]
    stability: list[dict[str, Any]]
    randomisation: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    collection: tuple[metrics.CollectionCurve, ...]
    left_out: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


def evaluate_folder(
    folder: AnyPath,
    detector: Detector,
    settings: EvaluationSettings,
    out: AnyPath,
    *,
    annotations: Annotations | None = None,
    frame: Frame | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Score every map under ``folder`` and write tables and figures to ``out``.

    Args:
        folder: the ``--out`` folder of ``explain``, or one picture's folder in it.
        detector: the detector that was explained.
        settings: what is measured.
        out: gets ``scores.parquet``, ``curves.parquet``, ``curves.png`` and ``.svg``, with
            annotations ``collection.png`` and ``.svg``, and last ``evaluation.json``.
        annotations: the annotated boxes, for the curves of the whole set.
        frame: what they are drawn on, as for ``open_data_set``.
        progress: called with what is done, how much is done, and how much there is.

    Raises:
        BundleError: if there are no results, or they are of another detector.
        InputError: on an unknown protocol, or shuffling the weights of a black box.
    """
    folders = saved_results(folder)
    explained = explained_detector(folders).name
    if explained != detector.info.name:
        raise BundleError(
            f"{folder}: its maps explain {explained}, not {detector.info.name}; a map is only "
            "true of the detector it came from"
        )
    protocol = protocol_named(settings.protocol)
    for name in settings.methods:
        method_named(name).check_packages()
    if settings.randomisation:
        torch_network(detector)
    labels: dict[int, int] = {}
    if annotations:
        protocol_of_sets(protocol)
        labels = annotations.labels_for(detector.info.class_names)
        if all(box.ignore for picture in annotations.pictures for box in picture.boxes):
            raise UndefinedMetricError(
                f"{annotations.source}: no picture has a marked box that is to be scored"
            )
    work = [(path, name) for path in folders for name in (MAP, *settings.methods)]
    steps = len(work) + (len(folders) if annotations else 0)
    parts: list[dict[str, Any]] = []
    for done, (path, name) in enumerate(work):
        if progress is not None:
            progress(path.name if name == MAP else f"{path.name}, {name}", done, steps)
        parts.append(_evaluate_picture(path, name, detector, settings, out))
    gathered = {name: [row for part in parts for row in part[name]] for name in _PARTS}
    collection: tuple[metrics.CollectionCurve, ...] = ()
    notes: list[str] = []
    if annotations:
        marked, notes = _annotated(folders, annotations, labels, detector, frame)
        seen = iter(range(len(work), steps + 1))

        def mapped() -> Iterator[metrics.MappedPicture]:
            for path in folders:
                if progress is not None:
                    progress(f"{path.name}, whole set", next(seen), steps)
                picture = _mapped(path, marked[path])
                if isinstance(picture, str):
                    gathered["left_out"].append({"picture": path.name, "reason": picture})
                else:
                    yield picture

        collection = metrics.collection_curves(
            mapped(), detector, protocol, batch_size=settings.batch_size
        )
        gathered["left_out"] += [
            {"picture": name, "reason": reason} for name, reason in collection[0].left_out
        ]
    evaluation = Evaluation(
        folder=out,
        summary=_summary(gathered["scores"], gathered["left_out"]),
        collection=collection,
        notes=tuple(notes),
        **gathered,
    )
    _write(evaluation, settings, detector, folder, annotations)
    if progress is not None:
        progress("done", steps, steps)
    return evaluation


def _evaluate_picture(
    folder: AnyPath, name: str, detector: Detector, settings: EvaluationSettings, out: AnyPath
) -> dict[str, Any]:
    """All rows of one picture, from an earlier run with the same settings where there is one.

    Args:
        folder: of the picture's result.
        name: ``MAP`` for the map in it, with the baselines beside, or a method's.
        detector: what was explained.
        settings: what is measured.
        out: where the rows are kept, and the maps of other methods.
    """
    key = _fingerprint(folder, name, detector, settings)
    file = (
        out / "pictures" / (f"{folder.name}.json" if name == MAP else f"{folder.name}.{name}.json")
    )
    if file.is_file():
        try:
            earlier = bundle.read_json(file, contents.EVALUATED_PICTURE)
        except BundleError:
            earlier = {}
        if earlier.get("key") == key and earlier["rows_sha256"] == _rows_sha256(earlier):
            return earlier
    part: dict[str, Any] = {"key": key, **{rows: [] for rows in _PARTS}}
    try:
        saved = SavedResult.load(folder)
        if not len(saved.explanation):
            raise InputError("nothing was explained in it")
        evidence = saved.evidence()
        if name == MAP:
            explained, baselines = saved.explanation, settings.baselines
        else:
            kept = out / "methods" / name / folder.name
            explained, cost = remaking.by_method(
                name, saved, evidence, detector, settings.passes, settings.batch_size, kept
            )
            part["costs"].append({"picture": folder.name, **cost})
            baselines = False
    except InputError as reason:
        left_out = {"picture": folder.name, "map": name, "reason": str(reason)}
        if name == MAP:
            del left_out["map"]
        part["left_out"].append(left_out)
        return part
    _score(part, name, saved, explained, evidence, detector, settings, baselines=baselines)
    bundle.write_json(file, {**part, "rows_sha256": _rows_sha256(part)})
    return part


def _rows_sha256(part: Mapping[str, Any]) -> str:
    rows = {name: part[name] for name in _PARTS}
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def _score(
    part: dict[str, Any],
    name: str,
    saved: SavedResult,
    explained: Explanation,
    evidence: Evidence,
    detector: Detector,
    settings: EvaluationSettings,
    *,
    baselines: bool,
) -> None:
    """Fill in the rows of one picture's maps."""
    named = (name, *metrics.BASELINES) if baselines else (name,)
    maps = _maps(saved.name, explained, evidence.image, named, part["left_out"])
    areas = _curves(saved, evidence.image, detector, settings, maps, part["curves"])
    for (index, what), saliency in maps.items():
        target = explained.targets[index]
        fidelity = float(explained.fidelity[index])
        part["scores"].append(
            {
                "picture": saved.name,
                "target": index + 1,
                "what": saved.caption(index),
                "score": target.score,
                "fidelity": None if math.isnan(fidelity) else fidelity,
                "map": what,
                **areas[index, what],
                **_of_map(saliency, target),
            }
        )
    make = remaking.again(explained, evidence, detector, settings.batch_size)
    told = {"picture": saved.name, "map": name}
    if settings.stability:
        of_drise = name == MAP and explained.settings["method"] == "drise"
        compared = (
            metrics.stability(
                evidence.image,
                detector,
                explained.targets,
                reference=explained,
                n_masks=evidence.n_masks,
                seed=evidence.seed,
                design=evidence.design,
                estimator=str(explained.settings["estimator"]),
                batch_size=settings.batch_size,
            )
            if of_drise
            else metrics.repeatability(evidence.image, explained, evidence.seed, make)
        )
        part["stability"].extend({**told, **row} for row in _stability(compared))
    if settings.randomisation:
        stages = metrics.randomisation(
            evidence.image,
            detector,
            explained.targets,
            reference=explained,
            explain=lambda changed: make(evidence.image, evidence.seed, changed),
            seed=evidence.seed,
        )
        part["randomisation"].extend({**told, **row} for row in _randomisation(stages))


def _fingerprint(
    folder: AnyPath, name: str, detector: Detector, settings: EvaluationSettings
) -> str:
    asked = {
        "of": remaking.fingerprint(folder),
        "version": __version__,
        "detector": detector.info.name,
        "map": name,
        "protocol": protocol_named(settings.protocol).describe(),
        "stability": settings.stability,
        "randomisation": settings.randomisation,
        "baselines" if name == MAP else "passes": (
            settings.baselines if name == MAP else settings.passes
        ),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _maps(
    picture: str,
    explained: Explanation,
    image: Tensor,
    names: Sequence[str],
    left_out: list[dict[str, Any]],
) -> dict[tuple[int, str], Tensor]:
    """Usable maps by target and name; a constant one is told and left out.

    The first name is that of the explained map, the others those of baselines.
    """
    name, *baselines = names
    size = (explained.height, explained.width)
    maps: dict[tuple[int, str], Tensor] = {}
    for index, target in enumerate(explained.targets):
        saliency = explained.saliency[index]
        try:
            ordered_map(saliency, size)
            maps[index, name] = saliency
        except UndefinedMetricError as reason:
            left_out.append(
                {"picture": picture, "target": index + 1, "map": name, "reason": str(reason)}
            )
        for baseline in baselines:
            maps[index, baseline] = metrics.baseline(baseline, image, target)
    return maps


def _curves(
    saved: SavedResult,
    image: Tensor,
    detector: Detector,
    settings: EvaluationSettings,
    maps: Mapping[tuple[int, str], Tensor],
    rows: list[dict[str, Any]],
) -> dict[tuple[int, str], dict[str, float]]:
    targets = [saved.explanation.targets[index] for index, _ in maps]
    by_direction = {
        direction: metrics.curves(
            image,
            detector,
            targets,
            list(maps.values()),
            direction,
            settings.protocol,
            batch_size=settings.batch_size,
        )
        for direction in metrics.DIRECTIONS
    }
    areas = {}
    pairs = zip(by_direction["insertion"], by_direction["deletion"], strict=True)
    for (index, what), (up, down) in zip(maps, pairs, strict=True):
        areas[index, what] = {
            "insertion": up.area,
            "deletion": down.area,
            "overall": metrics.overall(up, down),
            "insertion_start": up.start,
            "insertion_iou": up.iou_area,
            "insertion_score": up.score_area,
            "deletion_iou": down.iou_area,
            "deletion_score": down.score_area,
        }
        rows += [
            {
                "picture": saved.name,
                "target": index + 1,
                "map": what,
                "direction": curve.direction,
                "protocol": curve.protocol.name,
                "fraction": curve.fraction.tolist(),
                "similarity": curve.similarity.tolist(),
                "iou": curve.iou.tolist(),
                "score": curve.score.tolist(),
            }
            for curve in (up, down)
        ]
    return areas


def _of_map(saliency: Tensor, target: Target) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for name, metric in METRICS.items():
        if metric.of_map is None:
            continue
        try:
            values[name] = float(metric.of_map(saliency, target))
        except UndefinedMetricError:
            values[name] = None
    return values


def _stability(
    compared: Mapping[str, Sequence[metrics.Agreement | None]],
) -> Iterator[dict[str, Any]]:
    for variant, agreements in compared.items():
        for index, agreement in enumerate(agreements):
            yield {"target": index + 1, "variant": variant, **_correlations(agreement)}


def _randomisation(stages: Sequence[metrics.RandomisedStage]) -> Iterator[dict[str, Any]]:
    for number, stage in enumerate(stages, start=1):
        for index, agreement in enumerate(stage.agreement):
            yield {
                "target": index + 1,
                "stage": number,
                "share": stage.share,
                "layer": stage.layer,
                "mean_weight": stage.mean_weight[index],
                **_correlations(agreement),
            }


def _correlations(agreement: metrics.Agreement | None) -> dict[str, float | None]:
    return {
        "linear": None if agreement is None else agreement.linear,
        "rank": None if agreement is None else agreement.rank,
    }


def _annotated(
    folders: Sequence[AnyPath],
    annotations: Annotations,
    labels: Mapping[int, int],
    detector: Detector,
    frame: Frame | None,
) -> tuple[dict[AnyPath, Truth | str], list[str]]:
    """Annotations of every result, in its pixels and with the detector's labels, or why none.

    Returns:
        Those, and what was left out or had to be decided, in sentences.
    """
    named = annotations.named()
    marked: dict[AnyPath, Truth | str] = {}
    matched: list[tuple[AnyPath, ExplainedPicture]] = []
    for path in folders:
        try:
            explained = explained_picture(path)
        except InputError as reason:
            marked[path] = str(reason)
            continue
        if explained.file_name in named:
            matched.append((path, explained))
        else:
            marked[path] = f"{annotations.source} has no picture {explained.file_name}"
    placed, decisions = place_all(
        [(named[explained.file_name], explained.size) for _, explained in matched], frame
    )
    for (path, explained), one in zip(matched, placed, strict=True):
        marked[path] = one.refused or one.truth.relabelled(labels).scaled(explained.scale)
    notes = [
        *annotations.notes,
        *decisions,
        *(note for one in placed for note in one.notes),
        *annotations.notes_on(labels, detector.info.class_names),
    ]
    return marked, list(map(storable, notes))


def _mapped(folder: AnyPath, marked: Truth | str) -> metrics.MappedPicture | str:
    """A picture of the set with its maps and annotations, or why it has none."""
    if isinstance(marked, str):
        return marked
    try:
        saved = SavedResult.load(folder)
        if not len(saved.explanation):
            return "nothing was explained in it"
        return metrics.MappedPicture(
            name=saved.name,
            image=saved.evidence().image,
            targets=saved.explanation.targets,
            saliency=saved.explanation.saliency,
            truth=marked,
        )
    except InputError as reason:
        return str(reason)


def _summary(
    scores: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every metric of every map over the same targets: those for which all maps have a value."""
    by_map: dict[str, dict[Any, Mapping[str, Any]]] = {}
    for row in scores:
        by_map.setdefault(row["map"], {})[_target(row)] = row
    everyone = list(dict.fromkeys(map(_target, scores)))
    everyone += {_target(one) for one in left_out if "target" in one} - set(everyone)
    summary: dict[str, dict[str, dict[str, Any]]] = {what: {} for what in by_map}
    for name in METRICS:
        if not any(name in row for row in scores):
            continue
        paired = [
            target
            for target in everyone
            if all(rows.get(target, {}).get(name) is not None for rows in by_map.values())
        ]
        for what, rows in by_map.items():
            known = [rows[target][name] for target in paired]
            nothing = [None] * (len(everyone) - len(paired))
            summary[what][name] = _spread([*known, *nothing])
    return summary


def _target(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["picture"], row["target"]


def _paired(curves: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The curves of the targets that have one of every map."""
    maps_of: dict[Any, set[str]] = {}
    for row in curves:
        maps_of.setdefault(_target(row), set()).add(row["map"])
    maps = set().union(*maps_of.values())
    return [row for row in curves if maps_of[_target(row)] == maps]


def _spread(values: Sequence[float | int | None]) -> dict[str, Any]:
    known = np.array([value for value in values if value is not None])
    spread: dict[str, Any] = {"n": len(known), "undefined": len(values) - len(known)}
    if len(known):
        low, median, high = np.quantile(known, (0.25, 0.5, 0.75)).tolist()
        spread |= {"mean": float(known.mean()), "median": median, "low": low, "high": high}
    return spread


def _write(
    evaluation: Evaluation,
    settings: EvaluationSettings,
    detector: Detector,
    folder: AnyPath,
    annotations: Annotations | None,
) -> None:
    out = evaluation.folder
    protocol = protocol_named(settings.protocol)
    (out / "evaluation.json").unlink(missing_ok=True)
    tables = {
        "scores": evaluation.scores,
        "curves": evaluation.curves,
        "stability": evaluation.stability,
        "randomisation": evaluation.randomisation,
        "costs": evaluation.costs,
    }
    files = []
    for name, rows in tables.items():
        file = out / f"{name}.parquet"
        file.unlink(missing_ok=True)
        if rows:
            bundle.write_atomically(file, partial(pq.write_table, pa.Table.from_pylist(rows)))
            files.append(file.name)
    figures = {}
    if curves := _paired(evaluation.curves):
        figures["curves"] = plots.curves_figure(curves, MAP, protocol.name)
    if evaluation.collection:
        figures["collection"] = plots.collection_figure(*evaluation.collection)
    for name, figure in figures.items():
        files += [plots.save(figure, out / f"{name}.{suffix}").name for suffix in ("png", "svg")]
    bundle.write_json(
        out / "evaluation.json",
        {
            "results": str(folder),
            "detector": detector.info.name,
            "protocol": protocol.describe(),
            "baselines": settings.baselines,
            "version": __version__,
            "metrics": {name: metric.describe() for name, metric in METRICS.items()},
            "summary": evaluation.summary,
            "stability": _by(_of(MAP, evaluation.stability), "variant"),
            "randomisation": _by(_of(MAP, evaluation.randomisation), "stage"),
            "methods": _methods(evaluation),
            "collection": [curve.describe() for curve in evaluation.collection],
            "annotations": annotations
            and {
                "source": annotations.source,
                "class_map": dict(annotations.class_map),
                "notes": list(evaluation.notes),
            },
            "left_out": evaluation.left_out,
            "files": files,
        },
    )


def _of(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["map"] == name]


def _methods(evaluation: Evaluation) -> dict[str, Any]:
    """What each of the other methods is, cost, and how steady its maps are."""
    return {
        name: {
            **method_named(name).describe(),
            "passes": _spread([row["passes"] for row in costs]),
            "times_a_pass": _spread([row["seconds"] / row["pass_seconds"] for row in costs]),
            "stability": _by(_of(name, evaluation.stability), "variant"),
            "randomisation": _by(_of(name, evaluation.randomisation), "stage"),
        }
        for name in dict.fromkeys(row["method"] for row in evaluation.costs)
        for costs in [[row for row in evaluation.costs if row["method"] == name]]
    }


def _by(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """Spread of the correlations for every variant or stage."""
    return {
        str(value): {
            kind: _spread([row[kind] for row in rows if row[key] == value])
            for kind in ("linear", "rank")
        }
        for value in dict.fromkeys(row[key] for row in rows)
    }
