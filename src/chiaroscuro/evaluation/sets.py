"""The curves of a whole set: average precision while all pictures are changed."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chiaroscuro import metrics
from chiaroscuro.core.declared import read
from chiaroscuro.core.errors import InputError, UndefinedMetricError
from chiaroscuro.core.progress import Steps
from chiaroscuro.core.records import Truth
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.frame import Frame
from chiaroscuro.data.placing import place_all
from chiaroscuro.data.reading import storable
from chiaroscuro.detectors import Detector
from chiaroscuro.evaluation.records import AnnotationSource, MeasuredSet, Row
from chiaroscuro.metrics.collection import protocol_of_sets
from chiaroscuro.metrics.protocols import Protocol
from chiaroscuro.results.folder import ResultFolder, SourceFile
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import SetCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedSet:
    """Annotations by result, in its pixels and the detector's labels, or why there are none."""

    by_path: Mapping[AnyPath, Truth | str]
    source: AnnotationSource

    def digest(self) -> str:
        """SHA-256 of the annotations of all pictures, as hexadecimal digits."""
        values = {
            path.name: truth
            if isinstance(truth, str)
            else [v.tolist() for v in (truth.boxes, truth.labels, truth.ignore, truth.crowd)]
            for path, truth in self.by_path.items()
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def annotated_set(
    paths: Sequence[AnyPath],
    annotations: Annotations,
    detector: Detector,
    protocol: Protocol,
    frame: Frame | None,
) -> AnnotatedSet:
    """Match annotations to results by file name.

    Raises:
        InputError: if no picture with a map has annotations, or the protocol is not for sets.
        UndefinedMetricError: if no annotated box is to be scored.
    """
    protocol_of_sets(protocol)
    names = detector.info.class_names
    labels = annotations.labels_for(names)
    if all(box.ignore for picture in annotations.pictures for box in picture.boxes):
        raise UndefinedMetricError(
            f"{annotations.source}: no picture has an annotated box that is to be scored"
        )
    by_name = annotations.named()
    by_path: dict[AnyPath, Truth | str] = {}
    matched: list[tuple[AnyPath, SourceFile]] = []
    for path in paths:
        try:
            file = ResultFolder(path).source_file()
        except InputError as reason:
            by_path[path] = str(reason)
            continue
        if file.name in by_name:
            matched.append((path, file))
        else:
            by_path[path] = f"{annotations.source} has no picture {file.name}"
    placed, decisions = place_all([(by_name[file.name], file.size) for _, file in matched], frame)
    for (path, file), one in zip(matched, placed, strict=True):
        by_path[path] = one.refused or one.truth.relabelled(labels).scaled(file.scale)
    if all(isinstance(truth, str) for truth in by_path.values()):
        reasons = "; ".join(f"{path.name}: {why}" for path, why in list(by_path.items())[:3])
        raise InputError(f"{annotations.source}: no picture with a map has annotations ({reasons})")
    notes = [
        *annotations.notes,
        *decisions,
        *(note for one in placed for note in one.notes),
        *annotations.notes_on(labels, names),
    ]
    source = AnnotationSource(
        source=annotations.source,
        class_map=dict(annotations.class_map),
        notes=tuple(map(storable, notes)),
    )
    return AnnotatedSet(by_path=by_path, source=source)


def measure_set(
    paths: Sequence[AnyPath],
    annotated: AnnotatedSet,
    detector: Detector,
    protocol: Protocol,
    batch_size: int | None,
    made: Mapping[str, object],
    steps: Steps,
) -> MeasuredSet:
    """The curves of the whole set, and the pictures that take no part in either of them."""
    left_out: list[Row] = []

    def mapped() -> Iterator[metrics.MappedPicture]:
        for path in paths:
            steps.at(f"{path.name}, whole set")
            picture = _mapped(path, annotated.by_path[path])
            if isinstance(picture, str):
                left_out.append({"picture": path.name, "reason": picture})
            else:
                yield picture
            steps.advance()

    curves = metrics.collection_curves(mapped(), detector, protocol, batch_size=batch_size)
    left_out += [{"picture": name, "reason": reason} for name, reason in curves[0].left_out]
    return MeasuredSet(
        made=dict(made),
        curves=tuple(read(SetCurve, curve.describe()) for curve in curves),
        left_out=left_out,
        annotations=annotated.source,
    )


def _mapped(path: AnyPath, truth: Truth | str) -> metrics.MappedPicture | str:
    """A picture of the set with its maps and annotations, or why it has none."""
    if isinstance(truth, str):
        return truth
    try:
        saved = ResultFolder(path)
        if not saved.manifest.targets:
            return "nothing was explained in it"
        return metrics.MappedPicture(
            name=saved.name,
            image=saved.image(),
            targets=saved.explanation.targets,
            saliency=saved.explanation.saliency,
            truth=truth,
        )
    except InputError as reason:
        return str(reason)
