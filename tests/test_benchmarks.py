"""The sweeps of the benchmarks: a run is made once, and only with the settings that are asked."""

import json
import re

import pytest
import torch

import options
from benchmarks import index_scale, loader, metrics, tables, transfer, tuning_cost
from benchmarks.ablation import LENGTHS, ROWS, to_table
from benchmarks.records import against_bar
from benchmarks.sweep import Plan, make_all
from errors import InputError
from misc.sweep.run import CONSOLE, RESULTS, Run
from model.criteria.text import LOSSES
from tests.conftest import SMALL
from tests.forking import CONTEXT

DEMO = str(options.RECIPES / "demo.yaml")


def test_a_run_is_made_once_and_with_its_own_settings(places, tmp_path):
    arguments = ("--config", DEMO, *SMALL, *places, "schedule.epoch=1")
    run = Run(tmp_path / "run", arguments)
    make_all([run], jobs=2)
    made = (run.folder / RESULTS).stat().st_mtime_ns
    make_all([run])
    assert (run.folder / RESULTS).stat().st_mtime_ns == made
    results = run.results()["CUHK-PEDES test"]
    assert 0 <= results["text to image"]["R1"] <= 100
    with pytest.raises(InputError, match="already contains a run with other settings"):
        make_all([Run(run.folder, (*arguments, "misc.seed=9"))])
    table = to_table(Plan([], {"row": [run, run]}))
    assert re.search(r"\| row \| \d+\.\d\d ± 0\.00 \|", table)


def test_a_run_that_fails_names_its_console(places, tmp_path):
    run = Run(tmp_path / "run", ("--config", DEMO, *SMALL, places[0], "data.image_root=absent"))
    with pytest.raises(InputError, match=f"status 2; see the end of .*{CONSOLE}"):
        make_all([run])
    assert "is in absent or absent/imgs; give the folder" in (run.folder / CONSOLE).read_text()
    assert not run.done


@pytest.mark.parametrize("row", ROWS | LENGTHS)
def test_every_row_switches_losses_that_there_are(row):
    recipe = ["--config", "benchmarks/small.yaml"]
    words = [f"experiment.{key}={value}" for key, value in (ROWS | LENGTHS)[row].experiment.items()]
    weights = options.parse([*recipe, *words]).configure().experiment.loss_weights()
    assert weights
    assert weights.keys() <= LOSSES.keys()


@pytest.mark.parametrize("row", transfer.ROWS)
def test_every_way_of_tuning_is_one(row):
    words = ["--config", transfer.RECIPE, *transfer.ROWS[row]]
    tunes = options.parse(words).configure().tunes
    expected = {
        "full fine-tuning": (),
        "LoRA": ("lora",),
        "prompts": ("prompts",),
        "adapters": ("adapters",),
        "prompts and adapters (CSKT)": ("prompts", "adapters"),
    }
    assert tunes == expected[row]


