"""Access control: allowed hosts and origins, response headers, password comparison.

The workbench runs detectors on its own machine. It therefore listens on the loopback address by
default and requires a password on any other. It answers only under its own names (against DNS
rebinding), accepts changes only from its own page (against cross-site requests), and its page
loads nothing from other servers.
"""

import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "chiaroscuro"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Middleware that refuses other hosts and origins, and sets the headers of every answer.

    Args:
        app: the application behind it.
        host: the address that the workbench listens on.
        names: further host names under which the workbench is reached.
    """

    def __init__(self, app: ASGIApp, host: str, names: Collection[str] = ()) -> None:
        self._app = app
        self._names = {*LOOPBACK, host, *names}
        self._any_address = host in ("0.0.0.0", "::")  # noqa: S104  (only with a password)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        reason = self._refuse(scope["method"], headers)
        if reason:
            await PlainTextResponse(reason, 403, headers=_HEADERS)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    sent[name] = value
                sent.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)

    def _refuse(self, method: str, headers: Headers) -> str:
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if name not in self._names and not (self._any_address and _is_address(name)):
            return (
                f"The workbench does not answer under the host name {name!r}. If this name is "
                f"yours, start the workbench with --name {name}."
            )
        if method in _SAFE:
            return ""
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != host
        if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "The workbench accepts changes from its own page only."
        return ""


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def same(given: str, password: str) -> bool:
    """Compare in a time that does not reveal how much is right."""
    return hmac.compare_digest(given.encode(), password.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
