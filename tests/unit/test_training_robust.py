"""Training that is stopped, starved of memory, fed with bad data, or asked to be the same again."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from learners import PLAIN, SETTINGS, Bright, picture, small_network, weights
from PIL import Image
from torch import Tensor, nn

import chiaroscuro as cs
import chiaroscuro.training.folds
from chiaroscuro.core.errors import DivergedError, TrainingError
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import Truth
from chiaroscuro.data.datasets import DataSet, Entry
from chiaroscuro.detectors.adapters.retinaface import TorchRetinaFace
from chiaroscuro.detectors.adapters.retinaface.anchors import losses as retinaface_losses
from chiaroscuro.evidence.passes import out_of_memory
from chiaroscuro.training.folds import cross_validate
from chiaroscuro.training.gradient import precision_context
from chiaroscuro.training.loop import train
from chiaroscuro.training.pictures import TrainingPicture, training_pictures
from chiaroscuro.training.samples import split
from chiaroscuro.training.state import remove_states

PICTURES = [picture(i) for i in range(4)]


class StopHereError(Exception):
    """Stands for Ctrl-C or a kill."""


def stop_at(step: int) -> Any:
    def stop(now: Progress) -> None:
        if now.done == step:
            raise StopHereError

    return stop


def interrupted(folder: Path, step: int = 7) -> None:
    """A run of 12 steps that was stopped after 7, whose last state is of step 4."""
    with pytest.raises(StopHereError):
        train(Bright(), PICTURES, SETTINGS, folder=folder, progress=stop_at(step))


def no_interval(*_: Any, n_resamples: int) -> Any:
    """In place of intervals, which take long and are not what is asked."""
    return np.full(n_resamples, np.nan)


# --- going on ------------------------------------------------------------------------------------


def other_face() -> list[TrainingPicture]:
    return [replace(PICTURES[0], truth=Truth(boxes=[[31, 20, 50, 40]])), *PICTURES[1:]]


def other_pixel() -> list[TrainingPicture]:
    image = PICTURES[0].image.clone()
    image[0, 0, 0] += 1
    return [replace(PICTURES[0], image=image), *PICTURES[1:]]


@pytest.mark.parametrize(
    "pictures",
    [
        PICTURES[:3],
        PICTURES[::-1],
        other_face(),
        other_pixel(),
        [replace(PICTURES[0], name="other"), *PICTURES[1:]],
    ],
    ids=["fewer", "another order", "another box", "another pixel", "another name"],
)
def test_it_does_not_go_on_with_other_pictures(
    tmp_path: Path, pictures: list[TrainingPicture]
) -> None:
    interrupted(tmp_path)
    wanted = r"state\.pt is of a training with other pictures; .*remove that file to start again"
    with pytest.raises(TrainingError, match=wanted):
        train(Bright(), pictures, SETTINGS, folder=tmp_path)


def test_it_does_not_go_on_from_another_start_or_with_other_settings(tmp_path: Path) -> None:
    interrupted(tmp_path)
    other = Bright()
    with torch.no_grad():
        other.network.bias.add_(1)
    with pytest.raises(TrainingError, match="with other starting weights; choose another --out"):
        train(other, PICTURES, SETTINGS, folder=tmp_path)
    settings = attrs.evolve(
        SETTINGS, learning_rate=0.01, augmentation=attrs.evolve(PLAIN, flip=0.5)
    )
    with pytest.raises(TrainingError, match=r"other settings \(learning_rate, flip\) and other st"):
        train(other, PICTURES, settings, folder=tmp_path)
    with pytest.raises(TrainingError, match="other pictures"):
        train(Bright(), PICTURES, SETTINGS, validation=[picture(9)], folder=tmp_path)
    train(Bright(), PICTURES, SETTINGS, folder=tmp_path)  # the same one still may


def test_a_damaged_state_names_the_file_and_the_mend(tmp_path: Path) -> None:
    interrupted(tmp_path)
    path = tmp_path / "state.pt"
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"not a state"):
        path.write_bytes(broken)
        with pytest.raises(TrainingError, match=r"state\.pt is damaged .*; remove it to start"):
            train(Bright(), PICTURES, SETTINGS, folder=tmp_path)
    torch.save({"step": 3}, path)
    with pytest.raises(TrainingError, match=r"state\.pt is not a training state.*; remove it"):
        train(Bright(), PICTURES, SETTINGS, folder=tmp_path)


def test_folds_go_on_within_a_fold_and_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chiaroscuro.training.folds, "resampled_ap50", no_interval)

    def stop(step: Progress) -> None:
        if (step.what, step.done) == ("fold 2 of 3", 7):
            raise StopHereError

    options: dict[str, Any] = {"n_folds": 3, "max_sides": (90,)}
    with pytest.raises(StopHereError):
        cross_validate(Bright(), PICTURES, SETTINGS, folder=tmp_path, progress=stop, **options)
    seen: list[tuple[str, int]] = []
    again = cross_validate(
        Bright(),
        PICTURES,
        SETTINGS,
        folder=tmp_path,
        progress=lambda step: seen.append((step.what, step.done)),
        **options,
    )
    assert seen == [
        *(("fold 2 of 3", i) for i in range(5, 13)),
        *(("fold 3 of 3", i) for i in range(1, 13)),
    ]
    whole = cross_validate(Bright(), PICTURES, SETTINGS, **options)
    assert [one.describe() for one in again] == [one.describe() for one in whole]
    assert len(list(tmp_path.glob("fold-*/state.pt"))) == 3
    remove_states(tmp_path)
    assert {path.name for path in tmp_path.rglob("*.*")} == {"log.csv"}
    assert len(list(tmp_path.glob("fold-*/log.csv"))) == 3


# --- a loss that is NaN ---------------------------------------------------------------------------


def test_after_nan_a_lower_rate_goes_on_and_nothing_else_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    detector = Bright()
    detector.broken_at = 6
    with pytest.raises(
        DivergedError, match=r"Lower the learning rate \(--learning-rate\), now 0.1"
    ):
        train(detector, PICTURES, SETTINGS, folder=tmp_path)
    with pytest.raises(TrainingError, match=r"other settings \(learning_rate\)"):
        train(Bright(), PICTURES, attrs.evolve(SETTINGS, learning_rate=0.2), folder=tmp_path)
    seeded = attrs.evolve(SETTINGS, learning_rate=0.05, seed=3)
    with pytest.raises(TrainingError, match=r"other settings \(learning_rate, seed\)"):
        train(Bright(), PICTURES, seeded, folder=tmp_path)
    seen: list[Progress] = []
    lower = attrs.evolve(SETTINGS, learning_rate=0.05)
    options: dict[str, Any] = {"folder": tmp_path, "progress": seen.append}
    train(Bright(), PICTURES, lower, **options)
    assert seen[0].done == 5
    assert caplog.messages == ["resumed from step 4, with a learning rate of 0.05"]
    rates = [row.split(",")[1] for row in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    assert [float(rate) for rate in rates[3:5]] == pytest.approx([0.04, 0.025])  # warming up


def test_a_rate_is_not_lowered_without_need(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(TrainingError, match=r"other settings \(learning_rate\)"):
        train(Bright(), PICTURES, attrs.evolve(SETTINGS, learning_rate=0.05), folder=tmp_path)


def test_a_gradient_of_nan_is_no_step() -> None:
    class Rooted(Bright):
        def losses(self, images: Tensor, truth: Sequence[Truth]) -> Mapping[str, Tensor]:
            value = super().losses(images, truth)["class"]
            return {"class": value + (value - value.detach()).sqrt()}  # sqrt of 0: no slope

    detector, start = Rooted(), Bright()
    with pytest.raises(DivergedError, match="the gradient became NaN or infinite at step 1"):
        train(detector, PICTURES, SETTINGS)
    assert torch.equal(weights(detector), weights(start))


def test_folds_begin_again_after_nan(tmp_path: Path) -> None:
    detector = Bright()
    detector.broken_at = 6  # of the first fold, whose last state is of step 4
    with pytest.raises(DivergedError):
        cross_validate(detector, PICTURES, SETTINGS, n_folds=2, folder=tmp_path, max_sides=(90,))
    assert not list(tmp_path.rglob("state.pt"))


# --- memory ---------------------------------------------------------------------------------------


class Cramped(Bright):
    """Has memory for so many crops only."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.room, self.error = room, error
        self.sizes: list[int] = []

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> Mapping[str, Tensor]:
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise self.error
        return super().losses(images, truth)