def test_the_cost_of_a_way_is_measured_as_a_share(capsys):
    small = (
        "data.image_size=[32,16]",
        "model.embed_dim=16",
        "model.vision={width: 32, layers: 12, heads: 2, patch_size: 8}",
        "model.text={width: 32, layers: 12, heads: 2}",
    )
    assert tuning_cost.main(["--batch", "2", "--steps", "1", *small]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + len(tuning_cost.WAYS)
    names = [row.split(" | ")[0].strip("| ") for row in table[2:]]
    assert "(1.00) |" in table[2]
    shares = [float(re.findall(r"\((\d\.\d\d)\)", row)[0]) for row in table[2:]]
    assert names == list(tuning_cost.WAYS)
    assert min(shares) == shares[-1] < 0.5  # nothing is kept before the first block that trains


def test_an_index_is_measured_in_both_precisions(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(index_scale, "CHANGED", 50)
    monkeypatch.setattr(index_scale, "QUERIES", 5)
    monkeypatch.setattr(index_scale, "COLD", 1)
    monkeypatch.setattr(index_scale, "get_context", lambda _: CONTEXT)
    file = tmp_path / "results" / "scale.json"
    arguments = ["--rows", "1000", "--width", "32", "--output", str(file)]
    assert index_scale.main(arguments) == 0
    found = json.loads(file.read_text())
    assert (found["rows"], found["width"]) == (1000, 32)
    full, half = found["float32"], found["float16"]
    assert full.keys() == half.keys()
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(full)
    sizes = [figures["bytes per picture, compacted"] for figures in (full, half)]
    assert 0.8 * 2 * 32 < sizes[0] - sizes[1] < 1.2 * 2 * 32
    assert full["recall@1, pictures"] == 1


def test_metrics_are_measured_against_their_bars(monkeypatch, tmp_path, capsys):
    sides = metrics.Sides(40, 90, 7, 16)
    monkeypatch.setattr(metrics, "SMALL", metrics.Sizes(sides, sides, sides, sides))
    monkeypatch.setattr(metrics, "alone", lambda function, *args: function(*args))  # below
    monkeypatch.setattr(metrics, "get_context", lambda _: CONTEXT)  # whose processes start at once
    file = tmp_path / "results" / "metrics.json"
    assert metrics.main(["--small", "--rounds", "1", "--output", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert {name: row["bar"] for name, row in rows.items()} == {
        name: f"<= {bar}" for name, bar in metrics.BARS.items()
    }
    assert all(row["value"] > 0 for name, row in rows.items() if "memory" not in name)
    assert len(capsys.readouterr().out.splitlines()) == len(rows)


def test_re_ranking_is_measured_at_a_share_of_msmt17(monkeypatch, tmp_path):
    monkeypatch.setattr(metrics, "alone", lambda function, *args: function(*args))
    file = tmp_path / "msmt17.json"
    assert metrics.main(["--msmt17", "--share", "500", "--output", str(file)]) == 0
    ((name, row),) = json.loads(file.read_text())["rows"].items()
    assert name == "re-ranking 187 images"
    assert row["CPU time / product of all pairs"] > 0


def test_the_page_has_the_last_results():
    """`python -m benchmarks.tables` writes them."""
    page = tables.README.read_text(encoding="utf-8")
    assert tables.with_tables(page) == page


def test_a_table_marks_what_was_held_and_missed():
    machine = {"device": "CPU", "CPU cores": 2, "threads": 1, "torch": "2"}
    rows = {
        "first": {**against_bar(0.5, "<=", 0.6), "seconds taken": 1.0},
        "second": {**against_bar(0.12345, ">=", 2.0), "ratio": 0.12345, "seconds": 3.0},
        "third": {"not measured": "no GPU", "seconds taken": 0.1},
    }
    table = tables.to_table("name", {"machine": machine, "rows": rows})
    assert table.splitlines()[-3:] == [
        "| first | 0.5 | <= 0.6 | held |",
        "| second | 0.123; seconds: 3 | >= 2.0 | missed |",
        "| third | not measured: no GPU |  |  |",
    ]


def test_the_loader_is_measured_against_its_bars(tmp_path, capsys):
    file, small = tmp_path / "loader.json", "data.image_size=[16, 8]"
    assert loader.main(["--people", "20", "--batches", "2", "--output", str(file), small]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [row.get("bar") for row in rows.values()] == [">= 2.0", ">= 5.0", "<= 1.0", None]
    assert all(row.get("value", 1) > 0 for row in rows.values())
    assert len(capsys.readouterr().out.splitlines()) == len(rows)


def test_a_bar_is_held_from_its_own_side():
    assert against_bar(2.0, ">=", 2.0)["held"]
    assert not against_bar(1.9, ">=", 2.0)["held"]
    assert against_bar(0.5, "<=", 0.5)["held"]
    assert not against_bar(0.6, "<=", 0.5)["held"]


def fill_half_a_gigabyte() -> tuple[float]:
    return (metrics.grown(lambda: torch.ones(2**27)),)


def test_memory_is_what_a_call_adds():
    assert 0.5 < metrics.alone(fill_half_a_gigabyte)[0] < 0.6
