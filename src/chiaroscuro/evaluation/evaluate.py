"""Score the maps in a folder of results: what ``chiaroscuro evaluate`` does.

Every picture's figures are written as soon as they are known (``measured``), so that a run that
stops is resumed and a later run adds to them. A figure that cannot be had is counted with its
reason, and never averaged in.
"""

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from chiaroscuro import metrics
from chiaroscuro._version import __version__
from chiaroscuro.core import limits
from chiaroscuro.core.checks import settle
from chiaroscuro.core.errors import BundleError, InputError, UndefinedMetricError
from chiaroscuro.core.records import Target, Truth
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.frame import Frame, place_all
from chiaroscuro.data.reading import storable
from chiaroscuro.detectors import Detector
from chiaroscuro.detectors.protocol import torch_network
from chiaroscuro.evaluation import remaking
from chiaroscuro.evaluation.measured import MAP, ROWS, Measure, Measured, Piece
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures import encode, plots
from chiaroscuro.methods import method_named
from chiaroscuro.metrics.catalogue import METRICS
from chiaroscuro.metrics.collection import protocol_of_sets
from chiaroscuro.metrics.maps import ordered_map
from chiaroscuro.metrics.protocols import Protocol, protocol_named
from chiaroscuro.results.folder import (
    ExplainedPicture,
    SavedResult,
    explained_detector,
    explained_picture,
    saved_results,
)
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath


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
        overwrite: whether figures of other settings in the folder are replaced, not refused.

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
    overwrite: bool = False

    def __post_init__(self) -> None:
        settle(self, {"passes": limits.masks_or_auto, "batch_size": limits.BATCH_SIZE})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What ``evaluate_folder`` measured.

    Attributes:
        folder: where the files are.
        scores: one row for every picture, target and map.
        curves: one row a picture, target, map and direction.
        summary: by map and metric: ``n``, ``undefined``, ``mean``, ``median``, and of two targets
            and more ``low`` and ``high`` (quartiles). All maps are averaged over the same ``n``
            targets, those for which every map has a value; ``undefined`` is the number of targets
            left out. Maps that were measured on some of the pictures only are not in it.
        stability: one row a picture, target and changed choice.
        randomisation: one row a picture, target and stage.
        costs: one row a picture and method: passes and seconds, of all targets together, and
            ``pass_seconds``, what one pass of the detector alone took at that time.
        collection: the insertion and the deletion curve of the whole set, or none.
        left_out: pictures, targets and maps without figures, with the reason.
        notes: what was left out of the annotations, what had to be decided, and what is measured
            on some of the pictures only, in sentences.
        unfinished: maps and measures of which that is so.
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
    unfinished: tuple[tuple[str, str], ...] = ()


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

    What an earlier run measured there stays: the tables hold it beside what is measured now.

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
        BundleError: if there are no results, they are of another detector, or ``out`` holds figures
            of other settings or maps.
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
    marked: dict[AnyPath, Truth | str] = {}
    notes: list[str] = []
    if annotations:
        marked, notes = _annotated(folders, annotations, labels, detector, frame)
        if all(isinstance(truth, str) for truth in marked.values()):
            reasons = "; ".join(f"{path.name}: {why}" for path, why in list(marked.items())[:3])
            raise InputError(
                f"{annotations.source}: no picture with a map has annotations ({reasons})"
            )
    made = {path.name: {"of": remaking.fingerprint(path)} for path in folders}
    shared = _plain(
        {"version": __version__, "detector": detector.info.name, "protocol": protocol.describe()}
    )
    pictures = {name: one["of"] for name, one in made.items()}
    made_set = (
        {**shared, "pictures": pictures, "annotations": _digest(marked)} if annotations else None
    )
    measured = Measured(out)
    passes = dict.fromkeys(settings.methods, settings.passes)
    measured.settle(made, shared, passes, made_set, overwrite=settings.overwrite)

    work = [(path, name) for path in folders for name in (MAP, *settings.methods)]
    steps = len(work) + (len(folders) if annotations else 0)
    for done, (path, name) in enumerate(work):
        if progress is not None:
            progress(path.name if name == MAP else f"{path.name}, {name}", done, steps)
        settled = {**shared, **made[path.name]}
        if name != MAP:
            settled["passes"] = settings.passes
        _evaluate_picture(path, name, detector, settings, out, measured, settled)
    if annotations and made_set:
        about = {
            "source": annotations.source,
            "class_map": dict(annotations.class_map),
            "notes": notes,
        }
        curves = measured.collection or _set_curves(
            _one_by_one(folders, progress, len(work), steps),
            marked,
            detector,
            protocol,
            settings.batch_size,
        )
        measured.add_collection({**curves, "made": made_set, "annotations": _plain(about)})
    evaluation = _gathered(measured, out, [path.name for path in folders])
    _write(evaluation, measured, detector, folder, protocol)
    if progress is not None:
        progress("done", steps, steps)
    return evaluation


