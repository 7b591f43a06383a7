"""What the reader of D-RISE maps should know, read from the evidence."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.notes import Note
from chiaroscuro.core.records import Target
from chiaroscuro.evidence import estimators
from chiaroscuro.evidence.explanation import MIN_MASKS, Explanation
from chiaroscuro.evidence.passes import MAX_PROPOSALS
from chiaroscuro.evidence.surrogate import energy_near
from chiaroscuro.evidence.targets import kept

if TYPE_CHECKING:
    from chiaroscuro.evidence.evidence import Evidence

WEAK_SCORE = 0.2  # a detector that reports nothing below it has a threshold of its own
_TRACES = 1e-3  # a mean weight that is next to nothing; faces barely seen have some .05


def on_weights(evidence: "Evidence", targets: Sequence[Target], weights: Tensor) -> Iterator[Note]:
    """Notes that follow from the mask weights ``targets n_masks``."""
    n = evidence.n_masks
    for number, w in enumerate(weights, start=1):
        mean = float(w.mean())
        if not bool(w.any()):
            yield Note("no evidence", number, n_passes=n)
        elif mean < _TRACES:
            yield Note("traces", number, mean_weight=mean)
        elif n > 1 and float(w.max() - w.min()) == 0:
            yield Note("same weights", number)
        elif n >= MIN_MASKS and (answers := estimators.n_answers(w)) < estimators.MIN_ANSWERS:
            needed = estimators.MIN_ANSWERS
            yield Note("few answers", number, n_answers=answers, n_passes=n, needed=needed)
    if not targets:
        return
    if n < MIN_MASKS:
        yield Note("few passes", n_passes=n, needed=MIN_MASKS)
    yield from _on_dropped(evidence, targets)
    yield from _on_threshold(evidence, weights)


def on_estimates(
    evidence: "Evidence",
    targets: Sequence[Target],
    estimates: Sequence[estimators.Estimate],
    wanted_fidelity: float | None,
) -> Iterator[Note]:
    """Notes on where maps have their energy, and on fidelities that were not reached."""
    for number, (target, one) in enumerate(zip(targets, estimates, strict=True), start=1):
        if one.outside:
            near = energy_near(one.saliency, one.standard_error, target)
            if near is None:
                yield Note("outside", number)
            else:
                yield Note("mostly outside", number, near=near)
        if wanted_fidelity is not None and not one.fidelity >= wanted_fidelity:
            keep, cells = evidence.design.keep_probability, min(evidence.design.grid)
            yield Note(
                "unreached",
                number,
                wanted=wanted_fidelity,
                n_passes=evidence.n_masks,
                keep_probability=min(0.9, round(keep + 0.2, 2)),
                grid_size=max(2, round(cells * 0.6)),
            )


def on_sizes(result: Explanation) -> Iterator[Note]:
    """Notes on targets that are smaller than a mask cell, and have no close-up."""
    cell = result.cell_px
    for i, target in enumerate(result.targets):
        if float(boxes.area(target.box).sqrt()) < cell and result.closeup(i) is None:
            yield Note("smaller than a cell", i + 1, cell=cell)


def _on_dropped(evidence: "Evidence", targets: Sequence[Target]) -> Iterator[Note]:
    n_capped = int(evidence.capped.sum())
    if not n_capped:
        return
    yield Note("capped", n_capped=n_capped, n_passes=evidence.n_masks, limit=MAX_PROPOSALS)
    for number, target in enumerate(targets, start=1):
        if kept(target) not in evidence.kept_for:
            yield Note("not kept for", number)


def _on_threshold(evidence: "Evidence", weights: Tensor) -> Iterator[Note]:
    n = min(evidence.n_masks, MIN_MASKS)
    scores = evidence.scores[: int(evidence.counts[:n].sum())]
    lowest = float(scores.min()) if len(scores) else 0.0
    if lowest > WEAK_SCORE and not bool((weights[:, :n] > 0).all()):  # something was lost
        yield Note("threshold", n_passes=n, lowest=lowest)
