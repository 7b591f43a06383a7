"""Explaining, reading pictures and judging from several threads at once."""

import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import chiaroscuro as cs
from chiaroscuro.core.records import Truth
from chiaroscuro.core.threads import one_thread
from chiaroscuro.evidence import estimators
from chiaroscuro.metrics.average_precision import average_precision
from chiaroscuro.testing import PlantedDetector

N = 8
PLANTED = torch.zeros(40, 56)
PLANTED[10:30, 20:36] = 1 / 320


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """What the calls return, all begun together, each in its own thread."""
    gate = threading.Barrier(len(calls))
    answers: list[object] = [None] * len(calls)

    def run(i: int) -> None:
        gate.wait()
        answers[i] = calls[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def evidence() -> cs.Evidence:
    image = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(0))
    return cs.observe(image, PlantedDetector((20, 10, 36, 30), PLANTED), n_passes=48)


def in_new_thread() -> int:
    return at_once([torch.get_num_threads])[0]  # type: ignore[return-value]


def test_targets_of_one_evidence_have_the_same_bits_as_alone() -> None:
    seen = evidence()
    boxes = [[18.0 + i, 8.0 + i, 34.0 + i, 28.0 + i] for i in range(N)]
    alone = [evidence().explain([box]).saliency for box in boxes]
    before, of_new = torch.get_num_threads(), in_new_thread()
    together = at_once([lambda box=box: seen.explain([box]).saliency for box in boxes])
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert (torch.get_num_threads(), in_new_thread()) == (before, of_new)


def test_the_memo_may_be_replaced_while_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = evidence()
    first, second = [18.0, 8.0, 34.0, 28.0], [22.0, 12.0, 38.0, 32.0]
    alone = seen.explain([first]).saliency
    estimate = estimators.estimate

    def another_comes_in_between(*args: object) -> object:
        monkeypatch.setattr(estimators, "estimate", estimate)
        at_once([lambda: seen.explain([second])])
        return estimate(*args)  # type: ignore[arg-type]

    seen = evidence()
    monkeypatch.setattr(estimators, "estimate", another_comes_in_between)
    assert torch.equal(seen.explain([first]).saliency, alone)


def test_one_thread_is_of_this_thread_alone_nested_and_overlapping() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    inside, leave = threading.Event(), threading.Event()
    seen: list[int] = []

    def holds() -> None:
        with one_thread():
            inside.set()
            leave.wait()
        seen.append(torch.get_num_threads())

    try:
        holder = threading.Thread(target=holds)
        holder.start()
        inside.wait()
        assert torch.get_num_threads() == in_new_thread() == 3
        with one_thread():
            with one_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
            leave.set()  # the other ends while this one goes on
            holder.join()
            assert torch.get_num_threads() == 1
            assert in_new_thread() == 3
        assert torch.get_num_threads() == in_new_thread() == 3
        assert seen == [3]
    finally:
        leave.set()
        torch.set_num_threads(before)


def test_warnings_limits_and_stdout_are_as_before(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "painting.png")
    found = [cs.Proposals(boxes=[[4, 4, 20, 24]], scores=[0.9])] * 2
    truth = [Truth(boxes=[[4, 4, 20, 24]])] * 2

    def work() -> None:
        for _ in range(5):
            cs.read_image(tmp_path / "painting.png", max_pixels=10**9)
            average_precision(found, truth)

    filters, limit, stdout = list(warnings.filters), Image.MAX_IMAGE_PIXELS, sys.stdout
    at_once([work] * N)
    assert list(warnings.filters) == filters
    assert limit == Image.MAX_IMAGE_PIXELS
    assert sys.stdout is stdout
