"""The server: uvicorn on one socket, its address said as soon as it listens."""

import contextlib
import socket
import webbrowser
from collections.abc import Callable

import uvicorn

from chiaroscuro.core.errors import InputError
from chiaroscuro.web.app import WorkbenchSettings, make_app


def serve(
    settings: WorkbenchSettings,
    port: int,
    *,
    open_browser: bool,
    tell: Callable[[str], None],
) -> None:
    """Serve the workbench until Ctrl-C.

    Args:
        settings: how it is run.
        port: 0 takes a free one.
        open_browser: whether the page is opened.
        tell: gets the sentence that names the address.

    Raises:
        InputError: if the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"{settings.host}:{port} cannot be listened on ({error.strerror}); another workbench "
            "may be running there: choose another --port, or 0 for a free one"
        ) from error
    host = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
    address = f"http://{host}:{listening.getsockname()[1]}/"
    config = uvicorn.Config(
        make_app(settings),
        log_level="warning",
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    tell(f"The workbench is open at {address} (Ctrl-C closes it)")
    if open_browser:
        webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
