"""What a method is: facts about it, and the function that computes its maps."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from chiaroscuro.core.errors import InputError, MissingDependencyError
from chiaroscuro.core.install import install_hint
from chiaroscuro.methods.differentiable import differentiable
from chiaroscuro.methods.question import Answer, Question

BLACK_BOX_PASSES = 400
"""Default passes of the black-box methods: all the same, so that they can be compared."""

Family = Literal["perturbation", "search", "gradient", "activation", "attention"]
Need = Literal["black box", "gradients", "attention"]
_NEEDS: dict[Family, Need] = {
    "gradient": "gradients",
    "activation": "gradients",
    "attention": "attention",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to explain a target.

    Attributes:
        name: as users type it.
        title: the idea in a line.
        family: its place in the taxonomy.
        signed: whether negative values have a meaning: pixels that lower the target's weight.
        meaning: what one unit of its map is.
        n_passes: default number of detector passes.
        least: smallest number of passes it can work with, and how many more per target.
        shared: whether the same passes serve all targets of a picture.
        random: whether another seed gives another map.
        observes: the share of its passes that is a D-RISE run, whose evidence can be used again.
        stops_itself: whether ``n_passes="auto"`` means until the wanted fidelity is reached.
        packages: optional packages it needs, by their import names.
        source: where it comes from.
        run: the function that computes its maps.
    """

    name: str
    title: str
    family: Family
    signed: bool = False
    meaning: str
    n_passes: int
    least: tuple[int, int] = (1, 0)
    shared: bool = False
    random: bool = False
    observes: float | int = 0
    stops_itself: bool = False
    packages: tuple[str, ...] = ()
    source: str
    run: Callable[[Question], Answer]

    @property
    def needs(self) -> Need:
        """The detector: ``"black box"`` (any), with ``"gradients"``, or with ``"attention"``."""
        return _NEEDS.get(self.family, "black box")

    def answer(self, question: Question) -> Answer:
        """The maps of a question's targets.

        Raises:
            MissingDependencyError: if a package it needs is not installed.
            UnsupportedMethodError: if the detector's architecture does not allow the method.
            InputError: if it has too few passes.
        """
        if self.needs == "gradients":  # checked before the user installs anything in vain
            question = replace(question, detector=differentiable(question.detector, self.name))
        self.check_packages()
        n_targets = len(question.targets)
        least = self.least[0] + self.least[1] * n_targets
        if question.n_passes < least:
            raise InputError(
                f"method {self.name}: wanted at least {least} passes for {n_targets} "
                f"{'target' if n_targets == 1 else 'targets'}, got {question.n_passes}"
            )
        return self.run(question)

    def check_packages(self) -> None:
        """Raise MissingDependencyError if a package it needs is not installed."""
        for name in self.packages:
            if importlib.util.find_spec(name) is None:
                raise MissingDependencyError(
                    f"method {self.name}: wanted the package {name}, which is not installed; "
                    f"{install_hint('methods')}"
                )

    def describe(self) -> dict[str, Any]:
        """What readers of results need, as plain JSON values."""
        facts = ("name", "title", "family", "needs", "signed", "meaning", "source")
        return {fact: getattr(self, fact) for fact in facts}
