"""Run folders of ``study`` to browse: those that the workbench was started with."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from chiaroscuro.core.errors import InputError
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures.encode import jpeg
from chiaroscuro.figures.overlay import around, overlay
from chiaroscuro.report.cards import closeup_cards
from chiaroscuro.studies.run import Run
from chiaroscuro.studies.summary import summarise_targets


class Runs:
    """Run folders by number.

    Args:
        folders: the ``--out`` of ``chiaroscuro study``.

    Raises:
        BundleError: if one is not a run folder.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._runs = [Run.load(folder) for folder in folders]

    def names(self) -> list[dict[str, Any]]:
        """Number, folder name, detector and data set of every run."""
        return [
            {
                "run": number,
                "name": run.folder.name,
                "detector": run.record.detector,
                "pictures": len(run.names),
            }
            for number, run in enumerate(self._runs)
        ]

    def table(self, number: int) -> dict[str, Any]:
        """Every target of a run's complete pictures, with its results."""
        run = self._run(number)
        return {"targets": summarise_targets(run), "failed": run.failed()}

    def card(self, number: int, name: str, target: int) -> bytes:
        """A target and its surroundings under its map, as JPEG.

        Args:
            number: of the run.
            name: of the picture.
            target: counted from 1.

        Raises:
            InputError: if there is no such target.
        """
        run = self._run(number)
        if name not in run.names or not run.done(name):
            raise InputError(f"picture: this run has no complete picture {name!r}")
        return _card(run, name, target)

    def _run(self, number: int) -> Run:
        if not 0 <= number < len(self._runs):
            raise InputError(f"run: wanted 0 to {len(self._runs) - 1}, got {number}")
        return self._runs[number]


def _card(run: Run, name: str, target: int) -> bytes:
    image, explanation = _opened(str(run.folder), name)
    if not 1 <= target <= len(explanation):
        raise InputError(f"target: wanted 1 to {len(explanation)} in {name!r}, got {target}")
    close_up = closeup_cards(image, explanation, target - 1)
    if close_up is not None:
        return jpeg(close_up[1].pixels)
    one = explanation.targets[target - 1]
    under = overlay(image, explanation.saliency[target - 1], explanation.standard_error[target - 1])
    return jpeg(around(under, one))


@lru_cache(maxsize=8)
def _opened(folder: str, name: str) -> tuple[Any, Explanation]:
    saved = Run.load(folder).picture(name)
    return saved.image(), saved.explanation
