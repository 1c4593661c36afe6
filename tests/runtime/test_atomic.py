import errno
import os
from pathlib import Path

import pytest

from misc.runtime.atomic import atomic_write


def write(file: Path, text: str, error: BaseException | None = None) -> None:
    with atomic_write(file) as partial:
        partial.write_text(text)
        if error:
            raise error


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path):
    file = tmp_path / "file.txt"
    write(file, "old")
    with atomic_write(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    file = tmp_path / "file.txt"
    with pytest.raises(type(error)):
        write(file, "half", error)
    assert list(tmp_path.iterdir()) == []
    write(file, "old")
    with pytest.raises(type(error)):
        write(file, "half", error)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_content_and_names_reach_the_disk_in_this_order(tmp_path, monkeypatch):
    steps = []

    def sync(descriptor: int) -> None:
        steps.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    def rename(old: Path, new: Path) -> None:
        steps.append("rename")
        replace(old, new)

    replace = os.replace
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    write(tmp_path / "file.txt", "new")
    assert steps == [str(tmp_path / "file.txt.partial"), "rename", str(tmp_path)]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end_leaves_the_old_file(tmp_path, monkeypatch, name):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path / "file.txt", "old")
    monkeypatch.setattr(os, name, fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file.txt"):
        pass
