"""Choosing a painting, and the faces in it."""

import asyncio
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chiaroscuro.data.samples import sample_painting
from chiaroscuro.detectors.registry import describe_sources
from chiaroscuro.figures import colours, overlay
from chiaroscuro.figures.encode import jpeg
from chiaroscuro.images.read import read_image
from chiaroscuro.images.resize import shrink
from chiaroscuro.results.picture import Picture
from chiaroscuro.web import layers
from chiaroscuro.web.api.requests import read_body, read_bytes
from chiaroscuro.web.bodies import FacesBody, SampleBody
from chiaroscuro.web.painting import Painting
from chiaroscuro.web.workbench import (
    Workbench,
    painting_of,
    samples,
    session_of,
    workbench_of,
)

_THUMBNAIL_PX = 260


def start(request: Request) -> Response:
    """What can be chosen."""
    workbench = workbench_of(request)
    sources = {source.name: (source.summary, missing) for source, missing in describe_sources()}
    detectors = [(name, *sources.get(name, ("", None))) for name in workbench.detectors.names]
    fields = ("id", "title", "painter", "date", "tenebrist")
    return JSONResponse(
        {
            "detectors": [
                {"name": name, "summary": summary, "missing": missing}
                for name, summary, missing in detectors
            ],
            "samples": [{field: getattr(one, field) for field in fields} for one in samples()],
            "runs": workbench.runs.names(),
            "limits": {"upload_bytes": workbench.settings.max_upload_bytes},
            "colours": list(colours.names()),
        }
    )


def thumbnail(request: Request) -> Response:
    """A sample painting, small."""
    return layers.jpeg_response(_thumbnail(request.path_params["sample"]), max_age_s=86400)


async def add(request: Request) -> Response:
    """Open a painting: the body is its file, or JSON that names a sample."""
    workbench = workbench_of(request)
    if request.headers.get("content-type", "").startswith("application/json"):
        number = (await read_body(request, SampleBody)).sample
        sample = await asyncio.to_thread(sample_painting, number)
        content, title, source = sample.path.read_bytes(), sample.title, sample.path.name
    else:
        content = await read_bytes(request, workbench.settings.max_upload_bytes)
        source = Path(request.query_params.get("name", "") or "picture").name[:200]
        title = Path(source).stem
    painting = await asyncio.to_thread(_opened, workbench, content, title, source)
    picture = secrets.token_urlsafe(9)
    with workbench.sessions.lock:
        session_of(request).paintings[picture] = painting
    return JSONResponse(_described(picture, painting), 201)


def describe(request: Request) -> Response:
    """A painting and what is known about it, for a page that is reloaded or a second one."""
    picture = request.path_params["picture"]
    about = _described(picture, painting_of(request))
    job = workbench_of(request).jobs.current(session_of(request).id)
    if job is not None and job.request["picture"] == picture:
        about["job"] = {"id": job.id, **job.request}
    return JSONResponse(about)


def pixels(request: Request) -> Response:
    """The painting as it is explained."""
    return layers.jpeg_response(jpeg(overlay.pixels(painting_of(request).picture.image)))


async def faces(request: Request) -> Response:
    """What a detector finds in the whole painting."""
    painting, body = painting_of(request), await read_body(request, FacesBody)
    found = await workbench_of(request).live(lambda: painting.faces(body.detector))
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return JSONResponse(
        {
            "faces": [
                {"box": box, "score": score, "label": label, "origin": "found"}
                for box, score, label in rows
            ]
        }
    )


def _opened(workbench: Workbench, content: bytes, title: str, source: str) -> Painting:
    image = read_image(content, max_pixels=workbench.settings.max_pixels)
    image, scale = shrink(image, workbench.settings.max_side)
    picture = Picture(source=source, image=image, scale=scale, title=title)
    return Painting(picture, workbench.detectors, workbench.maps)


def _described(picture: str, painting: Painting) -> dict[str, Any]:
    height, width = painting.picture.image.shape[1:]
    return {
        "picture": picture,
        "title": painting.picture.title,
        "width": width,
        "height": height,
        "scale": painting.picture.scale,
        "observed": list(painting.observed),
        "job": None,
    }


@cache
def _thumbnail(number: int) -> bytes:
    return jpeg(overlay.pixels(sample_painting(number).read()), _THUMBNAIL_PX)


ROUTES = [
    Route("/api/start", start),
    Route("/api/samples/{sample:int}.jpg", thumbnail),
    Route("/api/pictures", add, methods=["POST"]),
    Route("/api/pictures/{picture}", describe),
    Route("/api/pictures/{picture}/picture.jpg", pixels),
    Route("/api/pictures/{picture}/faces", faces, methods=["POST"]),
]
