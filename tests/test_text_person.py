import json
from pathlib import Path

import pytest

import main
import options
from errors import InputError
from misc.checkpoint import LAST, read_checkpoint
from misc.datasets.annotations import Picture, read_annotations
from misc.datasets.synthetic import write_dataset
from misc.datasets.text_person import (
    TextPersonDataset,
    drop_missing_folders,
    find_image_root,
    join_training,
    read_text_person,
)
from tests.conftest import SMALL


def test_pictures_are_located_and_counts_told(pedestrians, caplog):
    caplog.set_level("INFO")
    dataset = read_text_person(str(pedestrians.annotation_file), str(pedestrians.root))
    assert dataset.name == "CUHK-PEDES"
    for split, count in pedestrians.counts.items():
        assert len(dataset.splits[split]) == count.images
        assert all(Path(picture.path).is_file() for picture in dataset.splits[split])
    assert f"train {pedestrians.counts['train'].images} pictures" in caplog.text
    assert "34054 published" in caplog.text


def dataset_of(*identities: int) -> TextPersonDataset:
    pictures = [Picture("a.jpg", identity, ("a",), (None,)) for identity in identities]
    return TextPersonDataset("mine", {"train": pictures})


def test_training_identities_are_numbered_over_all_datasets():
    joined = join_training([dataset_of(9, 4, 9), dataset_of(4, 7), TextPersonDataset("no", {})])
    assert [picture.identity for picture in joined] == [0, 1, 0, 2, 3]


def test_a_run_trains_and_tests_on_several_datasets(places, tmp_path, capsys):
    written = write_dataset(
        "icfg-pedes", tmp_path, identities={"train": 4, "test": 3}, height=(40, 48), seed=5
    )
    other = (
        f"{{name: ICFG, annotation_file: {written.annotation_file}, image_root: {written.root}}}"
    )
    demo = ["--config", str(options.RECIPES / "demo.yaml"), *SMALL, *places, "schedule.epoch=1"]
    sets = [f"data.train_sets=[{other}]", f"data.test_sets=[{other}]"]
    main.run(options.parse([*demo, *sets, "experiment.id=true", "--output", str(tmp_path / "run")]))
    printed = capsys.readouterr().out
    assert "CUHK-PEDES test split: epoch 1, the best on val" in printed
    assert "ICFG test split: epoch 1, the best on val" in printed
    table = (tmp_path / "run" / "results.md").read_text()
    assert "| ICFG test | text to image |" in table
    results = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    assert results.keys() == {"CUHK-PEDES test", "ICFG test"}
    saved = read_checkpoint(tmp_path / "run" / LAST)
    assert saved["architecture"]["identities"] == 20 + 4


def test_the_image_root_may_be_the_folder_above_imgs(pedestrians):
    pictures = read_annotations(pedestrians.processed)["train"]
    assert find_image_root(pedestrians.root, pictures) == pedestrians.image_root
    assert find_image_root(pedestrians.image_root, pictures) == pedestrians.image_root


def test_a_wrong_image_root_is_refused():
    with pytest.raises(InputError, match=r"data.image_root: neither /nowhere nor its folder imgs"):
        find_image_root(Path("/nowhere"), [Picture("a.jpg", 0, ("a",), (None,))])


def test_pictures_of_missing_folders_are_left_out_and_said(tmp_path, caplog):
    (tmp_path / "here").mkdir()
    pictures = [Picture(f"{folder}/a.jpg", 0, ("a",), (None,)) for folder in ("here", "gone")]
    splits = drop_missing_folders({"train": pictures, "val": pictures[1:]}, tmp_path)
    assert splits == {"train": pictures[:1]}
    assert f"{tmp_path}/gone is missing: its 2 pictures are left out" in caplog.text
