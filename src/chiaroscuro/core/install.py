"""The command that installs an optional part, for the way in which the package was installed."""

import json
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

PACKAGE = "chiaroscuro"


def install_hint(extra: str, installed: Distribution | None = None) -> str:
    """The command that adds an extra: from a clone ``pip install -e ".[faces]"``.

    Double quotes work in every shell, those of Windows included.

    Args:
        extra: name of an optional dependency group in ``pyproject.toml``.
        installed: the package's metadata; found when not given.
    """
    try:
        text = (installed or distribution(PACKAGE)).read_text("direct_url.json")
    except PackageNotFoundError:  # run from its sources
        return f'pip install -e "{_folder(Path(__file__).parents[3])}[{extra}]"'
    origin = json.loads(text) if text else {}
    if "dir_info" in origin:
        folder = _folder(Path(url2pathname(urlsplit(origin["url"]).path)))
        editable = "-e " * origin["dir_info"].get("editable", False)
        return f'pip install {editable}"{folder}[{extra}]"'
    if "vcs_info" in origin:
        return f'pip install "{PACKAGE}[{extra}] @ {origin["vcs_info"]["vcs"]}+{origin["url"]}"'
    return f'pip install "{PACKAGE}[{extra}]"'


def _folder(clone: Path) -> str:
    return "." if clone == Path.cwd() else str(clone)
