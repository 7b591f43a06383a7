"""The notebooks in ``examples/`` run, and the outputs stored in them are current."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


@pytest.mark.weights
@pytest.mark.filterwarnings("default")  # of Jupyter itself
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        coalesce_streams=True,
        resources={"metadata": {"path": tmp_path}},
    )
    client.execute()
    assert [kinds(cell) for cell in notebook.cells] == [kinds(cell) for cell in stored.cells]
    assert list(tmp_path.iterdir()) == []


def test_there_are_notebooks_and_they_are_small() -> None:
    assert {path.stem for path in EXAMPLES} == {"first-painting", "your-own-detector"}
    assert all(path.stat().st_size < 300_000 for path in EXAMPLES)


def kinds(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell shows: kinds of output, and the printed words without their numbers."""
    shown = []
    for output in cell.get("outputs", []):
        text = output.get("text", "")
        shown.append(output.output_type + "".join(c for c in text if not c.isdigit()))
    return shown
