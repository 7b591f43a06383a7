"""What was observed outlives whatever ends the observation, and only detectors are blamed."""

from pathlib import Path

import pytest
import torch

import chiaroscuro as cs
from chiaroscuro.core.errors import BundleError, DetectorFailedError
from chiaroscuro.core.plan import Plan
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import as_targets
from chiaroscuro.evidence import estimators
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.results import explaining as workflow
from chiaroscuro.results.explaining import explain_picture
from chiaroscuro.results.picture import Picture
from chiaroscuro.store import bundle
from chiaroscuro.testing import PlantedDetector

BOX = (20, 10, 36, 30)
PLANTED = torch.zeros(40, 56)
PLANTED[10:30, 20:36] = 1 / 320


def picture() -> Picture:
    image = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(0))
    return Picture(source="painting.png", image=(image * 255).byte())


class BrokenError(Exception):
    pass


def stops(progress: Progress) -> None:
    if progress.done >= 8:
        raise BrokenError("the disk of the log is full")


def explain(out: Path, **changes: object) -> workflow.ExplainedPicture:
    progress = changes.pop("progress", None)
    plan = Plan(n_passes=24, batch_size=4, **changes)  # type: ignore[arg-type]
    return explain_picture(
        picture(),
        PlantedDetector(BOX, PLANTED),
        as_targets([BOX]),
        out,
        plan,
        progress=progress,  # type: ignore[arg-type]
    )


def test_a_callback_that_raises_loses_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(BrokenError, match="disk of the log") as raised:
        explain(tmp_path, progress=stops)
    assert raised.value.evidence.n_masks == 8  # type: ignore[attr-defined]
    kept = Evidence.load(tmp_path / "painting" / "evidence.npz")
    assert kept.n_masks == 8
    whole = explain(tmp_path).result  # resumed
    assert torch.equal(whole.saliency, explain(tmp_path / "fresh").result.saliency)


def test_an_estimator_that_fails_is_no_failure_of_the_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("cholesky: not positive definite")

    monkeypatch.setattr(estimators, "estimate", broken)
    with pytest.raises(RuntimeError, match="cholesky") as raised:
        explain(tmp_path)
    assert not isinstance(raised.value, DetectorFailedError)
    assert Evidence.load(tmp_path / "painting" / "evidence.npz").n_masks == 24
    with pytest.raises(RuntimeError, match="cholesky") as raised:
        cs.observe(picture().image, PlantedDetector(BOX, PLANTED), targets=[BOX], batch_size=20)
    assert raised.value.evidence.n_masks == 100  # type: ignore[attr-defined]


def test_on_a_full_disk_the_error_has_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        raise BundleError(f"{path} cannot be written: No space left on device")

    monkeypatch.setattr(bundle, "write_arrays", full)
    with pytest.raises(BundleError, match="No space left") as raised:
        explain(tmp_path)
    assert raised.value.evidence.n_masks == 24  # type: ignore[attr-defined]
    with pytest.raises(BundleError, match=r"disk of the log is full; and .* No space") as raised:
        explain(tmp_path, progress=stops)
    assert raised.value.evidence.n_masks == 8  # type: ignore[attr-defined]
