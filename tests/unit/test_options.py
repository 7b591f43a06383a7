"""Options made from declared settings: one per field, and wrong values say which setting."""

import subprocess
import sys
from typing import Any, Literal

import attrs
import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner, Result

import chiaroscuro.cli
from chiaroscuro.cli.options import AS_JSON, command
from chiaroscuro.core import limits
from chiaroscuro.core.checks import anything, maybe, number, text, whole
from chiaroscuro.core.declared import part, setting
from chiaroscuro.core.plan import (
    EvaluationSettings,
    Plan,
    Selection,
    StudySettings,
    TiledReading,
)
from chiaroscuro.training.settings import TrainingSettings


@attrs.frozen(kw_only=True)
class Inner:
    share: float = setting(number(0, 1), 0.25, help="A share.")
    hidden: int = setting(whole(0), 4)


@attrs.frozen(kw_only=True)
class Settings:
    count: int = setting(whole(1), 3, help="How many.", flags=("--count", "-c"))
    n_passes: int | Literal["auto"] = setting(limits.passes_or_auto, "auto", help="Passes.")
    side: int | None = setting(maybe(whole(1)), None, help="A side.", metavar="PX")
    names: list[str] = setting(anything, attrs.Factory(list), flags=("--name",), help="Names.")
    wide: bool = setting(anything, False, flags=("--wide",), help="Whether wide.")
    title: str = setting(text, "none", help="A title.")
    inner: Inner = part(Inner)


SEEN: list[tuple[str, Settings, bool]] = []


@command
def example(place: str, *, settings: Settings, as_json: AS_JSON = False) -> None:
    """Do nothing.

    Not much more.
    """
    SEEN.append((place, settings, as_json))


APP = typer.Typer()
APP.command()(example)


def run(*words: str) -> Result:
    SEEN.clear()
    return CliRunner().invoke(APP, list(words))


def made(*words: str) -> Settings:
    result = run("here", *words)
    assert result.exit_code == 0, result.output
    ((place, settings, _),) = SEEN
    assert place == "here"
    return settings


def shown(of: Any) -> dict[str, Any]:
    return {one.name or "": one for one in of.params if one.param_type_name == "option"}


def test_without_options_the_defaults_hold() -> None:
    assert made() == Settings()


def test_every_option_sets_its_field() -> None:
    settings = made(
        *("-c", "7", "--n-passes", "50", "--side", "640", "--name", "a", "--name", "b"),
        *("--wide", "--title", "12", "--share", "0.5", "--json"),
    )
    assert settings == Settings(
        count=7,
        n_passes=50,
        side=640,
        names=["a", "b"],
        wide=True,
        title="12",
        inner=Inner(share=0.5),
    )
    assert SEEN[0][2] is True
    assert made("--n-passes", "auto").n_passes == "auto"


def test_an_option_has_the_help_default_and_metavar_of_its_field() -> None:
    options = shown(get_command(APP))
    assert set(options) >= {"count", "n_passes", "side", "names", "wide", "title", "share"}
    assert "hidden" not in options  # a field without a help is no option
    assert options["count"].help == "How many."
    assert options["count"].opts == ["--count", "-c"]
    assert options["count"].default == 3
    assert options["n_passes"].opts == ["--n-passes"]
    assert options["n_passes"].default == "auto"
    assert options["side"].metavar == "PX"
    assert options["wide"].secondary_opts == []
    assert options["names"].multiple
    assert "Do nothing." in run("--help").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--count", "0"), "count: wanted a whole number of at least 1, got 0"),
        (("--count", "many"), "--count"),
        (("--share", "2"), "share: wanted a number from 0 to 1, got 2.0"),
        (("--side", "0"), "side: wanted a whole number of at least 1, got 0"),
        (("--n-passes", "few"), "n_passes"),
        (("--n-passes", "0"), "n_passes"),
        (("--title", "\udc80"), "title: wanted text without lone surrogates"),
        (("--unknown", "1"), "--unknown"),
    ],
)
def test_wrong_values_are_wrong_use_and_name_the_setting(words: tuple[str, ...], says: str) -> None:
    result = run("here", *words)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.replace("│", " ").split())
    assert SEEN == []


COMMANDS = get_command(chiaroscuro.cli.app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("explain", Plan),
        ("explain", Selection),
        ("detect", TiledReading),
        ("study", StudySettings),
        ("evaluate", EvaluationSettings),
        ("train", TrainingSettings),
    ],
)
def test_commands_show_every_setting_that_has_a_help(name: str, kind: Any) -> None:
    options = shown(COMMANDS[name])
    fields = [field for field in attrs.fields(kind) if field.metadata.get("help")]
    assert fields
    for field in fields:
        option = options[field.name]
        assert option.help == field.metadata["help"]
        if not isinstance(field.default, (tuple, attrs.Factory)):  # type: ignore[arg-type]
            assert option.default == field.metadata["shown_default"]


def test_help_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\n"
        "from chiaroscuro.cli import app\n"
        "for words in (['--help'], ['explain', '--help'], ['train', '--help']):\n"
        "    app(words, standalone_mode=False)\n"
        "print('loaded:', sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert "loaded: []" in done.stdout
