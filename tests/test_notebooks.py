"""The notebooks run from top to bottom, with small parameters."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests import ROOT
from tests.conftest import SMALL

NOTEBOOKS = ROOT / "docs" / "notebooks"
FEW = {"train": 20, "val": 6, "test": 6}
TINY = {
    "people": FEW,
    "strangers": 6,
    "height": (40, 64),
    "settings": [
        *(word for word in SMALL if "false_alarms" not in word),
        "schedule.epoch=2",
        "log.print_period=1",
    ],
}


def read(name: str) -> NotebookNode:
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def replace_parameters(notebook: NotebookNode, values: dict[str, object]) -> None:
    """Set the values of the first cell's parameters; all but `folder` are given."""
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    names = [node.targets[0].id for node in ast.parse(cell.source).body]
    assert {*names} - {"folder"} <= {*values}
    cell.source += "".join(f"\n{name} = {values[name]!r}" for name in names if name in values)


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> NotebookNode:
    """A notebook after it has run in a folder."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = read(name)
    replace_parameters(notebook, TINY)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    return notebook


def printed(notebook: NotebookNode, cell: str) -> str:
    (found,) = (c for c in notebook.cells if c.id == cell)
    return "".join(output.get("text", "") for output in found.outputs)


def pictures(notebook: NotebookNode, cell: str) -> int:
    (found,) = (c for c in notebook.cells if c.id == cell)
    return sum("image/png" in output.get("data", {}) for output in found.outputs)


def test_training(tmp_path, monkeypatch):
    notebook = run("train_on_your_own_pictures.ipynb", tmp_path, monkeypatch)
    assert printed(notebook, "data").startswith("path,caption,id,split\n")
    assert "No problems found" in printed(notebook, "check")
    assert (tmp_path / "runs/notebook/run/results.json").is_file()
    assert [pictures(notebook, cell) for cell in ("look", "curves", "ranked")] == [1, 1, 2]


def test_search(tmp_path, monkeypatch):
    notebook = run("search.ipynb", tmp_path, monkeypatch)
    assert "0 unreadable" in printed(notebook, "index")
    assert printed(notebook, "words").count("Hit(") == 3
    assert "false alarms 1 %: threshold 0." in printed(notebook, "match")
    assert [pictures(notebook, cell) for cell in ("words", "picture")] == [1, 2]
    assert "camera=" in printed(notebook, "where")
    assert printed(notebook, "features").startswith("tensor([[")


@pytest.mark.parametrize("name", sorted(file.name for file in NOTEBOOKS.glob("*.ipynb")))
def test_a_notebook_is_kept_without_its_outputs(name):
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
