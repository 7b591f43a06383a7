"""The command line: parse, call, show. One file per command; torch loads only when one runs."""

from importlib.metadata import version
from typing import Annotated

import typer

from chiaroscuro.cli.app import app as workbench
from chiaroscuro.cli.compare import compare
from chiaroscuro.cli.demo import demo
from chiaroscuro.cli.detect import detect
from chiaroscuro.cli.detectors import detectors
from chiaroscuro.cli.evaluate import evaluate
from chiaroscuro.cli.explain import explain
from chiaroscuro.cli.stdout import checked_stdout, print_what_cannot_be_encoded
from chiaroscuro.cli.study import study
from chiaroscuro.cli.train import train

app = typer.Typer(
    name="chiaroscuro",
    help="Why did the detector find a face here, see one where there is none, or miss one? "
    "chiaroscuro hides random parts of a painting, watches what the detector still finds, and "
    "draws what it relied on. Start with [bold]chiaroscuro demo[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, detectors, detect, explain, evaluate, study, compare, train):
    app.command()(command)
app.command(name="app")(workbench)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"chiaroscuro {version('chiaroscuro')}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    print_what_cannot_be_encoded()


def main() -> None:
    """Run the command line: results on stdout, progress and notes on stderr.

    Exit status 0: done, 1: failed, 2: wrong use. Results that cannot be printed are a failure,
    reported in a sentence; where the reader of a pipe has gone, the command ends silently.
    """
    with checked_stdout():
        app()
