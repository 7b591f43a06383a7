"""What is explained: the boxes that are given or found, each with its class.

A user-drawn box without a class matches proposals of any class, so its map mixes the reasons for a
hand with those for a face. It takes the class that the user names, or that of the found object it
is drawn over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.limits import MIN_SCORE
from chiaroscuro.core.notes import Note
from chiaroscuro.core.plan import Selection
from chiaroscuro.core.records import Proposals, Target, TargetsLike, as_targets
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.evidence.passes import detect_whole
from chiaroscuro.store.schema import Kept

SAME_OBJECT = 0.5  # IoU at which a drawn box lies over a found object


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """The targets to explain, inside the picture, and what the reader should know of the choice."""

    targets: tuple[Target, ...]
    notes: tuple[Note, ...]


def find(image: Tensor, detector: Detector, min_score: float = MIN_SCORE) -> Proposals:
    """What the detector reports in the whole picture with at least that score, best first."""
    return detect_whole(detector, image).above(min_score)


def choose(
    image: Tensor,
    detector: Detector,
    targets: TargetsLike | None = None,
    selection: Selection | None = None,
    found: Proposals | None = None,
) -> Chosen:
    """The targets to explain: those given, or else all that is found.

    ``found`` is what the detector finds in the whole picture, where that is known already.

    Raises:
        TargetError: on a given box that is no box, or lies outside the picture.
        UnknownNameError: if the detector has no class of the selection's name.
    """
    selection = selection or Selection()

    def seen() -> Proposals:
        return find(image, detector, selection.min_score) if found is None else found

    wanted = as_targets(seen() if targets is None else targets)
    wanted = tuple(target.inside(*image.shape[1:]) for target in wanted)
    names = detector.info.class_names
    wanted, notes = with_classes(wanted, names, seen, selection.target_class)
    if not wanted and targets is None:
        score, name = selection.min_score, selection.target_class
        notes = (Note("nothing found", min_score=score),)
        if name is not None:
            notes = (Note("nothing found of class", class_name=name, min_score=score),)
    return Chosen(targets=wanted, notes=notes)


def of_class(found: Proposals, detector: Detector, selection: Selection) -> Proposals:
    """The found objects of the selection's class; all where it names none."""
    if selection.target_class is None:
        return found
    label = class_label(selection.target_class, detector.info.class_names)
    return found[found.labels == label]


def class_label(name: str, class_names: Sequence[str]) -> int:
    """The label of a class name, in any case; an UnknownNameError if there is none."""
    for alike in (name, name.strip()):
        if alike in class_names:
            return list(class_names).index(alike)
    folded = [known.strip().casefold() for known in class_names]
    if folded.count(name.strip().casefold()) == 1:
        return folded.index(name.strip().casefold())
    raise UnknownNameError("class", name, list(class_names))


def with_classes(
    targets: Sequence[Target],
    class_names: Sequence[str],
    found: Callable[[], Proposals],
    target_class: str | None = None,
) -> tuple[tuple[Target, ...], tuple[Note, ...]]:
    """Targets of one class each, as far as that is known.

    Drawn boxes are explained as the ``target_class``, and found objects of other classes are left
    out. Without one, a drawn box takes the class of the object ``found`` under it, with a note.
    ``found`` is called only where it matters.
    """
    if target_class is not None:
        label = class_label(target_class, class_names)
        kept = [target for target in targets if target.label in (None, label)]
        return tuple(target.labelled(label) for target in kept), ()
    if len(class_names) < 2 or all(target.label is not None for target in targets):
        return tuple(targets), ()
    everything, notes, classed = found(), [], []
    for number, target in enumerate(targets, start=1):
        over = _over(target, everything) if target.label is None else None
        if over is not None:
            label = int(everything.labels[over])
            target = target.labelled(label)
            score = float(everything.scores[over])
            notes.append(Note("class taken", number, class_name=class_names[label], score=score))
        classed.append(target)
    return tuple(classed), tuple(notes)


def _over(target: Target, found: Proposals) -> int | None:
    """The found object that a box is drawn over: the one it overlaps most."""
    if not len(found):
        return None
    overlap = boxes.iou(target.box[None], found.boxes)[0]
    best = int(overlap.argmax())
    return best if float(overlap[best]) >= SAME_OBJECT else None


def kept(target: Target) -> Kept:
    """A target as evidence remembers it."""
    x1, y1, x2, y2 = target.box.tolist()
    return (x1, y1, x2, y2), target.label
