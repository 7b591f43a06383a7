"""What is measured of one picture's maps: curves, localisation, stability, randomisation."""

import math
from collections.abc import Iterator, Mapping, Sequence

import attrs
from torch import Tensor

from chiaroscuro import metrics
from chiaroscuro.core.errors import InputError, UndefinedMetricError
from chiaroscuro.core.plan import EvaluationSettings, Plan
from chiaroscuro.core.records import Target
from chiaroscuro.detectors import Detector
from chiaroscuro.evaluation import remaking
from chiaroscuro.evaluation.measured import Measured
from chiaroscuro.evaluation.records import MAP, Measure, Piece, Row
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import observe
from chiaroscuro.methods import method_named
from chiaroscuro.metrics.catalogue import METRICS
from chiaroscuro.metrics.maps import ordered_map
from chiaroscuro.results.folder import ResultFolder
from chiaroscuro.store.bundle import AnyPath


@attrs.frozen(kw_only=True, eq=False)
class Measuring:
    """One picture and one map that are measured; see ``measure_picture``."""

    saved: ResultFolder
    name: str
    explained: Explanation
    evidence: Evidence
    detector: Detector
    settings: EvaluationSettings

    def scores(self, piece: Piece, names: Sequence[str]) -> None:
        """Fill in the figures of the maps of these names: baselines, or the map itself."""
        maps = self._maps(names, piece.left_out)
        areas = self._curves(maps, piece.curves)
        for (index, what), saliency in maps.items():
            target = self.explained.targets[index]
            fidelity = float(self.explained.fidelity[index])
            piece.scores.append(
                {
                    "picture": self.saved.name,
                    "target": index + 1,
                    "what": self.saved.caption(index),
                    "score": target.score,
                    "fidelity": None if math.isnan(fidelity) else fidelity,
                    "map": what,
                    **areas[index, what],
                    **_of_map(saliency, target),
                }
            )

    def stability(self, piece: Piece) -> None:
        """Fill in how similar the maps are to those of other seeds, fills and grids."""
        evidence, explained = self.evidence, self.explained
        if self.name == MAP and method_named(explained.settings.method).stops_itself:
            plan = self._plan()
            compared = metrics.stability(
                explained,
                evidence.design,
                evidence.seed,
                lambda design, seed: observe(
                    evidence.image,
                    self.detector,
                    plan=attrs.evolve(plan, design=design, seed=seed),
                ).explain(explained.targets, estimator=plan.estimator),
            )
        else:
            compared = metrics.repeatability(
                evidence.image, explained, evidence.seed, self._again()
            )
        piece.stability.extend(
            {**self._which(index), "variant": variant, **_correlations(agreement)}
            for variant, agreements in compared.items()
            for index, agreement in enumerate(agreements)
        )

    def randomisation(self, piece: Piece) -> None:
        """Fill in how similar the maps are to those of the detector with shuffled weights."""
        image, seed, make = self.evidence.image, self.evidence.seed, self._again()
        stages = metrics.randomisation(
            self.detector,
            self.explained,
            lambda changed: make(image, seed, changed),
            seed=seed,
        )
        piece.randomisation.extend(
            {
                **self._which(index),
                "stage": number,
                "share": stage.share,
                "layer": stage.layer,
                "mean_weight": stage.mean_weight[index],
                **_correlations(agreement),
            }
            for number, stage in enumerate(stages, start=1)
            for index, agreement in enumerate(stage.agreement)
        )

    def _plan(self) -> Plan:
        return remaking.plan_of(self.explained, self.evidence, self.settings.batch_size)

    def _again(self) -> remaking.Make:
        return remaking.again(self.explained, self.evidence, self.detector, self._plan())

    def _which(self, index: int) -> Row:
        return {"picture": self.saved.name, "map": self.name, "target": index + 1}

    def _maps(self, names: Sequence[str], left_out: list[Row]) -> dict[tuple[int, str], Tensor]:
        """Usable maps by target and name; a constant map is reported and left out."""
        explained = self.explained
        size = (explained.height, explained.width)
        maps: dict[tuple[int, str], Tensor] = {}
        for index, target in enumerate(explained.targets):
            for name in names:
                if name in metrics.BASELINES:
                    maps[index, name] = metrics.baseline(name, self.evidence.image, target)
                    continue
                try:
                    ordered_map(explained.saliency[index], size)
                    maps[index, name] = explained.saliency[index]
                except UndefinedMetricError as reason:
                    where = {"picture": self.saved.name, "target": index + 1, "map": name}
                    left_out.append({**where, "reason": str(reason)})
        return maps

    def _curves(
        self, maps: Mapping[tuple[int, str], Tensor], rows: list[Row]
    ) -> dict[tuple[int, str], dict[str, float]]:
        """Areas by target and name; the curves themselves go to ``rows``."""
        targets = [self.explained.targets[index] for index, _ in maps]
        ups, downs = (
            metrics.curves(
                self.evidence.image,
                self.detector,
                targets,
                list(maps.values()),
                direction,
                self.settings.protocol,
                batch_size=self.settings.batch_size,
            )
            for direction in metrics.DIRECTIONS
        )
        areas = {}
        for (index, what), up, down in zip(maps, ups, downs, strict=True):
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
            where = {"picture": self.saved.name, "target": index + 1, "map": what}
            rows += ({**where, **_curve_row(curve)} for curve in (up, down))
        return areas


