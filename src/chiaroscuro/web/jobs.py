"""One run at a time: a queue in front of the detectors, progress to any number of listeners.

A job's state is one JSON object with a version. A listener gets the newest state whenever it has
not seen it: nothing piles up, a page that was cut off goes on with the present, and a second tab
sees what the first one sees.
"""

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from chiaroscuro.core.errors import ChiaroscuroError

GRACE_S = 10.0  # how long a job goes on without a listener
FINISHED = ("done", "stopped", "failed")
_KEPT = 50  # finished jobs that can still be asked for


class Stopped(Exception):  # noqa: N818  (no error: a wish)
    """Raised in a job's work once it is asked to stop."""


class Job:
    """A piece of work and its state.

    Attributes:
        id: unguessable.
        owner: the session that asked.
        work: called in the worker's thread with this job; says ``update``, looks at ``stopping``.
        asked: what a page that comes later must know to show it, as plain JSON values.
        stopping: whether it was asked to stop.
    """

    def __init__(
        self,
        number: str,
        owner: str,
        work: Callable[["Job"], None],
        asked: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.id, self.owner, self.work, self.asked = number, owner, work, asked
        self.stopping = threading.Event()
        self._loop = loop
        self._lock = threading.Lock()
        self._version, self._state = 1, {"state": "queued", "ahead": 0}
        self._news = asyncio.Condition()
        self._listeners = 0
        self._alone: asyncio.TimerHandle | None = None

    @property
    def state(self) -> dict[str, Any]:
        """What listeners are told."""
        return self._state

    @property
    def finished(self) -> bool:
        """Whether nothing more will change."""
        return self._state["state"] in FINISHED

    def update(self, **values: Any) -> None:
        """Change the state, from any thread."""
        with self._lock:
            self._state = {**self._state, **values}
            self._version += 1
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._tell()))

    def check(self) -> None:
        """Raise ``Stopped`` if the job was asked to stop."""
        if self.stopping.is_set():
            raise Stopped

    def stop(self) -> None:
        """Ask the job to stop; it does between two batches."""
        self.stopping.set()

    async def listen(self, seen: int = 0) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """Versions and states, the newest at once, until the job is finished."""
        self._listeners += 1
        if self._alone is not None:
            self._alone.cancel()
        try:
            while True:
                with self._lock:
                    version, state = self._version, self._state
                if version > seen:
                    seen = version
                    yield version, state
                if state["state"] in FINISHED:
                    return
                async with self._news:
                    while self._version <= seen:
                        await self._news.wait()
        finally:
            self._listeners -= 1
            self.leave_alone()

    def leave_alone(self) -> None:
        """Stop the job after a while, unless somebody listens by then."""
        if self._listeners == 0 and not self.finished:
            self._alone = self._loop.call_later(GRACE_S, self._nobody)

    def _nobody(self) -> None:
        if self._listeners == 0:
            self.stop()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


class Jobs:
    """The queue, and the thread that works it off."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._known: dict[str, Job] = {}
        self._ready = threading.Condition()
        self._closing = False
        self._running: Job | None = None
        self._thread = threading.Thread(target=self._work, name="workbench", daemon=True)
        self._thread.start()

    def add(self, job: Job) -> None:
        """Put a job at the end of the queue."""
        with self._ready:
            for number in [n for n, j in self._known.items() if j.finished][:-_KEPT]:
                del self._known[number]
            self._known[job.id] = job
            self._waiting.append(job)
            self._count()
            self._ready.notify()
        job.leave_alone()

    def get(self, number: str, owner: str) -> Job | None:
        """A job of that session, None if it has none of that number."""
        job = self._known.get(number)
        return job if job is not None and job.owner == owner else None

    def stop_all(self, owner: str | None = None) -> None:
        """Ask all jobs of a session, or of everybody, to stop."""
        for job in list(self._known.values()):
            if owner is None or job.owner == owner:
                job.stop()

    def current(self, owner: str) -> Job | None:
        """The job of that session that waits or runs."""
        unfinished = (j for j in list(self._known.values()) if j.owner == owner and not j.finished)
        return next(unfinished, None)

    def close(self) -> None:
        """Stop everything and wait for the batch under way."""
        self.stop_all()
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join(timeout=30)

    def _work(self) -> None:
        while True:
            with self._ready:
                while not self._waiting and not self._closing:
                    self._ready.wait()
                if not self._waiting:
                    return
                job = self._running = self._waiting.popleft()
                self._count()
            _run(job)
            with self._ready:
                self._running = None

    def _count(self) -> None:
        running = int(self._running is not None and not self._running.finished)
        for ahead, job in enumerate(self._waiting):
            job.update(ahead=ahead + running)


def _run(job: Job) -> None:
    """Work a job off; whatever happens, its state says so and the queue goes on."""
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
        job.update(state="failed", error=f"Something broke: {type(error).__name__}: {error}")
