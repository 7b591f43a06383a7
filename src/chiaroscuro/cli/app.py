"""``chiaroscuro app``."""

from pathlib import Path
from typing import Annotated

import typer

from chiaroscuro.cli.console import note
from chiaroscuro.cli.options import command


@command
def app(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders of study, to browse in it."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    password: Annotated[
        str,
        typer.Option(
            envvar="CHIAROSCURO_PASSWORD", help="Every user has to enter it.", show_default=False
        ),
    ] = "",
    name: Annotated[
        list[str] | None,
        typer.Option(help="A further host name that it is reached under; may be repeated."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option("--detector", "-d", help="A further detector to choose; may be repeated."),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    max_upload: Annotated[int, typer.Option(min=1, help="Megabytes of a picture's file.")] = 64,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
) -> None:
    """Open the workbench: drop a painting in, click a face, watch its map form.

    Runs on this machine alone, needs no network, and keeps nothing on disk. End it with Ctrl-C.
    """
    _check_installed()
    from chiaroscuro.web.guard import is_loopback
    from chiaroscuro.web.serve import serve
    from chiaroscuro.web.settings import WorkbenchSettings

    if not is_loopback(host) and not password:
        raise typer.BadParameter(
            f"{host} can be reached from other machines; give a --password with it, or set "
            "CHIAROSCURO_PASSWORD",
            param_hint="--host",
        )
    for run in runs or ():
        if not (run / "run.json").is_file():
            raise typer.BadParameter(
                f"{run} is no run folder: wanted the --out of chiaroscuro study", param_hint="RUN"
            )
    settings = WorkbenchSettings(
        host=host,
        names=tuple(name or ()),
        password=password,
        detectors=(*WorkbenchSettings().detectors, *(detector or ())),
        runs=tuple(str(run) for run in runs or ()),
        device=device,
        max_upload_bytes=max_upload * 2**20,
    )
    serve(settings, port, open_browser=browser, report=lambda text: print(text, flush=True))
    note("closed")


def _check_installed() -> None:
    from chiaroscuro.core.errors import MissingDependencyError
    from chiaroscuro.core.install import install_hint

    try:
        import chiaroscuro.web.serve  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the workbench needs the package {error.name}; {install_hint('app')}"
        ) from error
