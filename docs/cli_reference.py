"""Writes ``reference/cli.md`` from the command line itself: ``python docs/cli_reference.py``."""

import re
from pathlib import Path
from typing import Any

from typer.main import get_command

from chiaroscuro.cli import app

PAGE = Path(__file__).parent / "reference" / "cli.md"
HEAD = """\
# Command line

<!-- Written by docs/cli_reference.py. Edit the commands, then run it again. -->

Results go to stdout, progress and notes to stderr. The exit status is 0 when all is done, 1 when
something failed, and 2 on wrong use. `--help` works after every command.
"""


def reference() -> str:
    """The whole page."""
    root: Any = get_command(app)
    return "\n".join([HEAD, *(section(name, command) for name, command in root.commands.items())])


def section(name: str, command: Any) -> str:
    """One command: its summary, call, arguments and options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    call = " ".join(["chiaroscuro", name, *(value_name(a) for a in arguments), "[OPTIONS]"])
    entries = [entry(f"`{value_name(a)}`", a) for a in arguments]
    entries += [entry(spelling(o), o) for o in options if o.name != "help"]
    return f"## {name}\n\n```text\n{call}\n```\n\n{plain(command.help)}\n\n" + "".join(entries)


def entry(head: str, parameter: Any) -> str:
    """One argument or option, with its default if it has one."""
    text = f"- {head}: {plain(parameter.help)}"
    if parameter.default is not None and parameter.default is not False:
        text += f" *Default: {parameter.default}.*"
    return text + "\n"


def spelling(option: Any) -> str:
    """``--out OUT``, ``-o``: every spelling, and the placeholder of the value."""
    first, *others = option.opts
    if not option.is_flag:
        first += f" {value_name(option)}"
    return ", ".join(f"`{name}`" for name in (first, *others, *option.secondary_opts))


def value_name(parameter: Any) -> str:
    """The placeholder of a value."""
    name: str = parameter.metavar or parameter.name.upper()
    return name


def plain(text: str) -> str:
    """Help without its console markup: bold becomes code, dim becomes italics."""
    text = re.sub(r"\[bold\](.*?)\[/\]", r"`\1`", text)
    text = re.sub(r"\[dim\](.*?)\[/\]", lambda m: f"*{m[1][:1].upper()}{m[1][1:]}.*", text)
    return re.sub(r"<(\w+)>", r"\\<\1>", text)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