ON_A_CPU = RuntimeError("DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), ON_A_CPU])
def test_out_of_memory_halves_the_crops_at_once_and_keeps_the_step(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    settings = attrs.evolve(SETTINGS, batch_size=7, steps=3)
    cramped, roomy = Cramped(2, error), Bright()
    train(cramped, PICTURES, settings)
    train(roomy, PICTURES, settings)
    torch.testing.assert_close(weights(cramped), weights(roomy), atol=1e-6, rtol=0)
    assert cramped.sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1] + [1] * 14
    assert len(caplog.messages) == 1
    assert "7 crops at once do not fit in memory" in caplog.messages[0]


def test_out_of_memory_is_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    train(Cramped(1, ON_A_CPU), PICTURES, SETTINGS)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.name == "chiaroscuro"
    assert "2 crops at once do not fit in memory" in record.getMessage()


def test_a_single_crop_too_many_ends_it_and_other_errors_pass() -> None:
    wanted = r"single crop of 64x64 pixels on cpu; use smaller crops \(--crop-size\), or another"
    with pytest.raises(TrainingError, match=wanted):
        train(Cramped(0, ON_A_CPU), PICTURES, attrs.evolve(SETTINGS, batch_size=1))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(Cramped(0, RuntimeError("shapes do not fit")), PICTURES, SETTINGS)


def test_torch_on_a_cpu_says_what_is_taken_for_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46, dtype=torch.uint8)
    assert out_of_memory(caught.value)


