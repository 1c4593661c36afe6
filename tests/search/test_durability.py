"""An index whose writers are killed or meet one another, and one that is damaged."""

import os
import shutil
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import lancedb
import numpy as np
import pytest

import search
from errors import InputError
from misc.search import lock
from misc.search.lock import LOCK
from misc.search.table import ABOUT, PICTURES, PictureTable
from tests.search.contents import assert_part, assert_same, content
from tests.search.forked import run_command, start

KILLS, COUNT = 6, 160
WORDS = "a woman in a red coat"


@pytest.fixture
def many(tmp_path, pedestrians) -> Path:
    """A folder of `COUNT` pictures."""
    files = sorted(Path(pedestrians.image_root).rglob("*.jpg"))
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(COUNT):
        shutil.copyfile(files[number % len(files)], folder / f"{number:03}.jpg")
    return folder


@pytest.fixture
def location(tmp_path) -> Path:
    return tmp_path / "people.index"


@pytest.fixture
def command(run_folder, many, location) -> tuple[object, ...]:
    """`search.py index` of them in small commits."""
    return (
        *("index", "--checkpoint", run_folder, "--images", many, "--output", location),
        *("--batch-size", 4, "--workers", 0),
    )


def commits(location: Path) -> int:
    """Commits to the pictures of an index so far."""
    return len(list(location.glob(f"{PICTURES}.lance/_versions/*.manifest")))


def wait_for_commits(process: ForkServerProcess, location: Path, number: int) -> None:
    while process.is_alive() and commits(location) < number:
        time.sleep(0.001)


def test_a_killed_run_loses_nothing_that_was_committed(command, people, many, location, tmp_path):
    rng, log = np.random.default_rng(0), tmp_path / "log"
    fresh = people.index(tmp_path / "fresh.index")
    fresh.add(many, workers=0)
    whole, before = content(fresh.table), {}
    for _ in range(KILLS):
        wanted = commits(location) + rng.integers(2, 5)
        process = start(run_command, log, *command)
        wait_for_commits(process, location, wanted)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, log.read_text()
        index = people.index(location)
        found = content(index.table)
        assert_part(before, found)
        assert_part(found, whole)
        assert len(index.search(WORDS, top=500)) == len(found)
        before = found
    assert 0 < len(before) < len(whole)
    process = start(run_command, log, *command)
    process.join()
    assert process.exitcode == 0, log.read_text()
    assert f"{len(whole) - len(before)} added, 0 changed, 0 removed" in log.read_text()
    assert_same(whole, content(people.index(location).table))


def create_and_die(location: str, tables: int) -> None:
    """Make an index, and be killed after so many of its tables."""
    connection = type(lancedb.connect(location))
    create, count = connection.create_table, 0

    def create_table(*args: object, **kwargs: object) -> object:
        nonlocal count
        if count == tables:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        return create(*args, **kwargs)

    connection.create_table = create_table
    PictureTable.create(location, 16, half=False, about="a description")


@pytest.mark.parametrize("tables", [0, 1])
def test_an_index_killed_while_it_is_made_is_made_by_the_next_run(
    people, pictures, location, tables
):
    process = start(create_and_die, str(location), tables)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not PictureTable.exists(str(location))
    people.index(location).add(pictures, workers=0)
    assert len(people.index(location)) == 30


def row(number: int) -> dict[str, object]:
    return {"path": f"/pictures/{number:04}.jpg", "camera": number % 3}


def compact(location: str, ready: Path) -> None:
    table = PictureTable(location)
    ready.touch()
    table.compact()


def test_a_killed_compaction_loses_nothing(location, tmp_path):
    rng, ready, killed = np.random.default_rng(0), tmp_path / "ready", 0
    table = PictureTable.create(str(location), 16, half=False, about="")
    for number in range(20):
        start_row = 20 * number
        rows = [row(start_row + each) for each in range(20)]
        table.add(rows, rng.standard_normal((20, 16), np.float32))
    table.remove([row(0)["path"], row(25)["path"]])
    before = content(table)
    for _ in range(6):
        process = start(compact, str(location), ready)
        while not ready.exists():
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        killed += process.exitcode != 0
        ready.unlink()
        assert_same(before, content(PictureTable(str(location))))
    assert killed
    table.compact()
    assert_same(before, content(PictureTable(str(location))))


def test_one_process_writes_while_others_read(command, location, tmp_path, capsys):
    log = tmp_path / "log"
    process = start(run_command, log, *command)
    wait_for_commits(process, location, 5)
    os.kill(process.pid, signal.SIGSTOP)  # it keeps its lock
    try:
        assert search.main([str(word) for word in command]) == 2
        sentence = f"error: another process is writing to the index {location}; wait until"
        assert capsys.readouterr().err.startswith(sentence)
        number = len(PictureTable(str(location)))
        assert 0 < number < COUNT
        assert search.main(["query", "--index", str(location), "--top", "500", WORDS]) == 0
        assert capsys.readouterr().out.count(".jpg") == number
    finally:
        os.kill(process.pid, signal.SIGCONT)
    process.join()
    assert process.exitcode == 0, log.read_text()
    assert f"{COUNT} added" in log.read_text()


@pytest.mark.parametrize(
    ("files", "where"),
    [
        (f"{PICTURES}.lance/data/*", None),
        (f"{PICTURES}.lance/data/*", "camera = 1"),
        (f"{PICTURES}.lance/_versions/*", None),
        (f"{ABOUT}.lance/data/*", None),
    ],
)
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_damaged_index_is_named(index, tmp_path, capsys, files, where, is_gone):
    location = Path(index.table.location)
    assert list(location.glob(files))
    for file in location.glob(files):
        file.unlink() if is_gone else os.truncate(file, 10)
    words = ["query", "--index", str(location), WORDS, *(["--where", where] if where else [])]
    assert search.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: the index {location} cannot be read or written (")
    assert len(error.splitlines()) == 1
    assert ".rs:" not in error


def test_an_index_deleted_under_an_open_one_is_named(index):
    shutil.rmtree(index.table.location)
    with pytest.raises(InputError, match="cannot be read or written"):
        index.search(WORDS)


def test_a_folder_that_cannot_be_written_is_named(index, pictures, monkeypatch):
    """By a refusal of the system in place of permissions, which root does not have to ask for."""

    def refuse(file: Path, *_: object) -> int:
        assert file.name == LOCK
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(lock.os, "open", refuse)
    with pytest.raises(InputError, match=r"index .* cannot be written \(Permission denied\)"):
        index.add(pictures, workers=0)
    assert len(index.search(WORDS, top=100)) == 30


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_index_is_searched(index, pictures):
    folders = [Path(index.table.location), *Path(index.table.location).rglob("*")]
    for each in folders:
        each.chmod(0o555 if each.is_dir() else 0o444)
    try:
        assert len(index.search(WORDS, top=100)) == 30
        with pytest.raises(InputError, match="cannot be written"):
            index.add(pictures, workers=0)
    finally:
        for each in folders:
            each.chmod(0o755)
