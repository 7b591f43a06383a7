"""Addresses to calls: what the page asks, answered by a visitor's desk.

Loaded after the first paint, because it brings torch. Every answer is JSON, a picture or a file;
every mistake is a sentence with status 400 or more, under ``error``.
"""

import asyncio
import io
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chiaroscuro.core.errors import ChiaroscuroError, InputError, MissingDependencyError
from chiaroscuro.core.records import Target
from chiaroscuro.data.samples import SamplePainting, met_faces, sample_painting
from chiaroscuro.detectors.registry import describe_sources
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.figures import colours, legends
from chiaroscuro.figures.look import Look
from chiaroscuro.figures.overlay import pixels
from chiaroscuro.images.read import read_image, shrink
from chiaroscuro.metrics.difference import MapDifference
from chiaroscuro.results.explaining import Picture
from chiaroscuro.store.bundle import parse_json
from chiaroscuro.web import layers
from chiaroscuro.web.desk import MAX_MASKS, Desk, Detectors, Maps, read_target
from chiaroscuro.web.jobs import Job, Jobs
from chiaroscuro.web.runs import Runs
from chiaroscuro.web.sessions import Session, Sessions
from chiaroscuro.web.takeaway import FILES, take

_THUMBNAIL_PX = 260
_JSON_BYTES = 64_000
_WAITING = 2  # jobs of one visitor that may wait or run
_LATELY = 4  # pictures of live answers that are computed at once, over all visitors