# --- the same again -------------------------------------------------------------------------------


class Drawing(Bright):
    """Draws in training, as dropout does, and samplers of boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(self.network, nn.Dropout(0.5))


def test_the_same_seed_gives_the_same_weights_of_retinaface(tmp_path: Path) -> None:
    settings = attrs.evolve(
        SETTINGS, steps=3, evaluate_every=1, augmentation=attrs.evolve(PLAIN, blur=0.5)
    )
    start = TorchRetinaFace(small_network(), cs.DetectorInfo(name="small"))
    first, second, resumed = copy.deepcopy(start), copy.deepcopy(start), copy.deepcopy(start)
    train(first, PICTURES, settings)
    train(second, PICTURES, settings)
    torch.testing.assert_close(weights(first), weights(second), atol=1e-6, rtol=0)
    with pytest.raises(StopHereError):
        train(resumed, PICTURES, settings, folder=tmp_path, progress=stop_at(2))
    resumed = copy.deepcopy(start)
    train(resumed, PICTURES, settings, folder=tmp_path)
    torch.testing.assert_close(weights(first), weights(resumed), atol=1e-6, rtol=0)
    assert not torch.equal(weights(first), weights(start))


def test_what_a_network_draws_follows_from_the_seed(tmp_path: Path) -> None:
    first, second, other = Drawing(), Drawing(), Drawing()
    before = torch.get_rng_state()
    train(first, PICTURES, SETTINGS)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    with pytest.raises(StopHereError):
        train(second, PICTURES, SETTINGS, folder=tmp_path, progress=stop_at(6))
    second = Drawing()
    train(second, PICTURES, SETTINGS, folder=tmp_path)
    assert torch.equal(weights(first), weights(second))
    train(other, PICTURES, attrs.evolve(SETTINGS, seed=1))
    assert not torch.equal(weights(first), weights(other))


# --- precision ------------------------------------------------------------------------------------


def test_bfloat16_is_for_cuda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(device: torch.device, *, mixed: bool = True, there: bool = True) -> Any:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: there)
        monkeypatch.setattr(torch, "autocast", lambda *given, dtype: nullcontext((*given, dtype)))
        return precision_context(device, mixed=mixed)

    cuda = torch.device("cuda")
    with told(cuda) as given:
        assert given == ("cuda", torch.bfloat16)
    for context in (told(torch.device("cpu")), told(cuda, mixed=False), told(cuda, there=False)):
        with context as nothing:
            assert nothing is None


def test_the_losses_of_retinaface_have_a_gradient_in_bfloat16() -> None:
    network = small_network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        parts = retinaface_losses(network, torch.rand(1, 3, 64, 64), [PICTURES[0].truth])
    torch.stack([part.float() for part in parts.values()]).sum().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert any(bool(gradient.any()) for gradient in gradients)


# --- data -----------------------------------------------------------------------------------------


def data_set(folder: Path, *truths: Truth, broken: int = 0) -> DataSet:
    """Pictures of 90 x 70 with these marks, and after them some that cannot be read."""
    entries = []
    for i in range(len(truths) + broken):
        path = folder / f"p{i}.png"
        Image.fromarray(np.full((70, 90, 3), 99, np.uint8)).save(path)
        if i >= len(truths):
            path.write_bytes(path.read_bytes()[:60])
        truth = truths[min(i, len(truths) - 1)]
        entries.append(Entry(name=f"p{i}", path=path, truth=truth, size=(90, 70)))
    return DataSet(source="marks.json", class_names=("face", "hat"), entries=tuple(entries))


def test_what_is_left_out_of_the_data_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_set(
        tmp_path,
        Truth(boxes=[[10, 10, 30, 30], [80, 60, 100, 80], [95, 10, 99, 30], [69.7, 40, 90.3, 60]]),
        Truth(boxes=[[10, 10, 30, 30], [1, 1, 9, 9]], labels=[1, 0], ignore=[False, True]),
        broken=2,
    )
    pictures = training_pictures(data, {0: 0})
    assert [one.name for one in pictures] == ["p0", "p1"]
    assert pictures[0].truth.boxes.tolist()[:2] == [[10, 10, 30, 30], [80, 60, 90, 70]]
    assert float(pictures[0].truth.boxes[2, 2]) == 90  # cut by less than a pixel: not worth a word
    assert pictures[1].truth.ignore.tolist() == [True]
    unreadable, foreign, outside, past, without = caplog.messages
    assert unreadable.startswith("left out: 2 unusable pictures, such as ")
    assert "p2.png" in unreadable
    assert foreign == "left out: 1 box of classes that the detector lacks: hat"
    assert outside == "left out: 1 box outside the picture, such as in p0"
    assert past == "cut to the picture: 1 box that extended past it, such as in p0"
    assert without == "1 picture without a box to find: learned from with --backgrounds only"


def test_data_with_nothing_to_learn_says_what_there_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ignored = Truth(boxes=[[1, 1, 9, 9]], ignore=[True])
    with pytest.raises(
        TrainingError, match=r"got none in the 1 readable picture \(1 box to ignore\)"
    ):
        training_pictures(data_set(tmp_path, ignored), {0: 0})
    none = Truth(boxes=torch.zeros(0, 4))
    with pytest.raises(
        TrainingError, match=r"got none in the 2 readable pictures \(0 boxes to ignore\)"
    ):
        training_pictures(data_set(tmp_path, none, none), {0: 0})
    broken = data_set(tmp_path, ignored, broken=1)
    broken = replace(broken, entries=broken.entries[1:])
    caplog.clear()
    with pytest.raises(TrainingError, match="got none in the 0 readable pictures"):
        training_pictures(broken, {0: 0})
    assert caplog.messages[0].startswith("left out: 1 unusable picture, such as")


def test_pictures_held_back_must_have_a_face() -> None:
    empty = replace(picture(9), truth=Truth(boxes=torch.zeros(0, 4)))
    with pytest.raises(TrainingError, match="the 1 pictures held back have no box"):
        train(Bright(), PICTURES, SETTINGS, validation=[empty])
    with pytest.raises(TrainingError, match="wanted at least 2 pictures"):
        split(PICTURES[:1], 0.2, seed=0)
