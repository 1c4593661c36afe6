"""Calibrations by kind of query, and the files that a training ends with."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import main
import options
from benchmarks.calibration import main as measure
from errors import InputError
from misc.calibration import BestHits, Calibration, QueryCalibration, Scores
from misc.retrieval.calibration import FILE, PLOT, TABLE, calibrate, write_calibration
from misc.retrieval.features import Features, load_features
from misc.synthetic.writing import write_dataset
from tests.command_line import parse
from tests.conftest import SMALL

DEMO = str(options.RECIPES / "demo.yaml")


@pytest.fixture
def features() -> Features:
    """Person 5 with two pictures, 6 and 7 with one each."""
    rng = torch.Generator().manual_seed(0)
    return Features(
        image=F.normalize(torch.randn(4, 6, generator=rng)),
        text=F.normalize(torch.randn(5, 6, generator=rng)),
        image_ids=torch.tensor([5, 6, 5, 7]),
        text_ids=torch.tensor([5, 5, 5, 6, 7]),
        image_paths=("a", "b", "c", "d"),
        captions=("1", "2", "3", "4", "5"),
        model_hash="0" * 64,
    )


def test_kinds_of_queries_by_hand(features):
    kinds = calibrate(features).kinds
    found = {name: (kind.searches, kind.absent.count) for name, kind in kinds.items()}
    assert found == {"words": (5, 5), "picture": (2, 2), "both": (3, 3)}
    image, text = features.image, features.text
    strangers = image[[1, 3]].T
    expected = {
        "words": [
            *(text[:3] @ strangers).amax(dim=1),
            (text[3] @ image[[0, 2, 3]].T).max(),
            (text[4] @ image[:3].T).max(),
        ],
        "picture": [*(image[[0, 2]] @ strangers).amax(dim=1)],
        "both": [
            (F.normalize(text[caption] + image[picture], dim=0) @ strangers).max()
            for caption, picture in ((0, 0), (1, 2), (2, 0))
        ],
    }
    for name, values in expected.items():
        scores = sorted(map(float, values), reverse=True)
        assert kinds[name].absent.values == pytest.approx(scores, abs=2e-6)
    assert kinds["picture"].gallery_size == 4


def test_kinds_without_queries_are_left_out(features):
    """Re-identification has no words, and a person with one picture is no query."""
    without_words = replace(
        features, text=features.text[:0], text_ids=features.text_ids[:0], captions=()
    )
    assert list(calibrate(without_words).kinds) == ["picture"]
    alone = replace(features, image_ids=torch.tensor([5, 6, 8, 7]))
    assert list(calibrate(alone).kinds) == ["words"]


def test_without_any_query_nothing_can_be_calibrated(features):
    """One picture of each person, and no captions."""
    nothing = replace(
        features,
        text=features.text[:0],
        text_ids=features.text_ids[:0],
        captions=(),
        image_ids=torch.tensor([5, 6, 8, 7]),
    )
    with pytest.raises(InputError, match="people with at least two pictures, or captions"):
        calibrate(nothing)


def queries(number: int, highest: float) -> QueryCalibration:
    """A calibration of so many queries, on a gallery of 100 pictures."""
    scores = torch.linspace(0.2, highest, number)
    return QueryCalibration.of(BestHits(scores, scores > 0, scores), 100)


@pytest.mark.parametrize(
    ("pictures", "highest", "listed"),
    [(200, 0.7, "0.695 (words), 0.695 (a picture):"), (50, 0.7, "0.695 (words):")],
)
def test_only_what_is_known_is_promised(tmp_path, pictures, highest, listed):
    """50 queries do not tell what 1 % of them reach."""
    kinds = {"words": queries(200, highest), "picture": queries(pictures, highest)}
    write_calibration(tmp_path, Calibration("0" * 64, kinds), 0.01)
    table = (tmp_path / TABLE).read_text()
    assert f"A best hit is no match below similarity {listed} then at most 1 % of" in table
    assert ("a picture: 50 queries are too few for 0.1 % and 1 %" in table) == (pictures == 50)


def test_nothing_is_promised_where_nothing_is_known(tmp_path):
    """Few queries by words, and pictures of different people that are the same."""
    kinds = {"words": queries(50, 0.7), "picture": queries(200, 1.0)}
    same = replace(kinds["picture"], absent=Scores.of(torch.ones(200)))
    write_calibration(tmp_path, Calibration("0" * 64, {**kinds, "picture": same}), 0.01)
    assert "no match" not in (tmp_path / TABLE).read_text()


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A short training that ends with a calibration; more words change it."""
    monkeypatch.chdir(tmp_path)

    def train(*words: str):
        few = ("schedule.epoch=1", "evaluation={ranked_lists: 0, false_alarms: 0.05}")
        heads = "experiment={ss: true, id: true}"
        arguments = ["--config", DEMO, "--output", "run", *SMALL, *few, heads, *words]
        main.run(parse(arguments))
        return tmp_path / "run"

    return train


