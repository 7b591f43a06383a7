"""What belongs to the whole process, changed for a moment without harm to other threads."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

PROCESS_WIDE = threading.RLock()
"""Held while the warnings filters, ``sys.stdout`` or Pillow's limits are others than the user's."""

_COUNT = threading.RLock()
_T = TypeVar("_T")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread in this thread: sums in one order give the same bits.

    Torch keeps a count for every thread, and one more that threads begin with. Setting the first
    sets the second too, so that is put back at once by a thread that ends there: other threads
    never see a change, also where these blocks overlap or are nested.
    """
    before = torch.get_num_threads()
    _set_here(1)
    try:
        yield
    finally:
        _set_here(before)


def _set_here(count: int) -> None:
    with _COUNT:
        of_new_threads = _elsewhere(torch.get_num_threads)
        torch.set_num_threads(count)
        _elsewhere(lambda: torch.set_num_threads(of_new_threads))


def _elsewhere(call: Callable[[], _T]) -> _T:
    """What a call returns in a thread of its own."""
    answers: list[_T] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join()
    return answers[0]
