"""The drawn re-identification datasets: the published names and lists, read as the real ones are,
and pictures that can be told apart, but not without learning."""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from errors import InputError
from misc.datasets.reid import ReIDDataset, read_reid
from misc.datasets.reid_published import ReIDPicture
from misc.evaluation import retrieval_metrics
from misc.synthetic import pedestrians
from misc.synthetic.__main__ import main
from misc.synthetic.reid_layouts import REID_LAYOUTS
from misc.synthetic.writing import WrittenReIDDataset, write_reid_dataset
from tests.synthetic.test_pedestrians import files

NAMES = {
    "market1501": (
        r"(bounding_box_train|query|bounding_box_test)/(\d{4}|-1)_c[1-6]s[1-6]_\d{6}_\d\d\.jpg"
    ),
    "msmt17": r"(train|test)/(\d{4})/\2_\d{3}_(0[1-9]|1[0-5])_\d{4}(morning|noon)_\d{4}_\d\.jpg",
    "dukemtmc": r"(bounding_box_train|query|bounding_box_test)/\d{4}_c[1-8]_f\d{7}\.jpg",
    "occluded-duke": r"(bounding_box_train|query|bounding_box_test)/\d{4}_c[1-8]_f\d{7}\.jpg",
    "veri776": r"image_(train|query|test)/\d{4}_c0([01]\d|20)_\d{8}_\d\.jpg",
    "vehicleid": r"image/\d{7}\.jpg",
}


def write(layout: str, output: Path, **changes: object) -> WrittenReIDDataset:
    arguments = {"identities": {"train": 3, "test": 4}, "height": (32, 40), "seed": 3, **changes}
    return write_reid_dataset(layout, output, **arguments)


@pytest.fixture(scope="module", params=NAMES)
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, WrittenReIDDataset]:
    return request.param, write(request.param, tmp_path_factory.mktemp("reid"))


def test_names_are_the_published_ones(written):
    layout, dataset = written
    names = [name for name in files(dataset.root) if name.endswith(".jpg")]
    assert names
    assert [name for name in names if not re.fullmatch(NAMES[layout], name)] == []
    assert len(names) == sum(count.images for count in dataset.counts.values())
    for name in names:
        with Image.open(dataset.root / name) as picture:
            picture.load()
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert 32 <= picture.height <= 40


def test_what_was_written_is_read(written, caplog):
    caplog.set_level("WARNING")
    layout, dataset = written
    output = dataset.root.parents[REID_LAYOUTS[layout].folder.count("/")]
    read = read_reid(layout, output)
    assert caplog.text == ""  # nobody is alone, every query has its match
    assert len(read.train) == dataset.counts["train"].images
    assert {p.identity for p in read.train} == {0, 1, 2}
    if layout == "vehicleid":
        assert len(read.query) + len(read.gallery) < dataset.counts["test"].images  # 2 of 4
        assert len(read.gallery) == 2
    else:
        assert len(read.query) == dataset.counts["query"].images
        assert len(read.gallery) == dataset.counts["gallery"].images
        assert {p.identity for p in read.query} <= {p.identity for p in read.gallery}
        assert len({p.identity for p in read.query}) == 4
    cameras = defaultdict(list)
    for picture in read.train:
        cameras[picture.identity].append(picture.camera)
    if read.has_cameras:
        assert all(len(set(own)) >= 2 for own in cameras.values())
    assert all(4 <= len(own) <= 8 for own in cameras.values())


def test_market_has_distractors_and_junk(tmp_path):
    dataset = write("market1501", tmp_path)
    identities = [p.identity for p in read_reid("market1501", tmp_path).gallery]
    assert identities.count(0) == 2
    assert min(identities) == 0
    assert len(list((dataset.root / "bounding_box_test").glob("-1_*.jpg"))) == 2


def test_duke_has_strangers_of_their_own_numbers(tmp_path):
    write("dukemtmc", tmp_path)
    read = read_reid("dukemtmc", tmp_path)
    strangers = {p.identity for p in read.gallery} - {p.identity for p in read.query}
    assert len(strangers) == 2
    assert min(strangers) > 7


