"""Notes: what the reader of a map should know, as data, and as a sentence made in one place."""

from collections.abc import Iterable, Mapping
from typing import Any

from chiaroscuro.core.checks import mapping, maybe, path_text, shown, text, whole
from chiaroscuro.core.errors import InputError

SENTENCES = {
    # evidence of random masks
    "no evidence": "under none of the {n_passes} masks did the detector report anything that "
    "overlaps the box; the map is zero because there is no evidence, not because nothing matters. "
    "Hide less (keep_probability 0.8) or draw the box where the detector reports something",
    "traces": "the detector hardly reports anything like it (mean weight {mean_weight:z.1g}), so "
    "the map is of traces; its colours are scaled to them",
    "same weights": "every mask has the same weight, so no pixel can be told from another; hide "
    "more (keep_probability 0.3) or use smaller cells",
    "few answers": "too few answers to judge the map: it rests on about {n_answers:z.0f} of the "
    "{n_passes} masks, and {needed} are needed. Hide less (keep_probability 0.8), or run more "
    "passes",
    "smaller than a cell": "it is smaller than a mask cell ({cell:z.0f} pixels), so the map shows "
    "the cell, not the face; a close-up shows the face (closeup=True, --closeup)",
    "few passes": "{n_passes} passes are too few to judge a map by; its fidelity is stated from "
    "{needed} passes on",
    "capped": "under {n_capped} of the {n_passes} masks the detector reported {limit} proposals or "
    "more; the {limit} of highest score were kept, and those most similar to the targets of that "
    "run",
    "not kept for": "it was no target of that run, so proposals of it may have been dropped and "
    "its map may be too weak; observe again with it among the targets (observe(..., targets=...), "
    "or explain --overwrite --target)",
    "threshold": "the lowest score that the detector reported under the first {n_passes} masks is "
    "{lowest:z.2f}: it seems to have a threshold, and what falls below it is lost as evidence; "
    "lower the detector's threshold to 0.02 or so, in the function itself or by its option "
    "(-O min_score=0.02)",
    "unreached": "it did not reach fidelity {wanted:g} with {n_passes} passes; hide less "
    "(keep_probability {keep_probability:g}) or use larger cells (grid_size {grid_size})",
    "outside": "the evidence lies outside the neighbourhood of the box; the fidelity is that of "
    "the whole picture",
    "mostly outside": "the evidence lies outside the neighbourhood of the box, which has "
    "{near:z.0%} of the map's energy; the fidelity is that of the whole picture",
    "nothing sure": "nothing in this map is larger than its own error yet",
    # targets
    "class taken": "it is drawn over a found {class_name} (score {score:z.2f}) and takes its "
    "class; choose another with target_class (--target-class NAME)",
    "nothing found": "nothing was found with a score of {min_score:g} or more; lower the score "
    "(--min-score 0.1), or draw a box where a face should be (--target x1,y1,x2,y2)",
    "nothing found of class": "nothing of class {class_name} was found with a score of "
    "{min_score:g} or more; lower the score (--min-score 0.1), or draw a box where one should be "
    "(--target x1,y1,x2,y2)",
    # methods
    "one map per class": "rise scores the class anywhere in the picture, so targets of one class "
    "have the same map; drise scores the target itself",
    "one map per scale": "cam is a map of the class at one scale, not of one target: targets of "
    "one size have one map",
    "no window": "no window makes a difference, so the map is zero: nothing matters alone; what "
    "is there twice, and stands in for what is hidden, looks the same",
    "nothing to lose": "the detector reports nothing that overlaps the box, so there is nothing to "
    "lose; the map is zero or shows what suppresses it",
    "one colour": "the picture has one colour, so its {n_regions} regions are a grid, not "
    "superpixels",
    "no edges": "the picture has no edges to follow, so its {n_regions} regions are a grid, not "
    "superpixels",
    "no region": "no superpixel makes a difference that the model could tell from none, so the "
    "map is zero",
    "nothing reported": "in none of {n_passes} pictures did the detector report anything that "
    "overlaps the box; the map is zero because there is no evidence, not because nothing matters",
    "no better order": "no order that was found does better than {order}; the map is that order, "
    "and only the order of its values means something",
    "no gradient": "no proposal overlaps the box, so nothing has a gradient; the map is zero "
    "because there is no evidence, not because nothing matters; draw the box where the detector "
    "reports something",
    "saturated": "the map is zero although its weight is {weight:z.3g}: this method has nothing "
    "positive to show, or the score is saturated, so that small changes of a pixel do not change "
    "it; use a method that hides parts",
    "incomplete sum": "the map sums to {sum:z.3g}, the weight rises by {rise:z.3g}; the gradient "
    "jumps on the way, and more steps (n_passes) bring the two together",
    "lost on the way": "{lost:z.0%} of the probability is lost on the way, in neurons without any "
    "positive input",
    "highest outside": "the map is highest outside the box, in the window around it that the score "
    "reads; the method weighs whole channels, and what speaks for a face there may be another face",
    "no query": "the detector reports nothing of its class that overlaps the box, so there is no "
    "query to look behind; the map is zero because there is no evidence, not because nothing "
    "matters. Draw the box where the detector reports something",
}


class Note(str):
    """A note: it is its sentence, and knows what the sentence is made of.

    Attributes:
        kind: a key of ``SENTENCES``.
        target: the number of the target that it is about, counted from 1; None for all.
        values: the figures in it, as plain JSON values.
    """

    __slots__ = ("kind", "target", "values")
    kind: str
    target: int | None
    values: dict[str, Any]

    def __new__(cls, kind: str, target: int | None = None, **values: Any) -> "Note":
        """A note of a kind; ``values`` fill its sentence."""
        return cls._of(kind, target, values, SENTENCES[kind].format(**values))

    @classmethod
    def _of(cls, kind: str, target: int | None, values: Mapping[str, Any], sentence: str) -> "Note":
        whole_text = sentence if target is None else f"target {target}: {sentence}"
        note = super().__new__(cls, whole_text)
        note.kind, note.target, note.values = kind, target, dict(values)
        return note

    @property
    def sentence(self) -> str:
        """The sentence without the target's number."""
        return self if self.target is None else self.removeprefix(f"target {self.target}: ")

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies and other processes: made again from its parts."""
        return Note._of, (self.kind, self.target, self.values, self.sentence)

    def of(self, target: int | None) -> "Note":
        """The same note about another target."""
        return Note._of(self.kind, target, self.values, self.sentence)

    def plain(self) -> dict[str, Any]:
        """As JSON values, the sentence for readers among them."""
        return {
            "kind": self.kind,
            "target": self.target,
            "values": self.values,
            "text": self.sentence,
        }


def note_check(name: str, value: Any) -> Note:
    """A note, or its JSON values: the inverse of :meth:`Note.plain`."""
    if isinstance(value, Note):
        return value
    if not isinstance(value, Mapping):
        raise InputError(f"{name}: wanted a note, got {shown(value)}")
    return Note._of(
        text(f"{name}.kind", value.get("kind")),
        maybe(whole(1))(f"{name}.target", value.get("target")),
        mapping()(f"{name}.values", value.get("values")),
        path_text(f"{name}.text", value.get("text")),
    )


def of_target(notes: Iterable[Note], target: int | None) -> list[Note]:
    """The notes about one target, counted from 1; about all of them for None."""
    return [note for note in notes if note.target == target]
