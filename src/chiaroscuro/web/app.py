"""What starts at once: the page, its files, who may come in. Everything else loads meanwhile."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from chiaroscuro._version import __version__
from chiaroscuro.web.guard import Guard, same

COOKIE = "chiaroscuro"
STATIC = Path(__file__).parent / "static"
_MAX_VISITORS = 1000  # cookies that are known; the oldest go


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkbenchSettings:
    """How the workbench is run.

    Attributes:
        host: address that is listened on.
        names: further names under which it may be asked for.
        password: asked of every visitor; empty for none.
        detectors: that can be chosen, the first two first.
        runs: run folders of ``study`` that can be browsed.
        device: where detectors run.
        max_upload_bytes: of a picture's file.
        max_pixels: of a picture.
        max_side: longer side to which pictures are reduced.
    """

    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    password: str = ""
    detectors: tuple[str, ...] = ("centerface", "retinaface", "retinaface-paintings")
    runs: tuple[str, ...] = ()
    device: str = "auto"
    max_upload_bytes: int = 64 * 2**20
    max_pixels: int = 100_000_000
    max_side: int = 1280


def make_app(settings: WorkbenchSettings) -> ASGIApp:
    """The workbench as an ASGI application.

    The page is served at once; torch and the detectors' packages load in a thread meanwhile.
    """
    answers = _Answers(settings)
    visitors = _Visitors()
    pages = Environment(loader=PackageLoader("chiaroscuro.web"), autoescape=True)

    async def page(request: Request) -> Response:
        known = visitors.known(request)
        name = "workbench.html" if known or not settings.password else "door.html"
        html = pages.get_template(name).render(version=__version__, wrong=False)
        response = HTMLResponse(html)
        if not known and not settings.password:
            visitors.let_in(response)
        return response

    async def enter(request: Request) -> Response:
        body = await request.body() if _small(request) else b""
        given = dict(_pairs(body)).get("password", "")
        if not settings.password or not same(given, settings.password):
            await asyncio.sleep(1)  # a guess a second
            html = pages.get_template("door.html").render(version=__version__, wrong=True)
            return HTMLResponse(html, 403)
        response = RedirectResponse("/", 303)
        visitors.let_in(response)
        return response

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(answers.load())
        yield
        loading.cancel()
        answers.close()

    return Starlette(
        routes=[
            Route("/", page),
            Route("/enter", enter, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
            Mount("/", visitors.only(answers)),
        ],
        middleware=[Middleware(Guard, host=settings.host, names=settings.names)],
        lifespan=life,
    )


class _Answers:
    """The views, which bring torch: loaded in a thread, waited for by the first who asks."""

    def __init__(self, settings: WorkbenchSettings) -> None:
        self._settings = settings
        self._views: Any = None
        self._app: ASGIApp | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> ASGIApp:
        async with self._lock:
            if self._app is None:
                views = await asyncio.to_thread(_import_views)
                of = self._settings
                self._views = views(
                    of.detectors,
                    of.runs,
                    of.device,
                    of.max_upload_bytes,
                    of.max_pixels,
                    of.max_side,
                )
                self._app = self._views.app()
            return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = await self.load()
        await app(scope, receive, send)

    def close(self) -> None:
        if self._views is not None:
            self._views.close()


class _Visitors:
    """Cookies that were given out."""

    def __init__(self) -> None:
        self._cookies: dict[str, None] = {}

    def known(self, request: Request) -> bool:
        return request.cookies.get(COOKIE, "") in self._cookies

    def let_in(self, response: Response) -> None:
        cookie = secrets.token_urlsafe(24)
        self._cookies[cookie] = None
        while len(self._cookies) > _MAX_VISITORS:
            del self._cookies[next(iter(self._cookies))]
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/")

    def only(self, app: ASGIApp) -> ASGIApp:
        """An application for those who were let in; it finds the visitor in the scope."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return
            request = Request(scope)
            if not self.known(request):
                sentence = "Open the workbench's page first, or again: it was started anew."
                await JSONResponse({"error": sentence}, 401)(scope, receive, send)
                return
            inner = {**scope, "chiaroscuro.session": request.cookies[COOKIE]}
            await app(inner, receive, send)

        return guarded


def _import_views() -> Callable[..., Any]:
    from chiaroscuro.web.views import Views

    return Views


def _small(request: Request) -> bool:
    stated = request.headers.get("content-length", "")
    return stated.isdecimal() and int(stated) <= 4096


def _pairs(body: bytes) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(body.decode("utf-8", "replace"))
