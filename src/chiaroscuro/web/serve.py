"""The server: uvicorn on one socket; reports its address as soon as it listens."""

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
    report: Callable[[str], None],
) -> None:
    """Serve the workbench until Ctrl-C.

    Args:
        settings: how it is run.
        port: 0 for a free one.
        open_browser: whether to open the page.
        report: called with a sentence that contains the address.

    Raises:
        InputError: if the server cannot listen on the address.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"port: cannot listen on {settings.host}:{port} ({error.strerror}); another workbench "
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
    report(f"The workbench is open at {address} (Ctrl-C closes it)")
    if open_browser:
        webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
