"""Tables of results: measured beside published, which are never mixed."""

import re
import shutil
from dataclasses import replace

import pytest

from misc.report.__main__ import main
from misc.report.results import read_publications, result_rows, to_latex, to_markdown
from misc.report.run import read_runs
from tests import ROOT

RESULTS = {
    "CUHK-PEDES test": {
        "text to image": {"R1": 70.0, "R5": 85.0, "R10": 90.0, "mAP": 60.0, "mINP": 40.0},
        "image to text": {"R1": 71.0, "R5": 86.0, "R10": 91.0, "mAP": 61.0, "mINP": 41.0},
    },
    "Market_1501 & more test": {
        "text to image": {"R1": 72.0, "R5": 87.0, "R10": 92.0, "mAP": 62.0, "mINP": 42.0},
    },
}


@pytest.fixture
def irra(run_folder):
    """A run that is said to be of IRRA's recipe."""
    (run,) = read_runs([run_folder])
    return replace(run, name="mine", recipe="irra", results=RESULTS)


def test_published_numbers_have_a_column_and_a_source(irra):
    rows = result_rows({"mine": [irra]})
    assert [row.published for row in rows] == ["R1 73.38", "", ""]
    assert rows[0].source == "IRRA: Jiang & Ye, CVPR 2023, arXiv 2303.12501"
    assert all("73.38" not in cell for row in rows for cell in row.measured)
    lines = to_markdown(rows).splitlines()
    assert lines[2] == (
        "| mine | CUHK-PEDES test | text to image | 70.00 | 85.00 | 90.00 | 60.00 | 40.00 "
        "| R1 73.38 | IRRA: Jiang & Ye, CVPR 2023, arXiv 2303.12501 |"
    )
    assert len({line.count("|") for line in lines[:5]}) == 1


def test_runs_of_a_group_are_a_mean_and_a_sample_deviation(irra):
    better = {
        d: {r: {m: v + 2 for m, v in ms.items()} for r, ms in rs.items()}
        for d, rs in RESULTS.items()
    }
    rows = result_rows({"both": [irra, replace(irra, results=better)]})
    assert rows[0].measured[0] == "71.00 ± 1.41"
    unfinished = replace(irra, results={})
    assert result_rows({"both": [unfinished, irra]}) == result_rows({"both": [irra]})
    assert result_rows({"none": [unfinished]}) == []


def test_latex_is_escaped(irra):
    text = to_latex(result_rows({"mine_1": [irra, irra]}))
    assert r"mine\_1 & CUHK-PEDES test & text to image & 70.00 $\pm$ 0.00" in text
    assert r"Market\_1501 \& more test" in text
    assert r"Jiang \& Ye" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {9}


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_publications_agree_with_the_readme(name):
    by_recipe = {entry.recipe: entry.results for entry in read_publications()}
    readme = (ROOT / name).read_text(encoding="utf-8")
    recipes = {
        "tbps_clip": "`config/config.yaml`",
        "tbps_clip-simplified": "`--simplified`",
        **{recipe: f"`config/{recipe}.yaml`" for recipe in ("irra", "rde", "cskt")},
    }
    for recipe, command in recipes.items():
        (line,) = (x for x in readme.splitlines() if x.startswith("|") and f"| {command} |" in x)
        numbers = re.findall(r"\d\d\.\d\d", line)
        assert numbers == [
            by_recipe[recipe][name]["R1"] for name in ("CUHK-PEDES", "ICFG-PEDES", "RSTPReid")
        ]
    assert by_recipe["clipreid_vit"]["MSMT17"] == {"mAP": "73.4", "R1": "88.7"}


def test_every_publication_is_of_a_recipe():
    known = {file.stem for file in (ROOT / "config").glob("*.yaml")}
    names = {entry.recipe for entry in read_publications()}
    assert names - known == {"tbps_clip", "tbps_clip-simplified"}  # config.yaml and s.config.yaml


def test_the_command_prints_tables(run_folder, capsys):
    assert main([str(run_folder), "--markdown", "--latex"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| one | CUHK-PEDES test |") == 2
    assert r"\begin{tabular}{lllrrrrrll}" in printed


def test_a_run_that_has_not_ended_has_nothing_to_print(run_folder, tmp_path, capsys):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / "results.json").unlink()
    assert main([str(folder), "--latex"]) == 2
    assert "none of these runs has ended" in capsys.readouterr().err
