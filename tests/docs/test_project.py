"""The files at the root of the repository: links, metadata, targets, citation."""

import re
import runpy
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import chiaroscuro

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RELATIVE = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
ADDRESS = "https://example.org/someone/chiaroscuro"


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_relative_links_lead_somewhere(name: str) -> None:
    for link in RELATIVE.findall((ROOT / name).read_text(encoding="utf-8")):
        assert (ROOT / link.split("#")[0]).is_file(), link


def test_long_description_has_no_relative_link() -> None:
    """As a package index shows it, with the address that is set now."""
    metadata = ProjectMetadata(str(ROOT), PluginManager())
    text = metadata.core.readme
    assert text.startswith("# chiaroscuro")
    assert RELATIVE.findall(text) == []
    repository = metadata.hatch.config["metadata"]["hooks"]["custom"]["repository"]
    assert bool(metadata.core.urls) == bool(repository)


def test_links_become_absolute_once_there_is_an_address() -> None:
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))
    text = hook["portable"](README, ADDRESS)
    assert RELATIVE.findall(text) == []
    links = RELATIVE.findall(README)
    for link in links:
        kind = "raw" if link.endswith((".jpg", ".png")) else "blob"
        assert f"({ADDRESS}/{kind}/main/{link})" in text
    assert len(links) > 10
    assert set(hook["addresses"](ADDRESS)) == {
        "Repository",
        "Documentation",
        "Issues",
        "Changelog",
    }


def test_no_word_is_lost_without_an_address() -> None:
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))
    text = hook["portable"]("See [the docs](docs/index.md).\n\n![A map](docs/map.jpg)\n\nEnd.", "")
    assert text == "See the docs.\n\nEnd."
    assert hook["addresses"]("") == {}


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, env=None
    )
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    listed = re.findall(r"^make (\w+) +\S", done.stdout, re.MULTILINE)
    assert listed == targets[1].split()


def test_citation_agrees_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["title"] == project["name"]
    assert citation["license"] == project["license"]
    assert citation["version"] == chiaroscuro.__version__
    assert len(citation["references"]) == 2
