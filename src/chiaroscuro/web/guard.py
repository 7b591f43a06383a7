"""Who may come in: hosts, origins, a password, and what a page of ours may load.

The workbench runs the detectors of the machine that it runs on. So it listens on the loopback
address unless told otherwise, and then asks for a password; it answers under its own names only
(DNS rebinding), takes orders from its own pages only (cross-site requests), and its pages load
nothing from anywhere else.
"""

import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
    """Middleware that refuses foreign hosts and origins, and sets the headers of every answer.

    Args:
        app: what is guarded.
        host: the address that is listened on.
        names: further names under which the workbench may be asked for.
    """

    def __init__(self, app: ASGIApp, host: str, names: Collection[str] = ()) -> None:
        self._app = app
        self._names = {*LOOPBACK, host, *names}
        self._any_address = host in ("0.0.0.0", "::")  # noqa: S104  (asked for, with a password)

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
                f"The workbench is not known under the name {name!r}. Start it with "
                f"--name {name}, if that is yours."
            )
        if method in _SAFE:
            return ""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "Orders are taken from the workbench's own page only."
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "Orders are taken from the workbench's own page only."
        return ""


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def same(given: str, password: str) -> bool:
    """Compare without telling by the time how much was right."""
    return hmac.compare_digest(given.encode(), password.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
