"""Crops, losses and the loop, on pictures and networks small enough to know."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from learners import PLAIN, SETTINGS, Bright, generator, picture, small_network, weights
from torch import Tensor, nn

import chiaroscuro as cs
from chiaroscuro.core.errors import CheckpointError, DivergedError, InputError, TrainingError
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import Truth
from chiaroscuro.detectors.adapters.retinaface import TorchRetinaFace
from chiaroscuro.detectors.adapters.retinaface.anchors import (
    BACKGROUND,
    FACE,
    LEFT_OUT,
    assign,
    decode_boxes,
    encode_boxes,
    losses,
    make_anchors,
)
from chiaroscuro.detectors.adapters.retinaface.network import RetinaFaceNetwork, RetinaFaceOutput
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.training import folds
from chiaroscuro.training.augment import Augmentation, random_crop, tenebrism, turned
from chiaroscuro.training.folds import cross_validate
from chiaroscuro.training.loop import train
from chiaroscuro.training.pictures import TrainingPicture
from chiaroscuro.training.samples import save_samples, split
from chiaroscuro.training.trainable import open_trainable


def test_a_crop_moves_pixels_and_boxes_together() -> None:
    one = picture()
    for seed in range(20):
        for augmentation in (
            PLAIN,
            attrs.evolve(PLAIN, flip=1.0),
            attrs.evolve(PLAIN, long_side=(60, 180)),
        ):
            crop, truth = random_crop(one.image, one.truth, augmentation, generator(seed))
            assert crop.shape == (3, 64, 64)
            (box,) = truth.boxes.round().int().tolist()
            inside = crop[:, box[1] + 2 : box[3] - 2, box[0] + 2 : box[2] - 2]
            assert float(inside.min()) > 0.8
            assert not bool(truth.ignore.any())


def test_a_turned_crop_turns_its_boxes_about_the_same_centre() -> None:
    crop = torch.zeros(3, 101, 101)
    crop[:, 20:30, 70:80] = 1
    pixels, (box,) = turned(crop, torch.tensor([[70.0, 20, 80, 30]]), 30.0)
    rows, columns = (pixels[0] > 0.5).nonzero().T
    middle = columns.float().mean() + 0.5, rows.float().mean() + 0.5
    assert float((box[0] + box[2]) / 2) == pytest.approx(float(middle[0]), abs=0.2)
    assert float((box[1] + box[3]) / 2) == pytest.approx(float(middle[1]), abs=0.2)
    assert (box[2:] - box[:2]).tolist() == pytest.approx([10, 10], abs=1e-4)


def test_faces_that_are_cut_off_are_ignored_and_those_outside_dropped() -> None:
    one = picture()
    truth = Truth(boxes=[[30, 20, 50, 40], [0, 0, 10, 10], [70, 50, 80, 60]], ignore=[0, 0, 1])
    far = attrs.evolve(PLAIN, near_a_face=0)
    seen = set()
    for seed in range(60):
        _, moved = random_crop(one.image, truth, far, generator(seed))
        for box, ignore in zip(moved.boxes, moved.ignore, strict=True):
            width, height = (box[2:] - box[:2]).tolist()
            whole = (width, height) in ((20, 20), (10, 10))
            seen.add((whole, bool(ignore)))
            if not whole and not bool(ignore):
                assert width * height >= 50  # at least half of the smaller face
    assert seen >= {(True, False), (True, True), (False, True)}


def test_the_same_seed_draws_the_same_crop() -> None:
    one = picture()
    full = Augmentation(size=64, long_side=(60, 180), tenebrism=0.5)
    for seed in range(3):
        crops = [random_crop(one.image, one.truth, full, generator(seed))[0] for _ in range(2)]
        assert torch.equal(crops[0], crops[1])
    plain = Augmentation(size=64, long_side=(60, 180), colour=0, blur=0, noise=0, tenebrism=0)
    levels = one.image.float() / 255
    for seed in range(5):  # light and colour unchanged, so no level is new
        crop, _ = random_crop(one.image, one.truth, plain, generator(seed))
        assert float(crop.max()) <= float(levels.max()) + 1e-6
        assert float(crop.max()) >= float(levels.max()) - 0.1
    assert not torch.equal(crops[0], random_crop(one.image, one.truth, full, generator(9))[0])


def test_tenebrism_darkens_the_ground_and_keeps_a_light() -> None:
    grey = torch.full((3, 60, 80), 0.6)
    for seed in range(10):
        dark = tenebrism(grey, generator(seed))
        assert float(dark.mean()) < 0.45
        assert float(dark.quantile(0.05)) < 0.15
        assert float(dark.max()) > 1.3 * float(dark.mean())


def test_offsets_and_boxes_are_inverse() -> None:
    anchors = make_anchors(64, 96)[::37]
    boxes = torch.rand(len(anchors), 2, generator=generator()) * 50
    boxes = torch.cat([boxes, boxes + 5 + 30 * torch.rand(len(anchors), 2)], dim=1)
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes)


def test_anchors_have_the_face_they_overlap_most() -> None:
    anchors = torch.tensor([[20.0, 20, 16, 16], [60.0, 20, 16, 16], [61.0, 21, 16, 16]])
    truth = Truth(boxes=[[12, 12, 28, 28], [52, 12, 68, 28], [0, 0, 3, 3]])
    wanted, index = assign(anchors, truth)
    assert wanted.tolist() == [FACE, FACE, FACE]
    assert index[1:].tolist() == [1, 1]
    # the tiny face overlaps none; it takes the first anchor, as every face has at least one
    assert int(index[0]) in (0, 2)
    far, _ = assign(anchors, Truth(boxes=[[30, 30, 40, 40]], ignore=[True]))
    assert far.tolist() == [BACKGROUND] * 3
    ignored, _ = assign(anchors, Truth(boxes=[[40, 0, 90, 90]], ignore=[True]))
    assert ignored.tolist() == [BACKGROUND, LEFT_OUT, LEFT_OUT]
    assert assign(anchors, Truth(boxes=torch.zeros(0, 4)))[0].tolist() == [BACKGROUND] * 3


def test_the_loss_falls_and_the_gradient_reaches_every_part() -> None:
    network = small_network()
    crop, truth = random_crop(picture().image, picture().truth, PLAIN, generator())
    parts = losses(network, crop[None], [truth])
    assert set(parts) == {"class", "box"}
    sum(parts.values()).backward()  # type: ignore[union-attr]
    reached = {
        name.split(".")[0]
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }
    assert reached == {"backbone", "pyramid", "context", "class_head", "box_head"}


def test_a_perfect_answer_has_next_to_no_loss() -> None:
    class Perfect(RetinaFaceNetwork):
        def forward(self, images: Tensor) -> RetinaFaceOutput:
            anchors = make_anchors(64, 64)
            wanted, index = assign(anchors, truth)
            logits = torch.stack([wanted != FACE, wanted == FACE], dim=1).float() * 30
            offsets = encode_boxes(truth.boxes[index], anchors)
            return RetinaFaceOutput(offsets[None], logits[None])

    _, truth = random_crop(picture().image, picture().truth, PLAIN, generator())
    found = losses(Perfect(), torch.zeros(1, 3, 64, 64), [truth])
    assert float(found["class"]) < 1e-6
    assert float(found["box"]) < 1e-6


def test_training_lowers_the_loss_and_says_how_far_it_is() -> None:
    detector = Bright()
    steps: list[Progress] = []
    train(detector, [picture(i) for i in range(3)], SETTINGS, progress=steps.append)
    assert isinstance(detector, Trainable)
    assert [step.done for step in steps] == list(range(1, 13))
    assert steps[-1].values["class"] < steps[0].values["class"]
    assert steps[-1].seconds_left == 0
    assert not detector.network.training


def test_pictures_without_a_face_are_background(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = TrainingPicture(
        name="empty", image=torch.full((3, 96, 96), 7, dtype=torch.uint8), truth=Truth(boxes=[])
    )
    drawn: list[int] = []
    loop = importlib.import_module("chiaroscuro.training.loop")

    def noted(image: Tensor, truth: Truth, *rest: Any) -> tuple[Tensor, Truth]:
        drawn.append(len(truth))
        return random_crop(image, truth, *rest)

    monkeypatch.setattr(loop, "random_crop", noted)
    for share, low, high in ((0.0, 0, 0), (0.5, 4, 36)):
        drawn.clear()
        settings = attrs.evolve(SETTINGS, steps=5, batch_size=8, backgrounds=share)
        train(Bright(), [picture(0), picture(1), empty], settings)
        assert low <= drawn.count(0) <= high


def test_half_of_the_start_is_kept() -> None:
    whole, half, start = Bright(), Bright(), Bright()
    pictures = [picture()]
    train(whole, pictures, attrs.evolve(SETTINGS, keep=0.0))
    train(half, pictures, SETTINGS)
    torch.testing.assert_close(weights(half), (weights(whole) + weights(start)) / 2)


def test_interrupted_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    class StopHereError(Exception):
        pass

    def stop(step: Progress) -> None:
        if step.done == 7:
            raise StopHereError

    pictures = [picture(i) for i in range(3)]
    with pytest.raises(StopHereError):
        train(Bright(), pictures, SETTINGS, folder=tmp_path, progress=stop)
    seen: list[Progress] = []
    again, whole = Bright(), Bright()
    train(again, pictures, SETTINGS, folder=tmp_path, progress=seen.append)
    train(whole, pictures, SETTINGS)
    assert seen[0].done == 5  # the last saved state was after step 4
    assert torch.equal(weights(again), weights(whole))
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "step,learning_rate,class,ap50"
    assert [row.split(",")[0] for row in rows[1:]] == [str(i) for i in range(1, 13)]


def test_a_loss_of_nan_stops_and_keeps_the_last_good_weights() -> None:
    detector, until = Bright(), Bright()
    detector.broken_at = 6
    with pytest.raises(DivergedError, match="nan at step 6; the last good weights, of step 4, are"):
        train(detector, [picture()], SETTINGS)
    train(
        until,
        [picture()],
        attrs.evolve(SETTINGS, steps=12, keep=0.0),
        progress=_stop_after(until, 4),
    )
    assert torch.equal(weights(detector), until.saved)  # type: ignore[attr-defined]


def _stop_after(detector: Any, n: int) -> Any:
    def note(step: Progress) -> None:
        if step.done == n:
            detector.saved = weights(detector)

    return note


def test_early_stopping_takes_the_best_on_validation() -> None:
    detector = Bright()
    steps: list[Progress] = []
    settings = attrs.evolve(SETTINGS, steps=40, patience=2)
    train(detector, [picture()], settings, validation=[picture(5)], progress=steps.append)
    measured = [step.values["AP50"] for step in steps if "AP50" in step.values]
    assert measured == [pytest.approx(1)] * 3  # right from the first, so two without gain end it
    assert steps[-1].done == 12


def test_parts_can_be_frozen() -> None:
    network = small_network()
    detector = TorchRetinaFace(network, cs.DetectorInfo(name="small"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settings = attrs.evolve(SETTINGS, steps=2, freeze=("backbone", "landmark_head"))
    train(detector, [picture()], settings)
    for name, value in network.state_dict().items():
        frozen = name.startswith(("backbone", "landmark_head"))
        assert torch.equal(value, before[name]) == frozen, name
    with pytest.raises(TrainingError, match="no parameter begins with 'head'; parts are backbone"):
        train(detector, [picture()], attrs.evolve(SETTINGS, freeze=("head",)))
    with pytest.raises(TrainingError, match="nothing is left to learn"):
        train(Bright(), [picture()], attrs.evolve(SETTINGS, freeze=("weight", "bias")))


def test_batch_norms_keep_their_statistics_unless_asked() -> None:
    class Normed(Bright):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.BatchNorm1d(1), self.network)

    fixed, learned = Normed(), Normed()
    train(fixed, [picture()], SETTINGS)
    train(learned, [picture()], attrs.evolve(SETTINGS, train_norms=True))
    assert float(fixed.network[0].running_mean) == 0
    assert not torch.equal(fixed.network[0].weight, torch.ones(1))  # they learn all the same
    assert float(learned.network[0].running_mean) != 0


def test_nothing_to_learn_from_is_told() -> None:
    empty = replace(picture(), truth=Truth(boxes=[[1, 1, 9, 9]], ignore=[True]))
    with pytest.raises(TrainingError, match="at least one picture with a box"):
        train(Bright(), [empty], SETTINGS)
    for wrong in ({"steps": 0}, {"keep": 1.0}, {"learning_rate": 0.0}):
        with pytest.raises(InputError):
            attrs.evolve(SETTINGS, **wrong)  # type: ignore[arg-type]


def test_folds_judge_every_picture_by_a_detector_that_has_not_seen_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folds, "N_RESAMPLES", 40)
    detector = Bright()
    before = weights(detector).clone()
    pictures = [picture(i) for i in range(3)]
    (result,) = cross_validate(detector, pictures, SETTINGS, n_folds=3, max_sides=(90,))
    assert torch.equal(weights(detector), before)
    assert result.before.ap50 == result.after.ap50 == pytest.approx(1)
    assert result.gain == 0
    assert result.interval == (0, 0)
    assert len(result.folds) == 3
    assert result.describe()["after"]["ap50"] == pytest.approx(1)
    with pytest.raises(TrainingError, match="wanted 2 to 3"):
        cross_validate(detector, pictures, SETTINGS, n_folds=4)


def test_a_split_is_of_whole_pictures() -> None:
    pictures = [picture(i) for i in range(10)]
    learn, held = split(pictures, 0.25, seed=1)
    assert (len(learn), len(held)) == (8, 2)
    assert {p.name for p in learn} | {p.name for p in held} == {p.name for p in pictures}
    assert split(pictures, 0, seed=1) == (pictures, [])
    assert len(split(pictures[:2], 0.01, seed=1)[1]) == 1


def test_samples_are_saved_as_a_picture(tmp_path: Path) -> None:
    path = save_samples([picture()], SETTINGS, tmp_path / "samples.png")
    assert cs.read_image(path).shape == (3, 3 * 208, 6 * 208)


def test_a_checkpoint_is_opened_by_its_path(tmp_path: Path) -> None:
    detector = TorchRetinaFace(small_network(), cs.DetectorInfo(name="small"))
    path = tmp_path / "painting.safetensors"
    detector.save(path, {"data": "x"})
    again = cs.load_detector(path)
    assert again.info.name.startswith("painting.safetensors@")
    image = torch.rand(1, 3, 64, 64, generator=generator())
    (one,), (other,) = detector.detect(image), again.detect(image)
    assert torch.equal(one.scores, other.scores)
    assert isinstance(open_trainable(str(path)), Trainable)
    with pytest.raises(CheckpointError, match="ends in"):
        detector.save(tmp_path / "painting.pt")


def test_weights_trained_further_under_one_name_are_another_detector(tmp_path: Path) -> None:
    detector = TorchRetinaFace(small_network(), cs.DetectorInfo(name="small"))
    path = tmp_path / "painting.safetensors"
    detector.save(path, {"data": "x"})
    image = torch.rand(3, 64, 64, generator=generator())
    evidence = cs.observe(image, path, n_passes=2)
    assert cs.observe(image, path, n_passes=4, resume=evidence).n_masks == 4
    with torch.no_grad():
        for value in detector.network.parameters():
            value.mul_(1.01)
    detector.save(path, {"data": "x"})
    with pytest.raises(InputError, match=r"detector was painting\.safetensors@"):
        cs.observe(image, path, n_passes=4, resume=evidence)


def test_a_checkpoint_of_another_network_names_both(tmp_path: Path) -> None:
    from chiaroscuro.detectors.checkpoint import write_checkpoint

    path = tmp_path / "other.safetensors"
    write_checkpoint(path, {"weight": torch.zeros(2)}, {"detector": "retinaface"})
    with pytest.raises(CheckpointError, match="another network than RetinaFace"):
        cs.load_detector(path)


def test_what_cannot_be_trained_says_so() -> None:
    with pytest.raises(TrainingError, match="cannot be trained; retinaface"):
        open_trainable(lambda images: [[] for _ in images])