def test_msmt17_counts_test_identities_from_zero(tmp_path):
    root = write("msmt17", tmp_path).root
    train, val, query, gallery = (
        (root / f"list_{name}.txt").read_text().split("\n")
        for name in ("train", "val", "query", "gallery")
    )
    assert {int(line.split()[1]) for line in train if line} == {0, 1, 2}
    assert {int(line.split()[1]) for line in query if line} == {0, 1, 2, 3}
    assert len(train) > 3 * len(val) > 0
    assert not set(query) & set(gallery) - {""}
    after = write("msmt17", tmp_path / "after", skipped=5).root
    lines = (after / "list_query.txt").read_text().splitlines()
    assert {int(line.split()[1]) for line in lines} == {0, 1, 2, 3}


def test_veri_labels_most_pictures_with_the_side_they_show(tmp_path):
    write("veri776", tmp_path / "with", identities={"train": 12, "test": 1}, images=(6, 6))
    read = read_reid("veri776", tmp_path / "with")
    views = [p.view for p in read.train]
    assert set(views) == set(range(9))
    assert 0 < views.count(8) < 0.2 * len(views)
    root = write("veri776", tmp_path / "without", viewpoints=False).root
    assert not list(root.glob("keypoint*"))
    assert read_reid("veri776", tmp_path / "without").num_views == 1


def test_the_smaller_test_lists_of_vehicleid_are_part_of_the_larger(tmp_path):
    lists = write("vehicleid", tmp_path, identities={"train": 1, "test": 6}).root
    lines = [
        (lists / f"train_test_split/test_list_{size}.txt").read_text().splitlines()
        for size in (800, 1600, 2400)
    ]
    assert [len({line.split()[1] for line in part}) for part in lines] == [2, 4, 6]
    assert set(lines[0]) < set(lines[1]) < set(lines[2])


def test_something_stands_before_all_queries_of_occluded_duke(tmp_path, monkeypatch):
    drawn = []
    draw = pedestrians.draw_picture

    def spy(person, shot, size, rng):
        drawn.append(shot.occluder)
        return draw(person, shot, size, rng)

    monkeypatch.setattr(pedestrians, "draw_picture", spy)
    counts = write("occluded-duke", tmp_path, identities={"train": 5, "test": 5}).counts
    blocked = sum(occluder in ("hoarding", "kiosk") for occluder in drawn)
    others = counts["train"].images + counts["gallery"].images
    assert counts["query"].images < blocked < counts["query"].images + 0.3 * others
    drawn.clear()
    write("dukemtmc", tmp_path)
    assert not {"hoarding", "kiosk"} & set(drawn)


@pytest.mark.parametrize(("layout", "workers"), [("market1501", 1), ("veri776", 2)])
def test_the_same_bytes_twice_and_with_any_number_of_workers(tmp_path, layout, workers):
    few = {"identities": {"train": 1, "test": 2}, "images": (4, 4)}
    first = files(write(layout, tmp_path / "a", **few).root)
    assert files(write(layout, tmp_path / "b", workers=workers, **few).root) == first
    other = files(write(layout, tmp_path / "c", seed=4, **few).root)
    assert not set(first.values()) & set(other.values())


def test_finds_what_is_there_and_refuses_what_is_another(tmp_path):
    written = write("veri776", tmp_path)
    assert write("veri776", tmp_path) == written
    with pytest.raises(InputError, match=r"different arguments \(viewpoints\)"):
        write("veri776", tmp_path, viewpoints=False)
    receipt = json.loads((written.root / "synthetic.json").read_text())
    assert receipt["arguments"]["layout"] == "veri776"