def _one_by_one(
    folders: Sequence[AnyPath],
    progress: Callable[[str, int, int], None] | None,
    done: int,
    steps: int,
) -> Iterator[AnyPath]:
    """The folders, each told to ``progress`` before it is taken."""
    for number, path in enumerate(folders, start=done):
        if progress is not None:
            progress(f"{path.name}, whole set", number, steps)
        yield path


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))


def _digest(marked: Mapping[AnyPath, Truth | str]) -> str:
    """SHA-256 of the annotations of all pictures, as hexadecimal digits."""
    told = {
        path.name: truth
        if isinstance(truth, str)
        else [values.tolist() for values in (truth.boxes, truth.labels, truth.ignore, truth.crowd)]
        for path, truth in marked.items()
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _set_curves(
    folders: Iterator[AnyPath],
    marked: Mapping[AnyPath, Truth | str],
    detector: Detector,
    protocol: Protocol,
    batch_size: int | None,
) -> dict[str, Any]:
    """The curves of the whole set, and the pictures that take no part in either of them."""
    left_out: list[dict[str, str]] = []

    def mapped() -> Iterator[metrics.MappedPicture]:
        for path in folders:
            picture = _mapped(path, marked[path])
            if isinstance(picture, str):
                left_out.append({"picture": path.name, "reason": picture})
            else:
                yield picture

    curves = metrics.collection_curves(mapped(), detector, protocol, batch_size=batch_size)
    left_out += [{"picture": name, "reason": reason} for name, reason in curves[0].left_out]
    return {"curves": [_plain(curve.describe()) for curve in curves], "left_out": left_out}


def _evaluate_picture(
    folder: AnyPath,
    name: str,
    detector: Detector,
    settings: EvaluationSettings,
    out: AnyPath,
    measured: Measured,
    made: Mapping[str, Any],
) -> None:
    """Measure what is wanted of one picture and map and is not there yet.

    Args:
        folder: of the picture's result.
        name: ``MAP`` for the map in it, with the baselines beside, or a method's.
        detector: what was explained.
        settings: what is measured.
        out: where the maps of other methods are kept.
        measured: what is there; it is added to.
        made: what the pieces are made of and with.
    """
    wanted: dict[Measure, bool] = {
        "scores": True,
        "baselines": settings.baselines and name == MAP,
        "stability": settings.stability,
        "randomisation": settings.randomisation,
    }
    missing = [m for m, asked in wanted.items() if asked and not measured.has(folder.name, name, m)]
    if not missing:
        return
    try:
        saved = SavedResult.load(folder)
        if not len(saved.explanation):
            raise InputError("nothing was explained in it")
        evidence = saved.evidence()
        explained, cost = saved.explanation, None
        if name != MAP:
            kept = out / "methods" / name / folder.name
            explained, cost = remaking.by_method(
                name, saved, evidence, detector, settings.passes, settings.batch_size, kept
            )
    except InputError as reason:
        failed = _piece(name, "scores", made)
        failed["left_out"].append({"picture": folder.name, "map": name, "reason": str(reason)})
        if name == MAP:
            del failed["left_out"][0]["map"]
        measured.add(folder.name, failed)
        return
    for measure in missing:
        piece = _piece(name, measure, made)
        if measure == "scores" and cost is not None:
            piece["costs"].append({"picture": folder.name, **cost})
        if measure in ("scores", "baselines"):
            maps = tuple(metrics.BASELINES) if measure == "baselines" else (name,)
            _score(piece, maps, saved, explained, evidence.image, detector, settings)
        elif measure == "stability":
            _compare_steadiness(piece, saved, explained, evidence, detector, settings)
        else:
            _compare_shuffled(piece, saved, explained, evidence, detector, settings)
        measured.add(folder.name, piece)


def _piece(name: str, measure: Measure, made: Mapping[str, Any]) -> Piece:
    rows: dict[str, list[Any]] = {rows: [] for rows in ROWS}
    return {"map": name, "measure": measure, "made": dict(made), **rows}


def _score(
    piece: Piece,
    names: Sequence[str],
    saved: SavedResult,
    explained: Explanation,
    image: Tensor,
    detector: Detector,
    settings: EvaluationSettings,
) -> None:
    """Fill in the figures of one picture's maps of these names."""
    maps = _maps(saved.name, explained, image, names, piece["left_out"])
    areas = _curves(saved, image, detector, settings, maps, piece["curves"])
    for (index, what), saliency in maps.items():
        target = explained.targets[index]
        fidelity = float(explained.fidelity[index])
        piece["scores"].append(
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


def _compare_steadiness(
    piece: Piece,
    saved: SavedResult,
    explained: Explanation,
    evidence: Evidence,
    detector: Detector,
    settings: EvaluationSettings,
) -> None:
    """Fill in how like the maps are to those of other seeds, fills and grids."""
    if piece["map"] == MAP and explained.settings["method"] == "drise":
        compared = metrics.stability(
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
    else:
        make = remaking.again(explained, evidence, detector, settings.batch_size)
        compared = metrics.repeatability(evidence.image, explained, evidence.seed, make)
    told = {"picture": saved.name, "map": piece["map"]}
    piece["stability"].extend({**told, **row} for row in _stability(compared))


def _compare_shuffled(
    piece: Piece,
    saved: SavedResult,
    explained: Explanation,
    evidence: Evidence,
    detector: Detector,
    settings: EvaluationSettings,
) -> None:
    """Fill in how like the maps are to those of the detector with shuffled weights."""
    make = remaking.again(explained, evidence, detector, settings.batch_size)
    stages = metrics.randomisation(
        evidence.image,
        detector,
        explained.targets,
        reference=explained,
        explain=lambda changed: make(evidence.image, evidence.seed, changed),
        seed=evidence.seed,
    )
    told = {"picture": saved.name, "map": piece["map"]}
    piece["randomisation"].extend({**told, **row} for row in _randomisation(stages))


def _maps(
    picture: str,
    explained: Explanation,
    image: Tensor,
    names: Sequence[str],
    left_out: list[dict[str, Any]],
) -> dict[tuple[int, str], Tensor]:
    """Usable maps by target and name, those of baselines or else the explanation's own.

    A constant map is told and left out.
    """
    size = (explained.height, explained.width)
    maps: dict[tuple[int, str], Tensor] = {}
    for index, target in enumerate(explained.targets):
        for name in names:
            if name in metrics.BASELINES:
                maps[index, name] = metrics.baseline(name, image, target)
                continue
            try:
                ordered_map(explained.saliency[index], size)
                maps[index, name] = explained.saliency[index]
            except UndefinedMetricError as reason:
                left_out.append(
                    {"picture": picture, "target": index + 1, "map": name, "reason": str(reason)}
                )
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


def _gathered(measured: Measured, out: AnyPath, pictures: Sequence[str]) -> Evaluation:
    """All that is measured, now and earlier."""
    rows = {name: measured.rows(name) for name in ROWS}
    collection: tuple[metrics.CollectionCurve, ...] = ()
    told: list[str] = []
    if measured.collection is not None:
        told += measured.collection["annotations"].get("notes", [])
        collection = tuple(map(_as_curve, measured.collection["curves"]))
        rows["left_out"] += measured.collection["left_out"]
    unfinished = _unfinished(measured)
    elsewhere = sorted(set(measured.pieces) - set(pictures))
    told += unfinished.values()
    if elsewhere:
        told.append(
            f"the tables also hold what was measured earlier of {len(elsewhere)} pictures that are "
            f"not among these results, such as {elsewhere[0]}"
        )
    finished = [
        row for row in rows["scores"] if (row["map"], _measure_of(row["map"])) not in unfinished
    ]
    return Evaluation(
        folder=out,
        summary=_summary(finished, rows["left_out"]),
        collection=collection,
        notes=tuple(told),
        unfinished=tuple(unfinished),
        **rows,
    )


def _measure_of(what: str) -> Measure:
    return "baselines" if what in metrics.BASELINES else "scores"


def _unfinished(measured: Measured) -> dict[tuple[str, str], str]:
    """Maps and measures that some of the explained pictures lack, with a sentence of each."""
    explained = [
        pieces
        for pieces in measured.pieces.values()
        if (MAP, "scores") in pieces
        and all("target" in one for one in pieces[MAP, "scores"]["left_out"])
    ]
    found: dict[tuple[str, str], str] = {}
    for what, measure in dict.fromkeys(name for pieces in explained for name in pieces):
        n = sum((what, measure) in pieces for pieces in explained)
        failed = [
            pieces
            for pieces in explained
            if (what, "scores") in pieces and not pieces[what, "scores"]["scores"]
        ]
        if n + (0 if measure == "scores" else len(failed)) >= len(explained):
            continue
        named = tuple(metrics.BASELINES) if measure == "baselines" else (what,)
        text = (
            f"{_called(what, measure)} measured on {n} of {len(explained)} pictures, so left out "
            "of the summary; the same options measure the rest"
        )
        found |= {(name, measure): text for name in named}
    return found


def _called(what: str, measure: str) -> str:
    if measure == "baselines":
        return "the baselines were"
    return f"{what} was" if measure == "scores" else f"the {measure} of {what} was"


def _as_curve(told: Mapping[str, Any]) -> metrics.CollectionCurve:
    """The curve that ``CollectionCurve.describe`` told."""
    fraction, ap, ap50 = (
        torch.tensor(told[name], dtype=torch.float64) for name in ("fraction", "ap", "ap50")
    )
    return metrics.CollectionCurve(
        direction=told["direction"],
        protocol=protocol_named(told["protocol"]["name"]),
        fraction=fraction,
        ap=ap,
        ap50=ap50,
        n_pictures=told["n_pictures"],
        n_boxes=told["n_boxes"],
        left_out=tuple((one["picture"], one["reason"]) for one in told["left_out"]),
    )


def _summary(
    scores: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every metric of every map over the same targets: those for which all maps have a value."""
    by_map: dict[str, dict[Hashable, Mapping[str, Any]]] = {}
    for row in scores:
        by_map.setdefault(row["map"], {})[_target(row)] = row
    everyone = {_target(one) for one in (*scores, *(o for o in left_out if "target" in o))}
    summary: dict[str, dict[str, dict[str, Any]]] = {what: {} for what in by_map}
    for name in METRICS:
        if not any(name in row for row in scores):
            continue
        values = {
            what: {target: row[name] for target, row in rows.items()}
            for what, rows in by_map.items()
        }
        for what, spread in _paired_spreads(values, everyone).items():
            summary[what][name] = spread
    return summary


_Key = TypeVar("_Key", bound=Hashable)


def _paired_spreads(
    values: Mapping[_Key, Mapping[Hashable, float | None]], everyone: set[Any]
) -> dict[_Key, dict[str, Any]]:
    """Spread of each over the same targets: those of which all have a value."""
    paired = [
        target
        for target in sorted(everyone)
        if all(of.get(target) is not None for of in values.values())
    ]
    nothing = [None] * (len(everyone) - len(paired))
    return {
        key: _spread([*(of[target] for target in paired), *nothing]) for key, of in values.items()
    }


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
    """Mean, median and, of two values and more, quartiles of those that are known."""
    known = np.array([value for value in values if value is not None])
    spread: dict[str, Any] = {"n": len(known), "undefined": len(values) - len(known)}
    if len(known):
        spread |= {"mean": float(known.mean()), "median": float(np.median(known))}
    if len(known) > 1:
        spread["low"], spread["high"] = np.quantile(known, (0.25, 0.75)).tolist()
    return spread


def _write(
    evaluation: Evaluation,
    measured: Measured,
    detector: Detector,
    folder: AnyPath,
    protocol: Protocol,
) -> None:
    out = evaluation.folder
    (out / "evaluation.json").unlink(missing_ok=True)
    files = []
    for name in ("scores", "curves", "stability", "randomisation", "costs"):
        rows = getattr(evaluation, name)
        file = out / f"{name}.parquet"
        file.unlink(missing_ok=True)
        if rows:
            bundle.write_atomically(file, partial(pq.write_table, pa.Table.from_pylist(rows)))
            files.append(file.name)
    figures = {}
    finished = [row for row in evaluation.curves if row["map"] in evaluation.summary]
    if curves := _paired(finished):
        figures["curves"] = plots.curves_figure(curves, MAP, protocol.name)
    if evaluation.collection:
        figures["collection"] = plots.collection_figure(*evaluation.collection)
    files += encode.save_all(figures, out)
    steady = {
        name: _steadiness(
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
    bundle.write_json(
        out / "evaluation.json",
        {
            "results": str(folder),
            "detector": detector.info.name,
            "protocol": protocol.describe(),
            "baselines": any(row["map"] in metrics.BASELINES for row in evaluation.scores),
            "version": __version__,
            "metrics": {name: metric.describe() for name, metric in METRICS.items()},
            "summary": evaluation.summary,
            **{name: of.get(MAP, {}) for name, of in steady.items()},
            "methods": _methods(evaluation, steady),
            "collection": [curve.describe() for curve in evaluation.collection],
            "annotations": kept and kept["annotations"],
            "left_out": evaluation.left_out,
            "notes": list(evaluation.notes),
            "files": files,
        },
    )


def _methods(
    evaluation: Evaluation, steady: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    """What each of the other methods is, cost, and how steady its maps are."""
    return {
        name: {
            **method_named(name).describe(),
            "passes": _spread([row["passes"] for row in costs]),
            "times_a_pass": _spread([row["seconds"] / row["pass_seconds"] for row in costs]),
            **{kind: of.get(name, {}) for kind, of in steady.items()},
        }
        for name in dict.fromkeys(row["method"] for row in evaluation.costs)
        for costs in [[row for row in evaluation.costs if row["method"] == name]]
    }


def _steadiness(
    rows: Sequence[Mapping[str, Any]], key: str
) -> dict[str, dict[str, dict[str, Any]]]:
    """By map and variant or stage: the correlations, all over the same targets."""
    cells: dict[tuple[str, str], dict[Hashable, Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["map"], str(row[key])), {})[_target(row)] = row
    everyone = {_target(row) for row in rows}
    steady: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in ("linear", "rank"):
        values = {
            cell: {target: row[kind] for target, row in of.items()} for cell, of in cells.items()
        }
        for (what, variant), spread in _paired_spreads(values, everyone).items():
            steady.setdefault(what, {}).setdefault(variant, {})[kind] = spread
    return steady
