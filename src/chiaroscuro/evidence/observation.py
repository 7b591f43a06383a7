"""An observation under way: which passes are made, in what order, and when they are enough."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from chiaroscuro.core.errors import DetectorError
from chiaroscuro.core.masks import Masks
from chiaroscuro.core.plan import AUTO, MAX_AUTO_PASSES, MaskDesign, Plan
from chiaroscuro.core.progress import Progress, Report
from chiaroscuro.core.records import Target
from chiaroscuro.core.windows import MARGINS, MOST_OF_PICTURE, Group, Window, grouped
from chiaroscuro.detectors import Detector
from chiaroscuro.detectors.protocol import as_unit_floats, parts_detector, unsuppressed
from chiaroscuro.evidence.certificate import FEW_LOOKS, LOOKS, RARE_FROM, fails, holds
from chiaroscuro.evidence.closeups import make_closeups
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import MIN_MASKS
from chiaroscuro.evidence.passes import View, observe_masks
from chiaroscuro.evidence.recording import Recorder

_EXPECTED_MASKS = 150  # by automatic stopping, before anything is known


class Observation:
    """An observation under way: passes on the whole picture, in windows, and of close-ups."""

    def __init__(
        self,
        image: Tensor,
        detector: Detector,
        plan: Plan,
        targets: tuple[Target, ...],
        report: Report | None,
        earlier: Evidence | None,
    ) -> None:
        self.image, self.plan, self.targets, self.report = image, plan, targets, report
        self.size = height, width = image.shape[1], image.shape[2]
        self.pixels = as_unit_floats(image[None])[0]
        self.detector = unsuppressed(detector)
        self.parts = parts_detector(self.detector, height, width)
        self.whole = Recorder(image, self.detector, plan.seed, plan.design, targets)
        self.windows: list[Recorder] = []
        self.closeups: list[Recorder] = []
        self.earlier: list[Evidence] = []
        if earlier is not None:
            earlier.check_of(self.whole.evidence())
            self.whole.resume(earlier)
            self.earlier = [*earlier.windows, *earlier.closeups]
        self.views: dict[Recorder, View] = {}
        self.later = 0.0  # cost of what is still to come, as far as that is known
        self.began, self.done_before = time.perf_counter(), self.cost
        self.fidelity: tuple[float, ...] = ()

    @property
    def n_passes(self) -> int:
        """Runs of the detector, of an earlier observation too."""
        return sum(one.n_masks for one in self._recorders)

    @property
    def cost(self) -> float:
        """Of them all, in passes on the whole picture."""
        return sum(one.n_masks * self.share(one.window) for one in self._recorders)

    @property
    def _recorders(self) -> tuple[Recorder, ...]:
        return (self.whole, *self.windows, *self.closeups)

    def so_far(self) -> Evidence | None:
        """All that was observed; None before the first mask."""
        if not self.n_passes and not self.earlier:
            return None
        windows = [one.evidence() for one in self.windows if one.n_masks]
        closeups = [one.evidence() for one in self.closeups if one.n_masks]
        for one in self.earlier:
            (windows if one.design == self.whole.design else closeups).append(one)
        return replace(self.whole.evidence(), windows=tuple(windows), closeups=tuple(closeups))

    def run(self) -> Evidence:
        """Pass after pass, until there are as many as planned, or the maps are as sure as wanted.

        Evidence that was there before and is not needed is left out, as of a fresh start.
        """
        everything = tuple(range(len(self.targets)))
        groups = self._certified_windows() if self._windows_make_sense() else []
        of_whole = set(everything) - {i for _, numbers in groups for i in numbers}
        if of_whole or not everything:
            self.finish(self.whole, sorted(of_whole))
        lost: list[int] = []
        for recorder, numbers in groups:
            self.finish(recorder, list(numbers))
            good = self._certified(recorder, numbers, LOOKS[-1])  # by what all its passes tell
            self.finish(recorder, list(good))
            lost += [i for i in numbers if i not in good]
        while lost:
            self.finish(self.whole, lost)
            seen = self.seen()  # further passes on the whole may outnumber those of a window
            whole = [i for i in everything if seen.part_for(self.targets[i])[1] is None]
            lost = [] if set(whole) <= set(lost) else whole
        if self.plan.closeup and self.targets:
            make_closeups(self)
        return self.seen()

    def _windows_make_sense(self) -> bool:
        resumed = self.whole.n_masks > LOOKS[-1]
        wanted = self.plan.windows and self.plan.estimator == "surrogate"
        return wanted and self.may_be_seen_in_parts and not resumed

    @property
    def may_be_seen_in_parts(self) -> bool:
        """Whether the detector may see a window as it sees it in the whole picture."""
        return self.parts.info.any_size is not False

    def _certified_windows(self) -> list[tuple[Recorder, tuple[int, ...]]]:
        """Windows, each with the targets that it may be used for.

        Those left over need full passes, which then serve all.
        """
        certified: list[tuple[Recorder, tuple[int, ...]]] = []
        left = tuple(range(len(self.targets)))
        for margin, most in zip(MARGINS, (FEW_LOOKS, LOOKS[-1]), strict=True):
            groups = grouped(self.targets, left, self.size, self.parts.info.stride, margin)
            windows = [one.window for one in groups] + [one.window for one, _ in certified]
            covered = sum(len(group.targets) for group in groups) == len(left)
            if not left or not covered or not self._are_cheaper(windows):
                break
            for group in groups:
                recorder = self._window(group)
                if good := self._certified(recorder, group.targets, most):
                    certified.append((recorder, good))
                    left = tuple(i for i in left if i not in good)
        return certified

    def _are_cheaper(self, windows: Sequence[Window]) -> bool:
        """Whether passes in these windows, and the certificates', cost less than full ones."""
        n = _EXPECTED_MASKS if self.plan.n_passes == AUTO else self.plan.n_passes
        cost = n * sum(map(self.share, windows)) + LOOKS[1]
        return cost < MOST_OF_PICTURE * n

    def window_for(self, number: int, area: Window) -> Window | None:
        """The cheapest certified window that holds an area round one target, if there is one."""
        target, seen = self.targets[number], self.seen()
        known = [
            one.window
            for one in self.windows
            if one.window.contains(area) and holds(seen.certificate(target, one.window))
        ]
        best = min(known, key=self.share, default=None)
        most_share = MOST_OF_PICTURE * (1.0 if best is None else self.share(best))
        for margin, most in zip(MARGINS, (FEW_LOOKS, LOOKS[-1]), strict=True):
            for group in grouped(self.targets, [number], self.size, self.parts.info.stride, margin):
                worth = group.window.contains(area) and self.share(group.window) < most_share
                if worth and self._certified(self._window(group), (number,), most):
                    return group.window
        return best

    def _window(self, group: Group) -> Recorder:
        """The passes in a window, with those that were made before."""
        known = [one for one in self.windows if one.window == group.window]
        if known:
            return known[0]
        recorder = Recorder(
            self.image,
            self.parts,
            self.plan.seed,
            self.plan.design,
            [self.targets[i] for i in group.targets],
            group.window,
        )
        self.windows.append(recorder)
        return self._resumed(recorder)

    def close_up(
        self, number: int, area: Window, window: Window | None, design: MaskDesign
    ) -> Recorder:
        """The passes for a close-up of a target, with those that were made before."""
        recorder = Recorder(
            self.image,
            self.detector if window is None else self.parts,
            self.plan.seed,
            design,
            [self.targets[number]],
            window,
            area,
        )
        self.closeups.append(recorder)
        return self._resumed(recorder)

    def _resumed(self, recorder: Recorder) -> Recorder:
        """Continue what was observed of the same before."""
        for earlier in self.earlier:
            if recorder.is_of(earlier):
                recorder.resume(earlier)
                self.done_before += earlier.n_masks * self.share(recorder.window)
        mine = (recorder.area, recorder.window, recorder.design)
        self.earlier = [one for one in self.earlier if (one.area, one.window, one.design) != mine]
        return recorder

    def _certified(
        self, recorder: Recorder, numbers: tuple[int, ...], most: int
    ) -> tuple[int, ...]:
        """The targets of a window that it may be used for, by up to so many full passes."""
        good: tuple[int, ...] = ()
        for look in (look for look in LOOKS if look <= min(most, self._most_masks)):
            self.advance(self.whole, look)
            try:
                self.advance(recorder, min(max(look, RARE_FROM), self._most_masks))
            except DetectorError:
                if self.parts.info.any_size is None:  # it was only tried
                    self.windows.remove(recorder)
                    return ()
                raise
            seen = self.seen()
            ones = {i: seen.certificate(self.targets[i], recorder.window) for i in numbers}
            good = tuple(i for i, one in ones.items() if holds(one))
            if all(holds(one) or fails(one) for one in ones.values()):
                break
        return good

    @property
    def _most_masks(self) -> int:
        return MAX_AUTO_PASSES if self.plan.n_passes == AUTO else self.plan.n_passes

    def finish(self, recorder: Recorder, numbers: list[int]) -> None:
        """Make the passes on whole picture or window that are still wanted for some targets."""
        targets = tuple(self.targets[i] for i in numbers)

        def fidelity() -> tuple[float, ...]:
            made = self.seen().explain(targets, estimator=self.plan.estimator)
            in_it = [
                recorder is self.whole or one.window == recorder.window for one in made.sources
            ]
            return tuple(made.fidelity[in_it].tolist())  # without those whose certificate is lost

        self.go_on(recorder, fidelity, MAX_AUTO_PASSES)

    def go_on(
        self, recorder: Recorder, fidelity: Callable[[], tuple[float, ...]], most: int
    ) -> None:
        """Pass after pass until as many as planned, or until the fidelities are as wanted.

        With automatic stopping there are at most ``most``.
        """
        if self.plan.n_passes != AUTO:
            self.advance(recorder, self.plan.n_passes, expected=self.plan.n_passes)
            return
        look = expected = max(recorder.used, MIN_MASKS)
        while True:
            self.advance(recorder, look, expected=expected)
            self.fidelity = fidelity()
            if look >= most or all(v >= self.plan.fidelity for v in self.fidelity):
                return
            expected = _expected_masks(look, self.fidelity, self.plan.fidelity)
            expected = min(most, max(look + 1, expected))
            look = min(most, look + max(MIN_MASKS, look // 8 * 2))  # even: whole pairs

    def advance(self, recorder: Recorder, stop: int, expected: int = 0) -> None:
        """Observe up to so many masks; those that were observed before count."""
        if recorder not in self.views:
            masks = Masks(recorder.design, *recorder.area.size, self.plan.seed)
            self.views[recorder] = View.of(
                recorder.detector, masks, self.pixels, recorder.window, recorder.area
            )
        view = self.views[recorder]
        for batch in observe_masks(
            view, recorder.n_masks, stop, self.plan.batch_size, recorder.targets
        ):
            recorder.add(batch)
            self._tell(recorder, max(stop, expected))
        recorder.used = max(recorder.used, stop)

    def _tell(self, recorder: Recorder, expected: int) -> None:
        """Report how far the work has come, in passes on the whole picture."""
        if self.report is None:
            return
        left = max(0, expected - recorder.n_masks) * self.share(recorder.window) + self.later
        self.report(
            Progress(
                done=math.ceil(self.cost),
                total=math.ceil(self.cost + left),
                seconds=time.perf_counter() - self.began,
                started_at=math.ceil(self.done_before),
                fidelity=self.fidelity,
                evidence=self._all,
            )
        )

    def _all(self) -> Evidence:
        return self.so_far() or self.whole.evidence()

    def seen(self) -> Evidence:
        """The evidence that a fresh start would have by now."""
        windows, closeups = (
            tuple(one.evidence().first(one.used) for one in some)
            for some in (self.windows, self.closeups)
        )
        whole = self.whole.evidence().first(self.whole.used)
        return replace(whole, windows=windows, closeups=closeups)

    def share(self, window: Window) -> float:
        """Cost of a pass in a window, in passes on the whole picture."""
        return window.area / math.prod(self.size)


def _expected_masks(n_masks: int, reached: Sequence[float], wanted: float) -> int:
    """Masks for a fidelity, from those reached: the noise falls as one over their number."""
    lowest = min((0.0 if math.isnan(value) else value for value in reached), default=wanted)
    noise = (1 / max(lowest, 0.05) ** 2 - 1) / (1 / wanted**2 - 1)
    return math.ceil(n_masks * noise)