@pytest.mark.parametrize(
    ("layout", "changes", "said"),
    [
        ("market", {}, "did you mean market1501"),
        ("market1501", {"images": (2, 4)}, "give a range of at least 4"),
        ("market1501", {"images": (4, 100)}, "give at most 99"),
        ("veri776", {"identities": {"train": 3}}, "needs identities in both train and test"),
        ("veri776", {"identities": {"train": 3, "test": 1, "val": 1}}, "has no val split: use"),
    ],
)
def test_refuses_bad_arguments(tmp_path, layout, changes, said):
    with pytest.raises(InputError, match=re.escape(said)):
        write(layout, tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, capsys):
    arguments = ["--layout", "veri776", "--output", str(tmp_path), "--train", "1", "--test", "2"]
    arguments += ["--height", "40", "40", "--no-viewpoints"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert re.search(r"query +2 identities, \d+ images\n", printed)
    assert str(tmp_path / "VeRi") in printed
    assert not list(tmp_path.glob("VeRi/keypoint*"))
    assert main(["--layout", "veri", "--output", str(tmp_path)]) == 2
    assert "did you mean veri776" in capsys.readouterr().err


def test_all_layouts_are_checked_before_one_is_drawn(tmp_path, capsys):
    people = ["--train", "1", "--val", "0", "--test", "1"]
    words = ["--output", str(tmp_path), *people, "--height", "32", "40"]
    assert main(["--layout", "market1501", *words]) == 0
    capsys.readouterr()
    assert main(["--layout", "cuhk-pedes", "market1501", *words, "--seed", "1"]) == 2
    assert "was written with different arguments (seed)" in capsys.readouterr().err
    assert not (tmp_path / "CUHK-PEDES").exists()


def test_layouts_of_one_command_search_for_the_same_people(tmp_path):
    """Also with a val split, which CUHK-PEDES has and Market-1501 has not."""
    words = ["--layout", "cuhk-pedes", "market1501", "--output", str(tmp_path)]
    people = ["--train", "2", "--val", "3", "--test", "2", "--images", "4", "4"]
    assert main([*words, *people, "--height", "32", "40"]) == 0
    records = json.loads((tmp_path / "CUHK-PEDES" / "reid_raw.json").read_text())
    described = defaultdict(set)
    for record in records:
        described[record["split"]].add(record["id"])
    assert described == {"train": {1, 2}, "val": {3, 4, 5}, "test": {6, 7}}
    root = tmp_path / REID_LAYOUTS["market1501"].folder
    queries = {int(file.name[:4]) for file in (root / "query").iterdir()}
    trained = {int(file.name[:4]) for file in (root / "bounding_box_train").iterdir()}
    assert (trained, queries) == (described["train"], described["test"])
    with pytest.raises(InputError, match=r"different arguments \(skipped\)"):
        write("market1501", tmp_path, identities={"train": 2, "test": 2}, images=(4, 4), seed=0)


def stripes(picture: ReIDPicture) -> np.ndarray:
    """Colour histograms of six stripes of the middle, where a detector puts what it detects."""
    with Image.open(picture.path) as image:
        pixels = np.asarray(image.convert("RGB").resize((32, 64)))[6:58, 10:22]
    bins = (pixels // 52) @ np.array([25, 5, 1])
    parts = np.array_split(bins, 6)
    return np.concatenate([np.sqrt(np.bincount(part.ravel(), minlength=125)) for part in parts])


def noise(picture: ReIDPicture) -> np.ndarray:
    return np.random.default_rng([ord(letter) for letter in picture.path]).standard_normal(64)


def rank_one(dataset: ReIDDataset, feature: Callable[[ReIDPicture], np.ndarray]) -> float:
    query, gallery = (
        torch.nn.functional.normalize(torch.tensor(np.stack([feature(p) for p in pictures])))
        for pictures in (dataset.query, dataset.gallery)
    )
    ids = [torch.tensor([p.identity for p in own]) for own in (dataset.query, dataset.gallery)]
    cameras = [torch.tensor([p.camera for p in own]) for own in (dataset.query, dataset.gallery)]
    return retrieval_metrics(query @ gallery.T, *ids, *cameras)["R1"]


@pytest.mark.parametrize("layout", ["market1501", "veri776"])
def test_untrained_features_find_some_but_far_from_all(tmp_path, layout):
    """At 40 identities and difficulty 0.5, where chance finds 2.5 %."""
    few = {"identities": {"train": 1, "test": 40}, "images": (4, 4), "height": (40, 40)}
    write_reid_dataset(layout, tmp_path, **few)
    dataset = read_reid(layout, tmp_path)
    assert 20 < rank_one(dataset, stripes) < 80
    assert rank_one(dataset, noise) < 10
