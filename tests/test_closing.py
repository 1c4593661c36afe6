"""The figures that a run ends with, and its ranked lists in every language."""

import ast
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import main
import options
from errors import InputError
from misc.calibration import Calibration
from misc.retrieval import figures
from misc.runtime.run_folder import remove_record
from misc.synthetic.writing import write_dataset
from tests.command_line import parse
from tests.conftest import SMALL
from tests.test_house import SOURCES

DEMO = str(options.RECIPES / "demo.yaml")
FIGURES = {"curves.png", "cmc.png", "similarities.png"}
FEW = ("schedule={epoch: 1, epoch_warmup: 0}", "data.batch_size=40", "log.figures=true")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run main.py in a folder of its own; the result is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, output: str = "run") -> Path:
        main.run(parse(["--output", output, *words]))
        return tmp_path / output

    return run


@pytest.fixture
def drawn(monkeypatch) -> dict[str, list]:
    """The last argument of all calls that draw, by the function's name."""
    kept = {"draw_cmc": [], "draw_similarities": []}

    def recording(name: str) -> Callable[..., None]:
        draw = getattr(figures, name)

        def draw_and_keep(*args: object) -> None:
            kept[name].append(args[-1])
            draw(*args)

        return draw_and_keep

    for name in kept:
        monkeypatch.setattr(figures, name, recording(name))
    return kept


def pngs(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("*.png")}


def test_a_run_ends_with_figures_that_an_evaluation_draws_too(
    run, places, pedestrians, drawn, capsys
):
    calibrated = "evaluation={ranked_lists: 1, false_alarms: 0.05}"
    folder = run("--config", DEMO, *SMALL, *places, *FEW, calibrated)
    assert pngs(folder) == {*FIGURES, "calibration.png"}
    for name in FIGURES:
        with Image.open(folder / name) as figure:
            figure.load()
    listed = capsys.readouterr().out.splitlines()[-1]
    assert all(name in listed for name in FIGURES)

    again = run("--evaluate", "run", output="again")
    assert pngs(again) == {"cmc.png", "similarities.png"}
    words = Calibration.load(folder / "calibration.json").kinds["words"]
    threshold = words.threshold(0.05, pedestrians.counts["test"].images)
    assert drawn["draw_similarities"] == [{"CUHK-PEDES test": threshold}] * 2

    two = ("--evaluate", "run/checkpoint_best.pt", "--evaluate", "run/checkpoint_last.pt")
    both = run(*two, output="two")
    names = {f"{name}{suffix}.png" for name in ("cmc", "similarities") for suffix in ("", "-2")}
    assert pngs(both) == names
    for written in (folder, both):
        remove_record(written)
        assert not written.exists(), "a file of the run is not known as one"


def test_every_language_has_its_ranked_lists(run, tmp_path, drawn):
    written = write_dataset(
        "cuhk-pedes",
        tmp_path / "data",
        identities={"train": 20, "test": 6},
        images=(2, 2),
        height=(40, 48),
        languages=("en", "ch"),
    )
    places = (f"data.annotation_file={written.processed}", f"data.image_root={written.image_root}")
    words = ("data.languages=[en, ch]", "evaluation.ranked_lists=2", "experiment.select_on=last")
    folder = run("--config", DEMO, *SMALL, *places, *FEW, *words)
    assert pngs(folder) == FIGURES
    results = json.loads((folder / "results.json").read_text())["results"]["CUHK-PEDES test"]
    (curves,) = drawn["draw_cmc"]
    for direction in ("text to image", "image to text"):  # the mean of both languages
        curve = curves[f"CUHK-PEDES test, {direction}"]
        metrics = (results[direction][name]["mean"] for name in ("R1", "R5", "R10"))
        assert [curve[0], curve[4], curve[9]] == pytest.approx([*metrics])
    lists = folder / "ranked_lists" / "CUHK-PEDES-test"
    rows = [json.loads(line) for line in (lists / "ranked_lists.jsonl").open(encoding="utf-8")]
    names = [f"{group}-{n:02}.jpg" for group in ("sample-{}", "worst-{}") for n in (1, 2)]
    assert [(row["language"], row["file"]) for row in rows] == [
        (language, name.format(language)) for language in ("en", "ch") for name in names
    ]
    for row in rows:
        assert row["caption"].isascii() == (row["language"] == "en")
        assert len(row["matches"]) == 2
        assert all(match["right"] for match in row["matches"])


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_read(run, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *of: None if name == "trackio" else find(name, *of),
    )
    with pytest.raises(InputError, match=r"log\.to names trackio, which is not installed: pip"):
        run("--config", DEMO, *SMALL, "data.annotation_file=nowhere", "log.to=[trackio]")


def imports(tree: ast.Module) -> set[str]:
    """The modules that are imported at the top of a module."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_matplotlib_is_imported_only_where_something_is_drawn():
    """Not by what a run imports before, however far down."""
    loaded, new = set(), {"misc.job"}
    while new:
        loaded |= new
        new = set().union(*(imports(SOURCES[name]) for name in new & SOURCES.keys())) - loaded
    assert "misc.runtime.recorder" in loaded
    assert "matplotlib.figure" in imports(SOURCES["misc.runtime.figure"])
    assert [name for name in loaded if name.split(".")[0] == "matplotlib"] == []
