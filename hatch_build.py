"""Build hook: the project's addresses and a README for package indexes, from one setting.

``repository`` under ``[tool.hatch.metadata.hooks.custom]`` in pyproject.toml is the public address
of the repository. Where it is set, the README's relative links and pictures become absolute, and
the metadata get the project's URLs. Where it is empty, relative links become plain text and
relative pictures are left out, so that no link of the README is broken outside the repository.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"!\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)\n*")
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


def portable(readme: str, repository: str) -> str:
    """The README with links that work anywhere; ``repository`` is an address or empty."""
    if not repository:
        return LINK.sub(r"\1", PICTURE.sub("", readme))
    readme = PICTURE.sub(
        lambda found: found[0].replace(f"({found[2]})", f"({repository}/raw/main/{found[2]})"),
        readme,
    )
    return LINK.sub(rf"[\1]({repository}/blob/main/\2)", readme)


def addresses(repository: str) -> dict[str, str]:
    """Project URLs; none without a repository."""
    pages = {
        "Repository": "",
        "Documentation": "/tree/main/docs",
        "Issues": "/issues",
        "Changelog": "/blob/main/CHANGELOG.md",
    }
    return {name: repository + page for name, page in pages.items()} if repository else {}


class CustomMetadataHook(MetadataHookInterface):
    """Fills in the dynamic fields ``readme`` and ``urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by Hatchling for every build and editable installation."""
        repository = self.config["repository"].rstrip("/")
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": portable(readme, repository),
        }
        metadata["urls"] = addresses(repository)
