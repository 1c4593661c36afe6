"""Files that commands write where the user says: no other file, device or pipe is replaced."""

import json
import os
import stat
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
import torch

from misc.retrieval.features import Features, load_features, save_features
from misc.runtime.atomic import atomic_write
from misc.runtime.outputs import CHECK, FEATURES, OutputFile

NOTE = OutputFile("a note", b"note: ")


def test_a_new_file_an_empty_one_and_an_earlier_one_are_written(tmp_path):
    file = tmp_path / "file"
    assert NOTE(str(file)) == file
    file.touch()
    assert NOTE(str(file)) == file
    file.write_text("a note: seen\n")
    assert NOTE(str(file)) == file


def test_any_other_file_is_kept(tmp_path):
    file = tmp_path / "file"
    file.write_text("not to be lost")
    with pytest.raises(ArgumentTypeError, match=r"file exists and is not a note, so it is kept"):
        NOTE(str(file))


def test_no_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("note: ")
    for word, fault in {
        "": "it is empty",
        str(tmp_path): "is a folder",
        str(tmp_path / "file" / "below"): "lies below a file",
        str(tmp_path / ("a" * 300)): "cannot be read",  # a longer name than file systems have
    }.items():
        with pytest.raises(ArgumentTypeError, match=fault):
            NOTE(word)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    """A device like /dev/null."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("make", [make_pipe, make_device])
def test_a_pipe_or_device_stays_one(tmp_path, make):
    special, link = tmp_path / "special", tmp_path / "link"
    make(special)
    link.symlink_to(special)
    kind = stat.S_IFMT(special.stat().st_mode)
    for path in (special, link):
        with pytest.raises(ArgumentTypeError, match="is a device or a pipe, give a file"):
            NOTE(str(path))
        with pytest.raises(OSError, match="Not a regular file"), atomic_write(path) as partial:
            partial.write_text("note: ")
    assert stat.S_IFMT(special.stat().st_mode) == kind
    assert sorted(tmp_path.iterdir()) == [link, special]


def test_a_folder_stays_one(tmp_path):
    for folder in (tmp_path, Path()):
        with pytest.raises(OSError, match="Not a regular file"), atomic_write(folder) as partial:
            partial.write_text("note: ")


def test_the_file_that_a_link_points_to_is_written(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    for _ in range(2):  # there is none yet, and there is one
        assert NOTE(str(link)) == file
        with atomic_write(NOTE(str(link))) as partial:
            partial.write_text("note: ")
    assert link.is_symlink()
    file.write_text("not to be lost")
    with pytest.raises(ArgumentTypeError, match="is not a note"):
        NOTE(str(link))


def test_a_link_among_a_runs_own_files_is_replaced_and_not_followed(tmp_path):
    file, link = tmp_path / "other", tmp_path / "link"
    file.write_text("of another run")
    link.symlink_to(file)
    with atomic_write(link) as partial:
        partial.write_text("of this run")
    assert file.read_text() == "of another run"
    assert link.read_text() == "of this run"
    assert not link.is_symlink()


def test_features_replace_features_alone(tmp_path):
    file, checkpoint = tmp_path / "features", tmp_path / "checkpoint_best.pt"
    features = Features(
        image=torch.rand(2, 4),
        text=torch.rand(1, 4),
        image_ids=torch.tensor([1, 2]),
        text_ids=torch.tensor([1]),
        image_paths=("a.jpg", "b.jpg"),
        captions=("a man",),
        model_hash="abc",
    )
    for _ in range(2):
        save_features(FEATURES(str(file)), features)
    assert load_features(file).captions == ("a man",)
    torch.save({"model": features.image}, checkpoint)
    with pytest.raises(ArgumentTypeError, match="is not a file of features"):
        FEATURES(str(checkpoint))


def test_annotations_are_no_report_of_the_check(tmp_path):
    file = tmp_path / "reid_raw.json"
    record = {"split": "test", "captions": ["counts"], "file_path": "a.jpg", "id": 1}
    for content in ([record], {"dataset": [record]}, {"counts": {"test": 1}}):
        file.write_text(json.dumps(content, indent=1))
        with pytest.raises(ArgumentTypeError, match="is not an earlier report of the check"):
            CHECK(str(file))
