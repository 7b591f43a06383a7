"""The workbench as an ASGI application: the page, login and errors; starts without torch."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from anyio.to_thread import current_default_thread_limiter
from cachetools import LRUCache
from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from chiaroscuro._version import __version__
from chiaroscuro.core.errors import ChiaroscuroError
from chiaroscuro.web.guard import COOKIE, Guard, same
from chiaroscuro.web.settings import WorkbenchSettings

if TYPE_CHECKING:
    from chiaroscuro.web.workbench import Workbench

__all__ = ["WorkbenchSettings", "make_app"]

_STATIC = Path(__file__).parent / "static"
_MAX_COOKIES = 1000
_FORM_BYTES = 4096
_THREADS = 8  # requests that compute at once, which bounds the memory for maps
_PAGES = Environment(loader=PackageLoader("chiaroscuro.web"), autoescape=True)


def make_app(settings: WorkbenchSettings) -> ASGIApp:
    """The workbench as an ASGI application.

    The page is served at once; torch and the detectors' packages load in a thread meanwhile.
    """
    login = _Login(settings.password)
    api = _Api(settings, login)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = _THREADS
        loading = asyncio.create_task(api.load())
        yield
        loading.cancel()
        api.close()

    return Starlette(
        routes=[
            Route("/", login.page),
            Route("/enter", login.enter, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_STATIC)),
            Mount("/", api),
        ],
        middleware=[Middleware(Guard, host=settings.host, names=settings.names)],
        exception_handlers={
            HTTPException: _error,
            ChiaroscuroError: _error,
            ClientDisconnect: _error,
        },
        lifespan=lifespan,
    )


async def _error(_: Request, error: Exception) -> Response:
    """Every error that a request causes is a sentence under ``error``."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
    return JSONResponse({"error": str(error)}, 400)


class _Login:
    """The page, or the login form before it; the cookies that were given out."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._cookies: LRUCache[str, bool] = LRUCache(_MAX_COOKIES)

    def known(self, request: Request) -> bool:
        return self._cookies.get(request.cookies.get(COOKIE, ""), False)

    async def page(self, request: Request) -> Response:
        known = self.known(request)
        response = _html("workbench.html" if known or not self._password else "login.html")
        if not known and not self._password:
            self._admit(response)
        return response

    async def enter(self, request: Request) -> Response:
        length = request.headers.get("content-length", "")
        small = length.isdecimal() and int(length) <= _FORM_BYTES
        form = (await request.body()).decode("utf-8", "replace") if small else ""
        given = dict(parse_qsl(form)).get("password", "")
        if not self._password or not same(given, self._password):
            await asyncio.sleep(1)  # slows down guessing
            return _html("login.html", status=403, wrong=True)
        response = RedirectResponse("/", 303)
        self._admit(response)
        return response

    def _admit(self, response: Response) -> None:
        cookie = secrets.token_urlsafe(24)
        self._cookies[cookie] = True
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", path="/")


class _Api:
    """The API, which imports torch: loaded in a thread, awaited by the first request."""

    def __init__(self, settings: WorkbenchSettings, login: _Login) -> None:
        self._settings, self._login = settings, login
        self._loaded: tuple[Workbench, Router] | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> "tuple[Workbench, Router]":
        async with self._lock:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(_load, self._settings)
            return self._loaded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if not self._login.known(Request(scope)):
            raise HTTPException(401, "This page is not logged in. Load it again.")
        workbench, router = await self.load()
        scope["app"].state.workbench = workbench
        await router(scope, receive, send)

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded[0].close()


def _load(settings: WorkbenchSettings) -> "tuple[Workbench, Router]":
    from chiaroscuro.web.api import ROUTES
    from chiaroscuro.web.workbench import Workbench

    return Workbench(settings), Router(ROUTES)


def _html(name: str, status: int = 200, **values: object) -> Response:
    return HTMLResponse(_PAGES.get_template(name).render(version=__version__, **values), status)
