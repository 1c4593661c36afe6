"""Composed queries from one end to the other: drawn, measured, learned, searched with."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import search
from benchmarks import composed
from misc.retrieval.fusion import Fusion
from misc.search.person_search import PersonSearch
from misc.search.query import Query
from misc.synthetic.composed import write_composed_dataset

WORDS = "without the backpack"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    identities = {"train": 8, "val": 3, "test": 4}
    folder = tmp_path_factory.mktemp("composed")
    return write_composed_dataset(folder, identities=identities, height=(32, 40)).root


@pytest.fixture(scope="module")
def measured(run_folder, data, tmp_path_factory) -> Path:
    """The folder of a measurement."""
    output = tmp_path_factory.mktemp("measured") / "new"
    words = ("--checkpoint", run_folder, "--data", data, "--output", output, "--seeds", 4, 5)
    assert composed.main([*map(str, words), "--device", "cpu"]) == 0
    return output


def test_the_table_has_a_row_for_each_rule(measured):
    lines = (measured / "composed.md").read_text().splitlines()
    assert lines[0] == "| | R1 | R5 | R10 | mAP |"
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert names[:2] == ["picture alone", "words alone"]
    assert names[-2:] == ["sum, 0.5 of the words", "learned fusion"]
    assert re.fullmatch(r"\| learned fusion (\| \d+\.\d\d ± \d+\.\d\d ){4}\|", lines[-1])


def test_a_trained_fusion_is_measured_elsewhere(measured, run_folder, data, tmp_path, capsys):
    """As on ITCPR, which has no train and no val."""
    there = tmp_path / "there"
    shutil.copytree(data / "test", there / "test")
    for name in ("query.json", "gallery.json"):
        records = [r for r in json.loads((data / name).read_text()) if r.pop("split") == "test"]
        (there / name).write_text(json.dumps(records))
    words = ["--checkpoint", str(run_folder), "--data", str(there), "--output", str(tmp_path)]
    words += ["--device", "cpu"]
    assert composed.main(words) == 0
    out = capsys.readouterr().out
    assert "Weight of the words in the sum: 0.5 (the default, without a val split)" in out
    assert "learned fusion" not in out
    assert composed.main([*words, "--fusion", str(measured / "fusion.safetensors")]) == 0
    assert re.search(r"\| learned fusion (\| \d+\.\d\d ){4}\|", capsys.readouterr().out)
    assert not (tmp_path / "fusion.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--seeds", "1", "1"], "--seeds: give each seed once"),
        (["--data", "no"], "query.json cannot be read"),
        (["--fusion", "no"], "no does not exist"),
    ],
)
def test_mistakes_are_one_sentence(run_folder, data, capsys, words, reason):
    given = ["--checkpoint", str(run_folder), "--data", str(data), "--device", "cpu"]
    assert composed.main([*given, *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert reason in err


def test_a_fusion_takes_the_place_of_the_sum(measured, run_folder, people, pictures):
    file = measured / "fusion.safetensors"
    fused = PersonSearch(run_folder, "cpu", fusion=file)
    image = next(pictures.rglob("*.jpg"))
    picture, words = people.encode_images([image])[0], people.encode_texts([WORDS])[0]
    expected = Fusion.load(file, people.encoder.model_hash)(picture, words)
    query = Query(WORDS, image)
    torch.testing.assert_close(query.encode(fused).features, expected)
    assert not torch.allclose(query.encode(people).features, expected)
    for alone in (Query(WORDS), Query(image=image)):
        assert torch.equal(alone.encode(fused).features, alone.encode(people).features)


def test_a_query_of_the_command_is_fused_and_not_judged(measured, index, pictures, capsys):
    image, file = next(pictures.rglob("*.jpg")), measured / "fusion.safetensors"
    words = ["query", "--index", str(index.table.location), WORDS, "--image", str(image)]
    assert search.main([*words, "--fusion", str(file)]) == 0
    assert "Not judged: words and a picture are calibrated for their sum" in capsys.readouterr().out
    assert search.main([*words, "--fusion", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found
    assert all(hit["matched"] is None for hit in found)
    assert search.main([*words, "--fusion", str(file), "--weight", "0.3"]) == 2
    assert "--weight is of the sum" in capsys.readouterr().err