def measure_picture(
    path: AnyPath,
    name: str,
    detector: Detector,
    settings: EvaluationSettings,
    out: AnyPath,
    measured: Measured,
    made: Mapping[str, object],
) -> None:
    """Measure what is wanted of one picture and map and is not in ``measured``, and add it.

    ``name`` is ``MAP`` for the map in the results, with the baselines beside, or a method's, whose
    maps are kept in ``out``; ``made`` states with which settings the pieces are made.
    """
    missing = [m for m in _wanted(settings, name) if not measured.has(path.name, name, m)]
    if not missing:
        return
    try:
        measuring, costs = _opened(path, name, detector, settings, out)
    except InputError as reason:
        failed = Piece(map=name, measure="scores", made=dict(made))
        where = {"picture": path.name} | ({} if name == MAP else {"map": name})
        failed.left_out.append({**where, "reason": str(reason)})
        measured.add(path.name, failed)
        return
    for measure in missing:
        piece = Piece(map=name, measure=measure, made=dict(made))
        if measure == "scores":
            piece.costs.extend(costs)
            measuring.scores(piece, (name,))
        elif measure == "baselines":
            measuring.scores(piece, tuple(metrics.BASELINES))
        elif measure == "stability":
            measuring.stability(piece)
        else:
            measuring.randomisation(piece)
        measured.add(path.name, piece)


def _wanted(settings: EvaluationSettings, name: str) -> Iterator[Measure]:
    yield "scores"
    if settings.baselines and name == MAP:
        yield "baselines"
    if settings.stability:
        yield "stability"
    if settings.randomisation:
        yield "randomisation"


def _opened(
    path: AnyPath, name: str, detector: Detector, settings: EvaluationSettings, out: AnyPath
) -> tuple[Measuring, list[Row]]:
    """A picture's maps, made first where they are those of another method, and what they took."""
    saved = ResultFolder(path)
    if not saved.manifest.targets:
        raise InputError("nothing was explained in it")
    evidence, explained, costs = saved.evidence(), saved.explanation, []
    if name != MAP:
        kept = out / "methods" / name / path.name
        explained, cost = remaking.by_method(
            name, saved, evidence, detector, settings.n_passes, settings.batch_size, kept
        )
        costs.append({"picture": path.name, **attrs.asdict(cost)})
    measuring = Measuring(
        saved=saved,
        name=name,
        explained=explained,
        evidence=evidence,
        detector=detector,
        settings=settings,
    )
    return measuring, costs


def _curve_row(curve: metrics.Curve) -> Row:
    values = ("fraction", "similarity", "iou", "score")
    return {
        "direction": curve.direction,
        "protocol": curve.protocol.name,
        **{name: getattr(curve, name).tolist() for name in values},
    }


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


def _correlations(agreement: metrics.Agreement | None) -> dict[str, float | None]:
    return {name: getattr(agreement, name, None) for name in ("linear", "rank")}
