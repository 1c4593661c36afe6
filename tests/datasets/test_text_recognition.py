import json
from dataclasses import replace

import pytest

from misc.datasets.counts import TextCount
from misc.datasets.cuhk_pedes import CUHK_PEDES
from misc.datasets.icfg_pedes import ICFG_PEDES
from misc.datasets.rstpreid import RSTPREID
from misc.datasets.text_annotations import read_annotations, read_records
from misc.datasets.text_recognition import PUBLISHED, identify
from misc.datasets.ufine6926 import UFINE6926
from misc.synthetic.writing import write_dataset


@pytest.mark.parametrize(
    ("layout", "dataset"),
    [
        ("cuhk-pedes", CUHK_PEDES),
        ("icfg-pedes", ICFG_PEDES),
        ("rstpreid", RSTPREID),
        ("ufine6926", UFINE6926),
    ],
)
def test_a_dataset_is_recognised_by_its_records_whatever_the_file(tmp_path, layout, dataset):
    written = write_dataset(layout, tmp_path, identities={"train": 3, "test": 2}, height=(40, 48))
    renamed = tmp_path / "annotations.json"
    renamed.write_bytes(written.annotation_file.read_bytes())
    for source in (renamed, written.processed):
        records = read_records(source)
        assert identify(records) is dataset
        assert [one for one in PUBLISHED if one.recognises(records)] == [dataset]


@pytest.mark.parametrize(
    ("dataset", "path", "captions"),
    [
        (CUHK_PEDES, "CUHK03/3_45_1.png", ["a", "b", "c"]),
        (CUHK_PEDES, "Market/0001_c1s1_001051_00.jpg", ["a"]),
        (RSTPREID, "0000_c14_0022.jpg", ["a", "b"]),
        (ICFG_PEDES, "test/0627/0627_010_05_0303afternoon_1591_0.jpg", ["a"]),
        (UFINE6926, "images/1.jpg", ["word " * 70, "word " * 90]),
    ],
)
def test_the_processed_form_is_recognised_by_its_paths(tmp_path, dataset, path, captions):
    record = {"file_path": path, "id": 1, "captions": captions}
    (tmp_path / "test_reid.json").write_text(json.dumps([record]))
    assert identify(read_records(tmp_path)) is dataset


@pytest.mark.parametrize(
    "changes",
    [
        {"file_path": "mine/1.jpg"},
        {"file_path": "train/0001/1.jpg", "captions": ["a", "b"]},
        {"file_path": "train/0001/1.jpg", "split": "val"},
        {"file_path": "images/1.jpg", "captions": ["word " * 20, "word " * 30]},
        {"file_path": "images/1.jpg", "captions": ["word " * 81] * 3},
        {"file_path": "images/1.jpg", "captions": ["word " * 81] * 2, "split": "val"},
        {"file_path": "images/anna.jpg", "captions": ["word " * 81] * 2},
    ],
)
def test_ones_own_dataset_is_not_taken_for_a_published_one(tmp_path, changes):
    file = tmp_path / "reid_raw.json"
    file.write_text(json.dumps([{"split": "train", "id": 1, "captions": ["a"], **changes}]))
    assert identify(read_records(file)) is None


def test_pairs_without_identities_are_no_published_dataset(tmp_path):
    file = tmp_path / "pairs.json"
    record = {"file_path": "Market/0001_c1s1_001051_00.jpg", "captions": ["a"]}
    file.write_text(json.dumps([record]))
    assert identify(read_records(file)) is None


def test_differences_from_the_published_counts_are_said(tmp_path):
    written = write_dataset(
        "cuhk-pedes", tmp_path, identities={"train": 3, "test": 2}, height=(40, 48)
    )
    splits = read_annotations(written.annotation_file)
    here = {
        split: TextCount(count.images, count.identities, count.captions)
        for split, count in written.counts.items()
    }
    assert replace(CUHK_PEDES, counts=here).compare_counts(splits) == ""
    train, test = here["train"], here["test"]
    assert CUHK_PEDES.compare_counts(splits) == (
        "Sizes differ from published CUHK-PEDES: "
        f"train {train.pictures} images (34,054), 3 identities (11,003), "
        f"{train.captions} captions (68,126); "
        "val 0 images (3,078), 0 identities (1,000), 0 captions (6,158); "
        f"test {test.pictures} images (3,074), 2 identities (1,000), "
        f"{test.captions} captions (6,156)"
    )
