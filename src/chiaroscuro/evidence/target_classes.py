"""Which class a target is explained as, of a detector with several classes.

A drawn box without a class matches proposals of any class, so its map mixes the reasons for a hand
with those for a face. It takes the class that the user names, or that of the found object it is
drawn over.
"""

from collections.abc import Callable, Sequence

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.records import Proposals, Target

SAME_OBJECT = 0.5  # IoU from which a drawn box is over a found object


def class_label(name: str, class_names: Sequence[str]) -> int:
    """The label of a class name; upper and lower case are one.

    Raises:
        UnknownNameError: if the detector has no such class.
    """
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
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Targets of one class each, as far as that is known.

    Args:
        targets: as they were given.
        class_names: of the detector, by label.
        found: what the detector finds in the whole picture; called only where it matters.
        target_class: drawn boxes are explained as this class, and found objects of other classes
            are left out.

    Returns:
        The targets, and a note for each that took the class of a found object.

    Raises:
        UnknownNameError: if the detector has no such class.
    """
    if target_class is not None:
        label = class_label(target_class, class_names)
        kept = [target for target in targets if target.label in (None, label)]
        return tuple(_labelled(target, label) for target in kept), ()
    if len(class_names) < 2 or all(target.label is not None for target in targets):
        return tuple(targets), ()
    everything, notes, classed = found(), [], []
    for number, target in enumerate(targets, start=1):
        over = _over(target, everything) if target.label is None else None
        if over is not None:
            label = int(everything.labels[over])
            target = _labelled(target, label)
            notes.append(
                f"target {number} is drawn over a found {class_names[label]} (score "
                f"{float(everything.scores[over]):z.2f}) and takes its class; another is chosen by "
                "target_class (--target-class NAME)"
            )
        classed.append(target)
    return tuple(classed), tuple(notes)


def _over(target: Target, found: Proposals) -> int | None:
    """The found object that a box is drawn over: the one it overlaps most."""
    if not len(found):
        return None
    overlap = boxes.iou(target.box[None], found.boxes)[0]
    best = int(overlap.argmax())
    return best if float(overlap[best]) >= SAME_OBJECT else None


def _labelled(target: Target, label: int) -> Target:
    if target.label == label:
        return target
    return Target(box=target.box, label=label, score=target.score, origin=target.origin)