class Refused(Exception):  # noqa: N818  (an answer, with its status)
    """A request that is answered with a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Views:
    """The answers.

    Args:
        detectors: names that can be chosen.
        runs: run folders of ``study`` that can be browsed.
        device: where detectors run.
        max_upload_bytes: of a picture's file.
        max_pixels: of a picture.
        max_side: longer side to which pictures are reduced.
    """

    def __init__(
        self,
        detectors: tuple[str, ...],
        runs: tuple[str, ...],
        device: str,
        max_upload_bytes: int,
        max_pixels: int,
        max_side: int,
    ) -> None:
        self._detectors, self._runs = Detectors(detectors, device), Runs(runs)
        self._limits = {
            "upload_bytes": max_upload_bytes,
            "pixels": max_pixels,
            "side": max_side,
            "masks": MAX_MASKS,
        }
        self._maps = Maps()
        self._jobs = Jobs()
        self._sessions: Sessions[Desk] = Sessions(self._jobs.stop_all)
        self._turn = asyncio.Semaphore(_LATELY)

    def close(self) -> None:
        """Stop all jobs."""
        self._jobs.close()

    def app(self) -> Starlette:
        """The routes."""
        answers: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/api/start", self.start),
            ("GET", "/api/samples/{sample:int}.jpg", self.sample_thumbnail),
            ("POST", "/api/pictures", self.add_picture),
            ("GET", "/api/pictures/{picture}", self.on_the_desk),
            ("GET", "/api/pictures/{picture}/picture.jpg", self.picture),
            ("POST", "/api/pictures/{picture}/faces", self.faces),
            ("POST", "/api/pictures/{picture}/jobs", self.add_job),
            ("POST", "/api/pictures/{picture}/explain", self.explain),
            ("GET", "/api/pictures/{picture}/map.png", self.map),
            ("GET", "/api/pictures/{picture}/map.json", self.map_legend),
            ("GET", "/api/pictures/{picture}/difference.png", self.difference),
            ("GET", "/api/pictures/{picture}/difference.json", self.difference_legend),
            ("GET", "/api/pictures/{picture}/changed.jpg", self.changed),
            ("POST", "/api/pictures/{picture}/live", self.live),
            ("GET", "/api/pictures/{picture}/take/{name}", self.take),
            ("GET", "/api/jobs/{job}/events", self.events),
            ("POST", "/api/jobs/{job}/stop", self.stop),
            ("GET", "/api/runs/{run:int}", self.run),
            ("GET", "/api/runs/{run:int}/{picture}/{target:int}.jpg", self.run_card),
        ]
        routes = [Route(path, _told(answer), methods=[method]) for method, path, answer in answers]
        return Starlette(routes=routes)

    async def start(self, request: Request) -> Response:
        """What can be chosen."""
        return JSONResponse(
            {
                "detectors": await asyncio.to_thread(self._choices),
                "samples": [
                    {
                        "id": one.id,
                        "title": one.title,
                        "painter": one.painter,
                        "date": one.date,
                        "tenebrist": one.tenebrist,
                    }
                    for one in await asyncio.to_thread(_samples)
                ],
                "runs": self._runs.names(),
                "limits": self._limits,
                "colours": list(colours.names()),
            }
        )

    async def sample_thumbnail(self, request: Request) -> Response:
        """A sample painting, small."""
        content = await asyncio.to_thread(_thumbnail, request.path_params["sample"])
        return Response(
            content, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"}
        )

    async def add_picture(self, request: Request) -> Response:
        """A painting on the desk: the body is its file, or JSON that names a sample."""
        if request.headers.get("content-type", "").startswith("application/json"):
            asked = await _json(request)
            sample = await asyncio.to_thread(_sample, asked.get("sample"))
            content, title, source = sample.path.read_bytes(), sample.title, str(sample.path.name)
        else:
            content = await _body(request, self._limits["upload_bytes"])
            source = Path(request.query_params.get("name", "") or "picture").name[:200]
            title = Path(source).stem
        desk = await asyncio.to_thread(self._desk_for, content, title, source)
        number = self._session(request).add(desk)
        return JSONResponse(self._told_of(number, desk), 201)

    async def on_the_desk(self, request: Request) -> Response:
        """A painting and what is known of it: for a page that is loaded again, or a second one."""
        number, session = request.path_params["picture"], self._session(request)
        told = self._told_of(number, self._desk(request))
        job = self._jobs.current(session.id)
        if job is not None and job.asked["picture"] == number:
            told["job"] = {"id": job.id, **job.asked}
        return JSONResponse(told)

    async def picture(self, request: Request) -> Response:
        """The painting as it is explained."""
        image = self._desk(request).picture.image
        content = await asyncio.to_thread(layers.jpeg, pixels(image))
        return Response(content, media_type="image/jpeg", headers=_KEEP)

    async def faces(self, request: Request) -> Response:
        """What a detector finds in the whole painting."""
        desk, asked = self._desk(request), await _json(request)
        async with self._turn:
            found = await asyncio.to_thread(desk.faces, str(asked.get("detector")))
        rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
        return JSONResponse(
            {
                "faces": [
                    {"box": box, "score": score, "label": label, "origin": "found"}
                    for box, score, label in rows
                ]
            }
        )

    async def add_job(self, request: Request) -> Response:
        """Start watching a detector, or measuring curves; goes to the end of the queue."""
        desk, asked = self._desk(request), await _json(request)
        session = self._session(request)
        if self._jobs.current(session.id) is not None:
            raise Refused(409, "Something is running already; stop it, or wait until it is done.")
        if asked.get("kind") == "curves":
            name, targets = str(asked.get("detector")), _targets([asked.get("target")])
            desk.watched(name)
            names, work = [name], desk.curves(name, targets[0])
        else:
            names = self._names(asked)
            targets = _targets(asked.get("targets"))
            height, width = desk.picture.image.shape[1:]
            targets = [target.inside(height, width) for target in targets]
            work = desk.watch(names, targets, _n_masks(asked), _whole(asked, "seed", 0))
        told = {
            "picture": request.path_params["picture"],
            "kind": "curves" if asked.get("kind") == "curves" else "explain",
            "detectors": names,
            "targets": [target.describe() for target in targets],
        }
        job = Job(secrets.token_urlsafe(12), session.id, work, told, asyncio.get_running_loop())
        self._jobs.add(job)
        return JSONResponse({"job": job.id}, 202)

    async def explain(self, request: Request) -> Response:
        """Other boxes from the evidence there is: no detector pass."""
        desk, asked = self._desk(request), await _json(request)
        names, targets = self._names(asked), _targets(asked.get("targets"))

        def answers() -> dict[str, Any]:
            return {name: [desk.answer(name, target) for target in targets] for name in names}

        async with self._turn:
            return JSONResponse({"answers": await asyncio.to_thread(answers)})

    async def map(self, request: Request) -> Response:
        """A map as a layer over the painting."""

        def make() -> bytes:
            explanation, scale = self._mapped(request)
            return layers.map_layer(explanation.saliency[0], explanation.standard_error[0], scale)

        return Response(await asyncio.to_thread(make), media_type="image/png")

    async def map_legend(self, request: Request) -> Response:
        """What the colours of the same layer mean: its scale, in numbers and words."""

        def make() -> dict[str, Any]:
            explanation, scale = self._mapped(request)
            return legends.map_legend(scale, explanation)

        return JSONResponse(await asyncio.to_thread(make))

    async def difference(self, request: Request) -> Response:
        """The difference of two detectors' maps as a layer over the painting."""

        def make() -> bytes:
            return layers.difference_layer(self._differing(request)[0])

        return Response(await asyncio.to_thread(make), media_type="image/png")

    async def difference_legend(self, request: Request) -> Response:
        """What the colours of the same layer mean."""

        def make() -> dict[str, Any]:
            difference, names = self._differing(request)
            return legends.difference_legend(difference, names)

        return JSONResponse(await asyncio.to_thread(make))

    def _mapped(self, request: Request) -> tuple[Explanation, colours.Scale]:
        """The map of an address, and its scale."""
        asked = request.query_params
        look = _look(asked)
        explanation = self._desk(request).explain(asked.get("detector", ""), _target_of(asked))
        return explanation, look.scale(explanation.saliency[0], explanation.standard_error[0])

    def _differing(self, request: Request) -> tuple[MapDifference, list[str]]:
        """The difference of an address, and the detectors' names."""
        asked = request.query_params
        names = asked.get("detectors", "").split(",")
        if len(names) != 2:
            raise Refused(400, "A difference is of two detectors.")
        return self._desk(request).difference(names, _target_of(asked)), names

    async def changed(self, request: Request) -> Response:
        """The painting with its most salient pixels put in or hidden."""
        desk, asked = self._desk(request), request.query_params
        target = _target_of(asked)

        def make() -> bytes:
            image = desk.changed(
                asked.get("detector", ""),
                target,
                _direction(asked.get("direction")),
                _number(asked.get("share", "0"), "share"),
            )
            return layers.jpeg(pixels(image))

        async with self._turn:
            return Response(await asyncio.to_thread(make), media_type="image/jpeg")

    async def live(self, request: Request) -> Response:
        """What the detector answers to that painting."""
        desk, asked = self._desk(request), await _json(request)
        name, target = str(asked.get("detector")), _targets([asked.get("target")])[0]
        direction = _direction(asked.get("direction"))
        share = _number(asked.get("share", 0), "share")

        def make() -> dict[str, Any]:
            return desk.live(name, target, desk.changed(name, target, direction, share))

        async with self._turn:
            return JSONResponse(await asyncio.to_thread(make))

    async def take(self, request: Request) -> Response:
        """A file to take away."""
        desk, asked = self._desk(request), request.query_params
        name = request.path_params["name"]
        if name not in FILES:
            raise Refused(404, f"There is no file {name}; there are {', '.join(FILES)}.")
        names = self._names({"detectors": asked.get("detectors", "").split(",")})
        try:
            targets = _targets(parse_json(asked.get("targets", "[]")))
        except InputError as error:
            raise Refused(400, "targets: wanted JSON.") from error
        content = await asyncio.to_thread(take, name, desk, names, targets, _look(asked))
        stem = Path(desk.picture.source).stem or "picture"
        ascii_stem = "".join(c if c.isalnum() and c.isascii() else "-" for c in stem)
        disposition = f'attachment; filename="{ascii_stem}-{name}"'
        return Response(
            content, media_type=FILES[name], headers={"content-disposition": disposition}
        )

    async def events(self, request: Request) -> Response:
        """The states of a job, the newest first of all; goes on after ``Last-Event-ID``."""
        job = self._job(request)
        seen = request.headers.get("last-event-id", "0")

        async def stream() -> AsyncIterator[dict[str, Any]]:
            async for version, state in job.listen(int(seen) if seen.isdecimal() else 0):
                yield {"id": str(version), "event": "state", "data": json.dumps(state)}

        return EventSourceResponse(stream(), ping=15)

    async def stop(self, request: Request) -> Response:
        """Stop a job; what it has is kept."""
        self._job(request).stop()
        return JSONResponse({})

    async def run(self, request: Request) -> Response:
        """The targets of a run folder."""
        return JSONResponse(await asyncio.to_thread(self._runs.table, request.path_params["run"]))

    async def run_card(self, request: Request) -> Response:
        """One target of a run folder under its map."""
        asked = request.path_params
        content = await asyncio.to_thread(
            self._runs.card, asked["run"], asked["picture"], asked["target"]
        )
        return Response(content, media_type="image/jpeg", headers=_KEEP)

    def _choices(self) -> list[dict[str, Any]]:
        known = {source.name: (source, missing) for source, missing in describe_sources()}
        choices = []
        for name in self._detectors.names:
            source, missing = known.get(name, (None, None))
            choices.append(
                {
                    "name": name,
                    "summary": source.summary if source else "",
                    "missing": missing,
                }
            )
        return choices

    def _desk_for(self, content: bytes, title: str, source: str) -> Desk:
        image = read_image(content, max_pixels=self._limits["pixels"])
        image, scale = shrink(image, self._limits["side"])
        picture = Picture(source=source, image=image, scale=scale, title=title)
        return Desk(picture, self._detectors, self._maps)

    def _told_of(self, number: str, desk: Desk) -> dict[str, Any]:
        height, width = desk.picture.image.shape[1:]
        return {
            "picture": number,
            "title": desk.picture.title,
            "width": width,
            "height": height,
            "scale": desk.picture.scale,
            "watched": desk.watched_by,
            "job": None,
        }

    def _session(self, request: Request) -> Session[Desk]:
        return self._sessions.of(request.scope["chiaroscuro.session"])

    def _desk(self, request: Request) -> Desk:
        desk = self._session(request).desk(request.path_params["picture"])
        if desk is None:
            raise Refused(404, "This painting is no longer on your desk; choose it again.")
        return desk

    def _job(self, request: Request) -> Job:
        job = self._jobs.get(request.path_params["job"], self._session(request).id)
        if job is None:
            raise Refused(404, "This run is not known any more; start it again.")
        return job

    def _names(self, asked: dict[str, Any]) -> list[str]:
        names = asked.get("detectors")
        if not isinstance(names, list) or not 1 <= len(names) <= 2 or names[1:] == names[:1]:
            raise Refused(400, "Choose one detector, or two different ones.")
        unknown = [name for name in names if name not in self._detectors.names]
        if unknown:
            raise Refused(400, f"There is no detector {unknown[0]!r} here.")
        return names


