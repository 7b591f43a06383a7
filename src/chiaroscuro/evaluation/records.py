"""What the files of an evaluation hold."""

from typing import Any, Literal

import attrs

from chiaroscuro.core.checks import (
    flag,
    many,
    mapping,
    one_of,
    path_text,
    text,
)
from chiaroscuro.core.declared import optional_part, part, parts, setting, tuple_of
from chiaroscuro.store.schema import SetCurve

Measure = Literal["scores", "baselines", "stability", "randomisation"]
Row = dict[str, Any]
"""A row of a table."""

MAP = "map"  # what the explanation's own map is called beside the baselines
TABLES = ("scores", "curves", "stability", "randomisation", "costs", "left_out")
_ROWS = many(mapping())  # taken over only if they have the stated hash, so not checked further


def _rows() -> Any:
    return setting(_ROWS, attrs.Factory(list))


@attrs.frozen(kw_only=True)
class Piece:
    """What is measured together: rows of one map of a picture, or of the baselines, by one measure.

    ``map`` is ``MAP`` or a method's name. ``made`` states the settings, so that figures of other
    settings are never mixed in.
    """

    map: str = setting(text)
    measure: Measure = setting(one_of("scores", "baselines", "stability", "randomisation"))
    made: dict[str, Any] = setting(mapping())
    scores: list[Row] = _rows()
    curves: list[Row] = _rows()
    stability: list[Row] = _rows()
    randomisation: list[Row] = _rows()
    costs: list[Row] = _rows()
    left_out: list[Row] = _rows()

    @property
    def has_figures(self) -> bool:
        """Whether anything was measured; a failure was not."""
        return bool(self.scores or self.stability or self.randomisation)


@attrs.frozen(kw_only=True)
class MeasuredPicture:
    """``pictures/NAME.json``: the pieces of one picture."""

    pieces: tuple[Piece, ...] = parts(Piece)
    rows_sha256: str = setting(text, "")


@attrs.frozen(kw_only=True)
class AnnotationSource:
    """The annotations that the curves of a whole set rest on."""

    source: str = setting(path_text)
    class_map: dict[str, str] = setting(mapping(text), attrs.Factory(dict))
    notes: tuple[str, ...] = setting(tuple_of(text), ())


@attrs.frozen(kw_only=True)
class MeasuredSet:
    """``collection.json``: the curves of the whole set."""

    made: dict[str, Any] = setting(mapping())
    curves: tuple[SetCurve, ...] = parts(SetCurve)
    left_out: list[Row] = _rows()
    annotations: AnnotationSource = part(AnnotationSource, required=True)
    rows_sha256: str = setting(text, "")


@attrs.frozen(kw_only=True)
class EvaluationRecord:
    """``evaluation.json``: everything but the tables.

    Attributes:
        results: what was evaluated.
        metrics: what each figure is, by name.
        summary: spreads by map and metric.
        stability: spreads by changed choice, of the map itself.
        randomisation: spreads by stage, likewise.
        methods: what each other method is, took, and how stable its maps are.
        collection: curves of the whole set, which rest on ``annotations``.
        left_out: what has no figures, with the reason.
        files: names of the tables and figures.
    """

    results: str = setting(path_text, "")
    detector: str = setting(text, "")
    protocol: dict[str, Any] = setting(mapping(), attrs.Factory(dict))
    baselines: bool = setting(flag, False)
    version: str = setting(text, "")
    metrics: dict[str, Any] = setting(mapping(), attrs.Factory(dict))
    summary: dict[str, Any] = setting(mapping(), attrs.Factory(dict))
    stability: dict[str, Any] = setting(mapping(), attrs.Factory(dict))
    randomisation: dict[str, Any] = setting(mapping(), attrs.Factory(dict))
    methods: dict[str, Any] = setting(mapping(), attrs.Factory(dict))
    collection: tuple[SetCurve, ...] = parts(SetCurve)
    annotations: AnnotationSource | None = optional_part(AnnotationSource)
    left_out: list[Row] = _rows()
    notes: tuple[str, ...] = setting(tuple_of(text), ())
    files: tuple[str, ...] = setting(tuple_of(text), ())
