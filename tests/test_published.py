import json
from dataclasses import replace

import pytest

from misc.datasets.annotations import read_annotations, read_records
from misc.datasets.cuhk_pedes import CUHK_PEDES
from misc.datasets.icfg_pedes import ICFG_PEDES
from misc.datasets.published import Count
from misc.datasets.recognition import PUBLISHED, identify
from misc.datasets.rstpreid import RSTPREID
from misc.datasets.synthetic import write_dataset


@pytest.mark.parametrize(
    ("layout", "dataset"),
    [("cuhk-pedes", CUHK_PEDES), ("icfg-pedes", ICFG_PEDES), ("rstpreid", RSTPREID)],
)
def test_a_dataset_is_recognised_by_its_records_whatever_the_file(tmp_path, layout, dataset):
    written = write_dataset(layout, tmp_path, identities={"train": 3, "test": 2}, height=(40, 48))
    renamed = tmp_path / "annotations.json"
    renamed.write_bytes(written.annotation_file.read_bytes())
    for source in (renamed, written.processed):
        assert identify(read_records(source)) is dataset


def test_published_paths_are_recognised(tmp_path):
    """One path of each as the owners' files have it, in the processed form without their fields."""
    paths = {
        "CUHK-PEDES": ("CUHK03/3_45_1.png", ["a", "b"]),
        "RSTPReid": ("0000_c14_0022.jpg", ["a", "b"]),
        "ICFG-PEDES": ("test/0627/0627_010_05_0303afternoon_1591_0.jpg", ["a"]),
    }
    for name, (path, captions) in paths.items():
        record = {"split": "test", "file_path": path, "id": 1, "captions": captions}
        file = tmp_path / "all.json"
        file.write_text(json.dumps([record]))
        found = identify(read_records(file))
        assert found is not None
        assert found.name == name


@pytest.mark.parametrize(
    "changes",
    [
        {"file_path": "mine/1.jpg"},
        {"file_path": "train/0001/1.jpg", "captions": ["a", "b"]},
        {"file_path": "train/0001/1.jpg", "split": "val"},
    ],
)
def test_ones_own_dataset_is_not_taken_for_a_published_one(tmp_path, changes):
    file = tmp_path / "reid_raw.json"
    record = {"split": "train", "id": 1, "captions": ["a"], **changes}
    file.write_text(json.dumps([record, record]))
    assert identify(read_records(file)) is None


def test_published_counts_agree_with_themselves():
    totals = {name.name: name.counts["train"] for name in PUBLISHED}
    assert totals["CUHK-PEDES"] == Count(34054, 68126, 11003)
    assert ICFG_PEDES.counts.keys() == {"train", "test"}


def test_differences_from_the_published_counts_are_said(tmp_path):
    written = write_dataset(
        "cuhk-pedes", tmp_path, identities={"train": 3, "test": 2}, height=(40, 48)
    )
    splits = read_annotations(written.annotation_file)
    here = {
        split: Count(count.images, count.captions, count.identities)
        for split, count in written.counts.items()
    }
    assert replace(CUHK_PEDES, counts=here).compare_counts(splits) == []
    sentences = CUHK_PEDES.compare_counts(splits)
    assert len(sentences) == 9
    assert sentences[0] == f"train: {here['train'].pictures} pictures, 34054 published"
    assert "val: 0 identities, 1000 published" in sentences