_KEEP = {"cache-control": "private, max-age=3600"}


def _told(
    answer: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """An answer whose errors are sentences."""

    async def told(request: Request) -> Response:
        try:
            return await answer(request)
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except ChiaroscuroError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)

    return told


async def _body(request: Request, limit: int) -> bytes:
    """The request's body; refused as soon as it is too large."""
    stated = request.headers.get("content-length", "0")
    parts = io.BytesIO()
    if not stated.isdecimal() or (len(stated) < 20 and int(stated) <= limit):
        async for part in request.stream():
            parts.write(part)
            if parts.tell() > limit:
                break
        else:
            return parts.getvalue()
    raise Refused(413, f"That is more than {limit / 2**20:z.2g} MB; take a smaller copy.")


async def _json(request: Request) -> dict[str, Any]:
    try:
        value = parse_json(await _body(request, _JSON_BYTES))
    except InputError as error:
        raise Refused(400, "The request is no JSON.") from error
    if not isinstance(value, dict):
        raise Refused(400, "The request is no JSON object.")
    return value


def _targets(values: Any) -> list[Target]:
    if not isinstance(values, list) or not values:
        raise Refused(400, "Choose a face, or draw a box.")
    if len(values) > 24:
        raise Refused(400, "At most 24 boxes are explained at once.")
    return [read_target(value) for value in values]