def test_a_training_ends_with_a_calibration_on_val(train, places, pedestrians, capsys):
    """Of the hash that the restored model has, too, though it lacks the heads."""
    folder = train(*places)
    calibration = Calibration.load(folder / FILE)
    val = pedestrians.counts["val"]
    assert calibration.kinds["words"].gallery_size == val.images
    assert calibration.kinds["words"].searches == val.captions
    assert list(calibration.kinds) == ["words", "picture", "both"]
    screen = capsys.readouterr().out
    threshold = calibration.kinds["words"].threshold(0.05)
    assert f"A best hit is no match below similarity {threshold:.3f} (words), " in screen
    assert "queries are too few for 0.1 % and 1 %" in screen
    rows = [line.split("|") for line in (folder / TABLE).read_text().splitlines() if "%" in line]
    cells = [[cell.strip() for cell in row[1:4]] for row in rows if len(row) > 3]
    assert ["words", "5 %", f"{threshold:.3f}"] in cells
    assert len(cells) == 3 * 4
    with Image.open(folder / PLOT) as plot:
        assert plot.format == "PNG"
    words = ["--evaluate", "run", "--output", "again", "--save-features", "features"]
    main.run(parse(words))
    assert load_features("features").model_hash == calibration.model_hash

    before = (folder / FILE).read_bytes()
    main.run(parse(["--resume", "run"]))  # after its end
    assert (folder / FILE).read_bytes() == before

    capsys.readouterr()
    assert measure(["--run", "run", "--parts", "2", "--draws", "2", "--device", "cpu"]) == 0
    tables = capsys.readouterr().out
    assert f"measured on 6 people, {pedestrians.counts['test'].images} images" in tables
    assert tables.count("| words, 5 % |") == 2


def test_without_a_val_split_nothing_is_calibrated(train, tmp_path, capsys):
    written = write_dataset(
        "cuhk-pedes",
        tmp_path / "data",
        identities={"train": 6, "test": 2},
        images=(2, 2),
        height=(40, 48),
    )
    folder = train(
        f"data.annotation_file={written.annotation_file}", f"data.image_root={written.image_root}"
    )
    assert "Nothing is calibrated, as the annotations have no val split" in capsys.readouterr().out
    assert not {FILE, TABLE, PLOT} & {file.name for file in folder.iterdir()}
    assert json.loads((folder / "results.json").read_text())


def test_a_val_split_of_one_person_is_no_calibration(train, tmp_path, capsys):
    written = write_dataset(
        "cuhk-pedes",
        tmp_path / "data",
        identities={"train": 6, "val": 1, "test": 2},
        images=(2, 2),
        height=(40, 48),
    )
    folder = train(
        f"data.annotation_file={written.annotation_file}", f"data.image_root={written.image_root}"
    )
    sentence = "Nothing is calibrated on the val split: the pictures show fewer than two people"
    assert sentence in capsys.readouterr().out
    assert not (folder / FILE).exists()
