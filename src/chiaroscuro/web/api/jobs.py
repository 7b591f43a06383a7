"""Starting, following and stopping jobs."""

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chiaroscuro.core.plan import Plan
from chiaroscuro.web import work
from chiaroscuro.web.api.requests import read_json
from chiaroscuro.web.bodies import CurvesBody, job_body
from chiaroscuro.web.jobs import Job
from chiaroscuro.web.workbench import job_of, painting_of, session_of, workbench_of


async def add(request: Request) -> Response:
    """Put an observation or a measurement of curves at the end of the queue."""
    painting, body = painting_of(request), job_body(await read_json(request))
    workbench, session = workbench_of(request), session_of(request)
    if workbench.jobs.current(session.id) is not None:
        raise HTTPException(409, "A run is already in progress. Stop it, or wait until it is done.")
    if isinstance(body, CurvesBody):
        painting.evidence(body.detector)
        kind, names, targets = "curves", [body.detector], [body.target]
        task = work.curves(painting, body.detector, body.target)
    else:
        workbench.detectors.check(*body.detectors)
        kind, names = "explain", body.detectors
        height, width = painting.picture.image.shape[1:]
        targets = [target.inside(height, width) for target in body.targets]
        task = work.observation(
            painting,
            names,
            targets,
            Plan(n_passes=body.n_passes, seed=body.seed, windows=False, closeup=True),
        )
    about = {
        "picture": request.path_params["picture"],
        "kind": kind,
        "detectors": names,
        "targets": [target.plain() for target in targets],
    }
    job = Job(secrets.token_urlsafe(12), session.id, task, about)
    workbench.jobs.add(job)
    return JSONResponse({"job": job.id}, 202)


async def events(request: Request) -> Response:
    """The states of a job, the newest first; resumes after ``Last-Event-ID``."""
    job = job_of(request)
    seen = request.headers.get("last-event-id", "0")

    async def stream() -> AsyncIterator[dict[str, Any]]:
        async for version, state in job.listen(int(seen) if seen.isdecimal() else 0):
            yield {"id": str(version), "event": "state", "data": json.dumps(state)}

    return EventSourceResponse(stream(), ping=15)


async def stop(request: Request) -> Response:
    """Stop a job; its evidence so far is kept."""
    job_of(request).stop()
    return JSONResponse({})


ROUTES = [
    Route("/api/pictures/{picture}/jobs", add, methods=["POST"]),
    Route("/api/jobs/{job}/events", events),
    Route("/api/jobs/{job}/stop", stop, methods=["POST"]),
]