def _target_of(asked: Any) -> Target:
    box, label = asked.get("box", "").split(","), asked.get("label", "")
    return read_target(
        {"box": box, "label": int(label) if label.isdecimal() and len(label) < 10 else None}
    )


def _n_masks(asked: dict[str, Any]) -> Any:
    wanted = asked.get("n_masks", "auto")
    if wanted == "auto":
        return wanted
    n_masks = _whole(asked, "n_masks", 0)
    if not 10 <= n_masks <= MAX_MASKS:
        raise Refused(400, f"Masks: wanted 10 to {MAX_MASKS}, or auto.")
    return n_masks


def _whole(asked: dict[str, Any], name: str, default: int) -> int:
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise Refused(400, f"{name}: wanted a whole number from 0 on, got {value!r}.")
    return value


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused(400, f"{name}: wanted a number.") from error
    if not 0 <= number <= 1:
        raise Refused(400, f"{name}: wanted a number from 0 to 1, got {number:g}.")
    return number


def _look(asked: Any) -> Look:
    """The colours, sign and threshold of an address; a name that there is none of is refused."""
    return Look(
        colours=asked.get("colours", colours.SIGNED),
        sign=asked.get("sign", "all"),
        threshold=_number(asked.get("threshold", "0"), "threshold"),
    )


def _direction(value: Any) -> Any:
    if value not in ("insertion", "deletion"):
        raise Refused(400, "direction: wanted insertion or deletion.")
    return value


@cache
def _samples() -> tuple[SamplePainting, ...]:
    """The sample paintings, the tenebrist ones first; none where they are not installed."""
    try:
        return tuple(sorted(met_faces(), key=lambda one: not one.tenebrist))
    except MissingDependencyError:
        return ()


def _sample(number: Any) -> SamplePainting:
    if isinstance(number, bool) or not isinstance(number, int):
        raise InputError(f"sample: wanted the number of a painting, got {number!r}")
    return sample_painting(number)


@cache
def _thumbnail(number: int) -> bytes:
    return layers.jpeg(pixels(sample_painting(number).read()), _THUMBNAIL_PX)
