"""What an observation writes down: proposals, mask after mask."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chiaroscuro.core.plan import MaskDesign
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.core.windows import Window
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.saved import COLUMNS
from chiaroscuro.evidence.targets import kept
from chiaroscuro.images.hashes import image_hash


class Recorder:
    """Proposals as they come in, of passes on the whole picture or on a window of it.

    Args:
        image: the whole picture.
        detector: that is observed.
        seed: of the masks.
        design: of the masks.
        targets: whose most similar proposals are kept.
        window: that the passes are made in; the whole picture when not given.
        area: that masks cover; the whole picture when not given.
    """

    def __init__(
        self,
        image: Tensor,
        detector: Detector,
        seed: int,
        design: MaskDesign,
        targets: Sequence[Target] = (),
        window: Window | None = None,
        area: Window | None = None,
    ) -> None:
        self.image, self.seed, self.design = image, seed, design
        self.window = window or Window.whole(image.shape[1:])
        self.area = area or Window.whole(image.shape[1:])
        self.targets = tuple(targets)
        self.used = 0  # masks that a fresh start would have observed by now
        self.image_sha256 = image_hash(image)
        self.kept_for = tuple(kept(target) for target in targets)
        self.detector, self.info = detector, detector.info
        self.counts: list[int] = []
        self._columns: dict[str, _Column] | None = None  # None until there is a proposal
        self._made: Evidence | None = None  # what has been explained of it is kept there

    @property
    def n_masks(self) -> int:
        """Masks observed so far."""
        return len(self.counts)

    def is_of(self, evidence: Evidence) -> bool:
        """Whether evidence is of the same masks, on the same part, for the same targets."""
        mine = (self.window, self.area, self.design, self.kept_for)
        return mine == (evidence.window, evidence.area, evidence.design, evidence.kept_for)

    def add(self, batch: list[Proposals]) -> None:
        """What was reported under the next masks."""
        self._made = None
        self.counts.extend(len(p) for p in batch)
        for proposals in batch:
            if len(proposals):
                self._append(proposals)

    def _append(self, proposals: Proposals) -> None:
        names = ["boxes", "scores", "labels"]
        if len(self.info.class_names) != 1:  # never a cosine of [s, 1 - s]
            names += [
                name
                for name in ("class_probabilities", "objectness")
                if getattr(proposals, name) is not None
            ]
        if self._columns is None:
            self._columns = {name: _Column(getattr(proposals, name)) for name in names}
        self._columns = {name: self._columns[name] for name in names if name in self._columns}
        for name, column in self._columns.items():
            column.extend(getattr(proposals, name))

    def resume(self, evidence: Evidence) -> None:
        """Continue earlier evidence of the same picture, detector, masks and window."""
        if bool(evidence.capped.any()):
            self.kept_for = tuple(kept for kept in self.kept_for if kept in evidence.kept_for)
        self.counts = evidence.counts.tolist()
        self._columns = self._made = None
        if len(evidence.boxes):
            self._append(evidence._all())

    def evidence(self) -> Evidence:
        """All that has come in."""
        if self._made is None:
            self._made = self._all()
        return self._made

    def _all(self) -> Evidence:
        whole = Proposals.empty()
        if self._columns is not None:
            rows: dict[str, Any] = {name: column.rows() for name, column in self._columns.items()}
            whole = Proposals(**rows)
        return Evidence(
            image=self.image,
            **{name: getattr(whole, name) for name in COLUMNS},
            counts=torch.tensor(self.counts, dtype=torch.int64),
            seed=self.seed,
            design=self.design,
            detector=self.info.name,
            before_nms=self.info.before_nms,
            kept_for=self.kept_for,
            image_sha256=self.image_sha256,
            window=self.window,
            area=self.area,
        )


class _Column:
    """Rows of one kind in a tensor that doubles when it is full.

    Thousands of small tensors, kept between the large ones of every batch, would leave holes in
    memory that no later batch fits into.
    """

    def __init__(self, like: Tensor) -> None:
        self._data = like.new_empty((1024, *like.shape[1:]))
        self._n = 0

    def extend(self, rows: Tensor) -> None:
        end = self._n + len(rows)
        if end > len(self._data):
            larger = self._data.new_empty((max(2 * len(self._data), end), *rows.shape[1:]))
            larger[: self._n] = self._data[: self._n]
            self._data = larger
        self._data[self._n : end] = rows
        self._n = end

    def rows(self) -> Tensor:
        """A copy of what has come in."""
        return self._data[: self._n].clone()
