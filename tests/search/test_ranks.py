"""An index that two processes build: the same as that of one."""

import shutil
from pathlib import Path

import pytest

from misc.runtime.distributed import Processes
from misc.search.person_search import PersonSearch
from misc.search.table import PictureTable
from misc.search.updating import Update
from tests.ranks import run_ranks
from tests.search.contents import assert_same, content

# Numbers of files, and of which of them cannot be read.
CASES = {
    "odd": (13, ()),
    "fewer than processes": (1, ()),
    "a batch of one process": (9, ()),
    "some unreadable": (11, (0, 5, 10)),
    "none of a process readable": (8, (1, 3, 5, 7)),
    "none readable": (3, (0, 1, 2)),
}


def build(own: Processes, run: Path, folders: list[Path], output: Path) -> list[Update]:
    """Index each folder on its own, in batches of 4."""
    people = PersonSearch(run, processes=own)
    return [
        people.index(output / folder.name).add(
            folder, camera=r"(\d+)\.jpg", batch_size=4, workers=0
        )
        for folder in folders
    ]


def write_folder(folder: Path, files: list[Path], unreadable: tuple[int, ...]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        shutil.copyfile(file, folder / f"{number:02}.jpg")
        if number in unreadable:
            (folder / f"{number:02}.jpg").write_text("no picture")
    return folder


def change(folder: Path, files: list[Path]) -> None:
    """Add, replace and remove an odd number of pictures each, and spoil one."""
    for number in range(5):
        shutil.copyfile(files[number], folder / f"9{number}.jpg")
    for number in range(3):
        shutil.copyfile(files[10 + number], folder / f"{number:02}.jpg")
    (folder / "03.jpg").write_text("no picture")
    (folder / "04.jpg").unlink()


@pytest.fixture
def folders(tmp_path, pedestrians) -> list[Path]:
    files = sorted(Path(pedestrians.image_root).rglob("*.jpg"))
    return [
        write_folder(tmp_path / "pictures" / name, files[:number], unreadable)
        for name, (number, unreadable) in CASES.items()
    ]


def test_two_processes_index_as_one(run_folder, people, folders, tmp_path, pedestrians):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for turn in range(2):
        results = run_ranks(build, 2, tmp_path, run_folder, folders, together)
        expected = build(people.processes, run_folder, folders, alone)
        assert results[0] == results[1] == expected
        for folder in folders:
            one, two = (PictureTable(str(way / folder.name)) for way in (alone, together))
            assert_same(content(one), content(two))
        if turn == 0:
            number = {name: number - len(bad) for name, (number, bad) in CASES.items()}
            assert [update.added for update in results[0]] == list(number.values())
            change(folders[0], sorted(Path(pedestrians.image_root).rglob("*.jpg"))[20:])
            del folders[2:]  # of which nothing has changed
    changed = results[0][0]
    assert (changed.added, changed.changed, changed.removed, changed.unchanged) == (5, 3, 1, 8)
    assert len(changed.unreadable) == 1
    assert all(update.encoded == 0 for update in results[0][1:])
