"""What all API calls share, and what a request refers to."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from chiaroscuro.core.errors import MissingDependencyError
from chiaroscuro.data.samples import SamplePainting, met_faces
from chiaroscuro.web.guard import COOKIE
from chiaroscuro.web.jobs import Job, Jobs
from chiaroscuro.web.painting import Detectors, Maps, Painting
from chiaroscuro.web.runs import Runs
from chiaroscuro.web.sessions import Session, Sessions
from chiaroscuro.web.settings import WorkbenchSettings

_AT_ONCE = 4  # live detector passes of all users
T = TypeVar("T")


class Workbench:
    """Detectors, run folders, maps, jobs and sessions.

    Raises:
        BundleError: if a run folder of the settings is none.
    """

    def __init__(self, settings: WorkbenchSettings) -> None:
        self.settings = settings
        self.detectors = Detectors(settings.detectors, settings.device)
        self.runs = Runs(settings.runs)
        self.maps = Maps()
        self.jobs = Jobs()
        self.sessions = Sessions(self.jobs.stop_all)
        self._live = asyncio.Semaphore(_AT_ONCE)

    async def live(self, work: Callable[[], T]) -> T:
        """Run a detector pass in a thread without waiting for the queue, a few at once."""
        async with self._live:
            return await asyncio.to_thread(work)

    def close(self) -> None:
        """Stop all jobs and wait for the batch under way."""
        self.jobs.close()


def workbench_of(request: Request) -> Workbench:
    """The workbench that answers the request."""
    workbench: Workbench = request.app.state.workbench
    return workbench


def session_of(request: Request) -> Session:
    """The session of the request's cookie."""
    return workbench_of(request).sessions.of(request.cookies[COOKIE])


def painting_of(request: Request) -> Painting:
    """The painting that the address names; status 404 if it is no longer kept."""
    sessions, picture = workbench_of(request).sessions, request.path_params["picture"]
    painting = sessions.painting(request.cookies[COOKIE], picture)
    if painting is None:
        raise HTTPException(404, "This painting is no longer in your workspace. Open it again.")
    return painting


def job_of(request: Request) -> Job:
    """The job that the address names; status 404 if it is no longer kept."""
    job = workbench_of(request).jobs.get(request.path_params["job"], session_of(request).id)
    if job is None:
        raise HTTPException(404, "This run is no longer kept. Start it again.")
    return job


@cache
def samples() -> tuple[SamplePainting, ...]:
    """The sample paintings, the tenebrist ones first; none if they are not installed."""
    try:
        return tuple(sorted(met_faces(), key=lambda one: not one.tenebrist))
    except MissingDependencyError:
        return ()
