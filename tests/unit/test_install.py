"""The command named in an error works for the way in which the package was installed."""

import json
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import pytest

from chiaroscuro.core import install
from chiaroscuro.core.install import install_hint


class Installed(Distribution):
    """Metadata of a package with this direct_url.json, or with none."""

    def __init__(self, origin: object = None) -> None:
        self.origin = origin

    def read_text(self, filename: str) -> str | None:
        assert filename == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


def test_hint_of_a_clone_works_in_it_and_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "a clone"
    clone.mkdir()
    installed = Installed({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert install_hint("faces", installed) == f'pip install -e "{clone}[faces]"'
    monkeypatch.chdir(clone)
    assert install_hint("faces", installed) == 'pip install -e ".[faces]"'
    copied = Installed({"url": clone.as_uri(), "dir_info": {}})
    assert install_hint("faces", copied) == 'pip install ".[faces]"'


def test_hint_of_an_index_and_of_a_repository() -> None:
    assert install_hint("methods", Installed()) == 'pip install "chiaroscuro[methods]"'
    address = "https://example.org/chiaroscuro"
    installed = Installed({"url": address, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}})
    assert install_hint("app", installed) == f'pip install "chiaroscuro[app] @ git+{address}"'


def test_hint_without_metadata_names_the_folder_of_the_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(_name: str) -> Distribution:
        raise PackageNotFoundError

    monkeypatch.setattr(install, "distribution", absent)
    monkeypatch.chdir(Path(install.__file__).parents[3])
    assert install_hint("scale") == 'pip install -e ".[scale]"'
