"""Maps of saved targets made again: by another method, seed, picture or detector."""

import time
from collections.abc import Callable
from typing import Literal

import attrs
from torch import Tensor

from chiaroscuro._version import __version__
from chiaroscuro.core.plan import AUTO, Plan
from chiaroscuro.detectors import Detector
from chiaroscuro.detectors.protocol import checked_detect
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.methods import explain, method_named
from chiaroscuro.results.folder import ResultFolder
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import Cost, KeptMethod

Make = Callable[..., Explanation]
"""``(image, seed, detector) -> Explanation``; the detector that was explained if not given."""


def by_method(
    name: str,
    saved: ResultFolder,
    evidence: Evidence,
    detector: Detector,
    n_passes: int | Literal["auto"],
    batch_size: int | None,
    folder: AnyPath,
) -> tuple[Explanation, Cost]:
    """Maps of the saved targets by another method, and what they took; made once and kept.

    What is in ``folder`` is used if it was made with the same settings. Methods that can use the
    evidence make as many passes fewer. ``n_passes`` is of all targets together; see
    ``equal_passes`` for ``"auto"``.
    """
    n_passes = equal_passes(name, saved.explanation, n_passes)
    made = {"n_passes": n_passes, "of": saved.fingerprint(), "version": __version__}
    if (folder / "manifest.json").is_file():
        earlier = ResultFolder(folder)
        kept = earlier.manifest.kept
        if kept is not None and kept.made == made:
            return earlier.explanation, kept.cost
    began = time.perf_counter()
    checked_detect(detector, evidence.image[None])
    pass_seconds = time.perf_counter() - began
    began = time.perf_counter()
    explained = explain(
        evidence.image,
        detector,
        saved.explanation.targets,
        method=name,
        n_passes=n_passes,
        seed=evidence.seed,
        design=evidence.design,
        batch_size=batch_size,
        evidence=evidence if evidence.n_masks else None,
    )
    cost = Cost(
        method=name,
        targets=len(explained),
        n_passes=explained.settings.n_passes,
        seconds=time.perf_counter() - began,
        pass_seconds=pass_seconds,
    )
    explained.save(folder, kept=KeptMethod(made=made, cost=cost))
    return explained, cost


def plan_of(explained: Explanation, evidence: Evidence, batch_size: int | None) -> Plan:
    """How maps were made, as a plan to make others in the same way."""
    settings = explained.settings
    return Plan(
        method=settings.method,
        estimator=settings.estimator or "surrogate",
        n_passes=settings.most_passes,
        windows=explained.in_windows,
        seed=evidence.seed,
        design=evidence.design,
        batch_size=batch_size,
    )


def again(explained: Explanation, evidence: Evidence, detector: Detector, plan: Plan) -> Make:
    """Makes maps of the same targets in the same way, all passes repeated."""

    def make(image: Tensor, seed: int, other: Detector = detector) -> Explanation:
        return explain(image, other, explained.targets, plan=attrs.evolve(plan, seed=seed))

    return make


def equal_passes(
    name: str, explained: Explanation, n_passes: int | Literal["auto"]
) -> int | Literal["auto"]:
    """For ``auto``, as many passes per target for a black-box method as the saved maps took."""
    method, earlier = method_named(name), method_named(explained.settings.method)
    if n_passes != AUTO or {method.needs, earlier.needs} != {"black box"}:
        return n_passes
    each = round(explained.map_cost) // (1 if earlier.shared else len(explained))
    return each * (1 if method.shared else len(explained))
