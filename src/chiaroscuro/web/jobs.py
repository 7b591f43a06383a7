"""One run at a time: a queue for the detectors, and progress for any number of listeners.

A job's state is one JSON object with a version. A listener gets the newest state that it has not
seen yet: nothing piles up, a page that lost its connection resumes with the current state, and
two tabs show the same.
"""

import asyncio
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cachetools import TTLCache

from chiaroscuro.core.errors import ChiaroscuroError
from chiaroscuro.evidence.evidence import Evidence

GRACE_S = 10.0  # how long a job runs without a listener
FINISHED = ("done", "stopped", "failed")
_KEPT, _KEPT_S = 50, 3600.0  # finished jobs whose state is kept, and for how long


class Stopped(Exception):  # noqa: N818  (a request, not an error)
    """Raised in a job's work once it is to stop; ``observe`` attaches its evidence so far."""

    evidence: Evidence | None = None


class Job:
    """A piece of work and its state.

    Args:
        number: unguessable.
        owner: id of the session that started it.
        work: called in the worker thread with this job; calls ``update`` and ``check``.
        request: what another page needs to show the job, as plain JSON values.
    """

    def __init__(
        self, number: str, owner: str, work: Callable[["Job"], None], request: dict[str, Any]
    ) -> None:
        self.id, self.owner, self.work, self.request = number, owner, work, request
        self.state: dict[str, Any] = {"state": "queued", "ahead": 0}
        self._version = 1
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Condition()
        self._listeners = 0
        self._grace: asyncio.TimerHandle | None = None

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self.state["state"] in FINISHED

    def update(self, **values: Any) -> None:
        """Change the state, from any thread."""
        with self._lock:
            self.state = {**self.state, **values}
            self._version += 1
        asyncio.run_coroutine_threadsafe(self._notify(), self._loop)

    def check(self) -> None:
        """Raise ``Stopped`` if the job is to stop."""
        if self._stopping.is_set():
            raise Stopped

    def stop(self) -> None:
        """Let the job stop after the batch under way."""
        self._stopping.set()

    async def listen(self, seen: int = 0) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """Versions and states newer than ``seen``, until the job is finished."""
        self._listeners += 1
        if self._grace is not None:
            self._grace.cancel()
        try:
            while True:
                with self._lock:
                    version, state = self._version, self.state
                if version > seen:
                    seen = version
                    yield version, state
                if state["state"] in FINISHED:
                    return
                async with self._changed:
                    while self._version <= seen:
                        await self._changed.wait()
        finally:
            self._listeners -= 1
            self.stop_unless_heard()

    def stop_unless_heard(self) -> None:
        """Stop the job after ``GRACE_S`` seconds without a listener."""
        if self._listeners == 0 and not self.finished:
            self._grace = self._loop.call_later(GRACE_S, self._end_grace)

    def _end_grace(self) -> None:
        if self._listeners == 0:
            self.stop()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Jobs:
    """The queue, and the thread that runs one job at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="workbench")
        self._unfinished: dict[str, Job] = {}  # in the order of the queue, the running one first
        self._finished: TTLCache[str, Job] = TTLCache(_KEPT, _KEPT_S)
        self._lock = threading.Lock()

    def add(self, job: Job) -> None:
        """Put a job at the end of the queue."""
        with self._lock:
            self._unfinished[job.id] = job
            self._count()
            self._thread.submit(self._run, job)
        job.stop_unless_heard()

    def get(self, number: str, owner: str) -> Job | None:
        """A job of that session; None if it has none of that number."""
        with self._lock:
            job = self._unfinished.get(number) or self._finished.get(number)
        return job if job is not None and job.owner == owner else None

    def current(self, owner: str) -> Job | None:
        """The job of that session that waits or runs."""
        return next((job for job in self._active() if job.owner == owner), None)

    def stop_all(self, owner: str | None = None) -> None:
        """Stop all jobs of a session, or of all sessions."""
        for job in self._active():
            if owner is None or job.owner == owner:
                job.stop()

    def close(self) -> None:
        """Stop everything and wait for the batch under way."""
        self.stop_all()
        self._thread.shutdown()

    def _active(self) -> list[Job]:
        with self._lock:
            return [job for job in self._unfinished.values() if not job.finished]

    def _run(self, job: Job) -> None:
        _work(job)
        with self._lock:
            self._finished[job.id] = self._unfinished.pop(job.id)
            self._count()

    def _count(self) -> None:
        active = (job for job in self._unfinished.values() if not job.finished)
        for ahead, job in enumerate(active):
            if job.state["state"] == "queued" and job.state["ahead"] != ahead:
                job.update(ahead=ahead)


def _work(job: Job) -> None:
    """Run a job; its state reports whatever happens, and the queue stays alive."""
    try:
        job.check()
        job.update(state="running", ahead=0)
        job.work(job)
        job.update(state="done")
    except Stopped:
        job.update(state="stopped")
    except ChiaroscuroError as error:
        job.update(state="failed", error=str(error))
    except Exception as error:
        traceback.print_exc()
        job.update(state="failed", error=f"Unexpected {type(error).__name__}: {error}")
