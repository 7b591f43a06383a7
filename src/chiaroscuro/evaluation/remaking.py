"""Maps of saved targets made anew: by another method, of another seed, picture or detector."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from chiaroscuro._version import __version__
from chiaroscuro.detectors import Detector
from chiaroscuro.detectors.protocol import checked_detect
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.methods import explain, method_named
from chiaroscuro.results.folder import SavedResult, manifest_of
from chiaroscuro.store import bundle, contents
from chiaroscuro.store.bundle import AnyPath


def by_method(
    name: str,
    saved: SavedResult,
    evidence: Evidence,
    detector: Detector,
    passes: int | Literal["auto"],
    batch_size: int | None,
    folder: AnyPath,
) -> tuple[Explanation, dict[str, Any]]:
    """Maps of the saved targets by another method, made once and kept.

    Args:
        name: of the method.
        saved: whose targets are explained.
        evidence: of the saved result; methods that can use it make as many passes less.
        detector: what was explained.
        passes: of all targets together; see ``equal_passes`` for ``"auto"``.
        batch_size: pictures a detector call.
        folder: where the maps are kept; what is there is taken if it was made alike.

    Returns:
        The maps, and what they cost: ``method``, ``targets``, ``passes``, ``seconds``, and
        ``pass_seconds``, what one pass of the detector alone took.

    Raises:
        InputError: as ``methods.explain`` does.
    """
    asked = equal_passes(name, saved.explanation, passes)
    made = {"passes": asked, "of": fingerprint(saved.folder), "version": __version__}
    if (folder / "manifest.json").is_file():
        kept = bundle.read_json(
            folder / "manifest.json", contents.KEPT_METHOD, remedy="remove that folder"
        )
        if kept["made"] == made:
            return Explanation.load(folder), kept["cost"]
    began = time.perf_counter()
    checked_detect(detector, evidence.image[None])
    pass_seconds = time.perf_counter() - began
    began = time.perf_counter()
    explained = explain(
        evidence.image,
        detector,
        saved.explanation.targets,
        method=name,
        n_masks=asked,
        seed=evidence.seed,
        design=evidence.design,
        batch_size=batch_size,
        evidence=evidence if evidence.n_masks else None,
    )
    cost = {
        "method": name,
        "targets": len(explained),
        "passes": passes_of(explained),
        "seconds": time.perf_counter() - began,
        "pass_seconds": pass_seconds,
    }
    explained.save(folder, manifest={"made": made, "cost": cost})
    return explained, cost


def again(
    explained: Explanation, evidence: Evidence, detector: Detector, batch_size: int | None
) -> Callable[..., Explanation]:
    """Makes maps of the same targets in the same way, all passes anew.

    Returns:
        ``(image, seed, detector) -> Explanation``; the detector that was explained if not given.
    """

    def make(image: Tensor, seed: int, other: Detector = detector) -> Explanation:
        return explain(
            image,
            other,
            explained.targets,
            method=str(explained.settings["method"]),
            estimator=str(explained.settings.get("estimator", "surrogate")),
            n_masks=passes_of(explained),
            seed=seed,
            design=evidence.design,
            batch_size=batch_size,
        )

    return make


def equal_passes(
    name: str, explained: Explanation, asked: int | Literal["auto"]
) -> int | Literal["auto"]:
    """Equal passes unless told otherwise: what only asks gets as many as the saved maps took.

    As many for every target, whether a method's targets share them or not.
    """
    method, earlier = method_named(name), method_named(str(explained.settings["method"]))
    if asked != "auto" or {method.needs, earlier.needs} != {"black box"}:
        return asked
    each = passes_of(explained) // (1 if earlier.shared else len(explained))
    return each * (1 if method.shared else len(explained))


def passes_of(explained: Explanation) -> int:
    """How many passes the maps took."""
    settings = explained.settings
    return int(settings["n_masks"] if settings["method"] == "drise" else settings["passes"])


def fingerprint(folder: AnyPath) -> str:
    """SHA-256 of the maps of a saved result and of how they were made, as hexadecimal digits.

    It is the same after the same command ran again.

    Raises:
        BundleError: if it is incomplete.
    """
    manifest = manifest_of(folder)
    told = hashlib.sha256(bundle.read_bytes(folder / "saliency.npz"))
    how = [manifest["settings"], manifest.get("captions")]
    told.update(json.dumps(how, sort_keys=True, default=str).encode())
    return told.hexdigest()
