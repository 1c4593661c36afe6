"""An index after changes of the pictures: what is encoded, joined, kept and removed."""

import os
import shutil
from pathlib import Path

import pytest

from errors import InputError
from misc.search import picture_batches, updating
from misc.search.index import Index, open_index
from misc.search.table import PictureTable
from tests.search.folders import WORDS, brute_force, files_of, write_crops


def touch_later(file: Path) -> None:
    """Give a file another time, whatever the resolution of the clock."""
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def test_only_what_is_new_or_changed_is_encoded(index, people, pictures, pedestrians):
    again = index.add(pictures)
    assert (again.encoded, again.removed, again.unchanged) == (0, 0, 30)
    files = [Path(file) for file in files_of(pictures)]
    others = sorted(Path(pedestrians.image_root).rglob("*.jpg"))[30:]
    for number in range(10):
        shutil.copyfile(others[number], pictures / f"new{number}.jpg")
    for number, file in enumerate(files[:5]):
        shutil.copyfile(others[10 + number], file)
    for file in files[5:10]:
        file.unlink()
    touch_later(files[20])  # the same content
    update = index.add(pictures)
    assert (update.added, update.changed, update.removed, update.unchanged) == (10, 5, 5, 20)
    assert len(index) == 35
    query = people.encode_texts([WORDS])[0]
    paths, scores = brute_force(people, files_of(pictures), query, 35)
    hits = index.search(WORDS, top=100)
    assert [hit.path for hit in hits] == paths
    assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-6)
    assert index.add(pictures).unchanged == 35


def test_a_second_folder_leaves_the_first_alone(index, pictures, tmp_path):
    shutil.copytree(pictures / "cam1", tmp_path / "more")
    update = index.add(tmp_path / "more")
    assert (update.added, update.removed, len(index)) == (15, 0, 45)


def test_of_a_file_as_large_as_before_the_content_decides(index, pictures):
    first, second = sorted(pictures.rglob("*.jpg"))[:2]
    size = max(first.stat().st_size, second.stat().st_size)
    content = second.read_bytes().ljust(size, b"\0")  # JPEG readers stop before
    first.write_bytes(first.read_bytes().ljust(size, b"\0"))
    index.add(pictures, workers=0)
    time = first.stat().st_mtime_ns
    os.utime(first, ns=(time, time + 10**9))
    assert index.add(pictures, workers=0).encoded == 0
    first.write_bytes(content)
    os.utime(first, ns=(time, time + 2 * 10**9))
    update = index.add(pictures, workers=0)
    assert (update.changed, update.encoded) == (1, 1)


def test_a_file_that_cannot_be_compared_is_read_again(index, pictures, monkeypatch):
    """So that the reason is told."""
    first = sorted(pictures.rglob("*.jpg"))[0]
    time = first.stat().st_mtime_ns
    os.utime(first, ns=(time, time + 10**9))

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    plan = updating.plan_update(pictures, index.table.metadata(), updating.PathPatterns())
    assert [row["path"] for row in plan.encode] == [str(first)]


def test_batches_of_any_size_give_each_picture_its_own_features(index, people, tmp_path, pictures):
    other = people.index(tmp_path / "other.index")
    other.add(pictures, batch_size=7, workers=0)
    whole, parts = (
        {hit.path: hit.score for hit in each.search(WORDS, top=100)} for each in (index, other)
    )
    assert len(whole) == 30
    assert parts == pytest.approx(whole, abs=1e-5)


def test_small_files_are_joined_ever_more_rarely(people, tmp_path, pictures, monkeypatch):
    """After 2, 4 and 8 commits, then every 5, and at the end."""
    monkeypatch.setattr(updating, "COMPACTION", 2)
    monkeypatch.setattr(updating, "RARELY", 5)
    lengths, compact = [], PictureTable.compact

    def compact_too(table: PictureTable) -> None:
        lengths.append(len(table))
        compact(table)

    monkeypatch.setattr(PictureTable, "compact", compact_too)
    people.index(tmp_path / "index").add(pictures, batch_size=1, workers=0)
    assert lengths == [2, 4, 8, 13, 18, 23, 28, 30]


def test_a_file_that_cannot_be_read_does_not_stop_the_others(index, pictures):
    first = Path(files_of(pictures)[0])
    first.write_bytes(first.read_bytes()[:100])
    (pictures / "text.png").write_text("no picture")
    (pictures / "notes.txt").write_text("no picture, and not taken for one")
    (pictures / ".hidden.jpg").write_text("no picture, and hidden")
    Path(os.fsdecode(os.fsencode(pictures) + b"/\xff.jpg")).write_text("a name that is no text")
    update = index.add(pictures)
    assert [reason.split()[1].strip("'") for reason in update.unreadable] == [
        f"{pictures}/\\udcff.jpg",
        str(pictures / "text.png"),
        str(first),
    ]
    assert len(index) == 29
    assert str(first) not in {hit.path for hit in index.search(WORDS, top=100)}


def test_a_file_that_could_not_be_read_for_a_moment_is_told(index, pictures, monkeypatch):
    first = Path(files_of(pictures)[0])
    first.write_bytes(Path(files_of(pictures)[1]).read_bytes())  # another picture

    def fail(file: Path) -> bytes:
        raise InputError(f"{file} is on a drive that has just gone")

    with monkeypatch.context() as patch:
        patch.setattr(picture_batches, "read_content", fail)
        update = index.add(pictures, workers=0)
    assert update.unreadable == [
        f"image {first} could not be read just now; run the same command again"
    ]
    assert (len(index), index.add(pictures).added, len(index)) == (29, 1, 30)


def test_an_open_index_sees_what_another_process_adds(index, people, pictures, tmp_path):
    assert len(index.search(WORDS, top=100)) == 30
    shutil.copytree(pictures, tmp_path / "more")
    people.index(index.table.location).add(tmp_path / "more")
    assert len(index.search(WORDS, top=100)) == 60


def test_a_folder_without_pictures_leaves_the_index_as_it_is(index, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no pictures"):
        index.add(tmp_path / "empty")
    with pytest.raises(InputError, match="is not a folder"):
        index.add(tmp_path / "nowhere")
    assert len(index) == 30


def test_a_pattern_that_finds_no_number_changes_nothing(index, pictures):
    with pytest.raises(InputError, match="not a whole number"):
        index.add(pictures, camera=r"(cam)")
    with pytest.raises(InputError, match="not a regular expression"):
        index.add(pictures, camera="(")
    assert len(index) == 30
    assert isinstance(index, Index)
    kept = open_index(index.table.location).about.folders
    assert kept == {str(pictures.resolve()): {"camera": r"cam(\d)", "time": None}}


def test_a_folder_below_keeps_the_records_above_it(people, tmp_path, pictures):
    write_crops(pictures, files_of(pictures))
    index = people.index(tmp_path / "index")
    index.add(pictures)
    before = index.search(WORDS, top=100)
    assert index.add(pictures / "cam1").unchanged == 15
    assert index.search(WORDS, top=100) == before


def test_each_folder_has_patterns_of_its_own(people, tmp_path, pictures):
    shutil.copytree(pictures, tmp_path / "more")
    for number in (1, 2):
        (tmp_path / "more" / f"cam{number}").rename(tmp_path / "more" / f"door{number + 2}")
    index = people.index(tmp_path / "index")
    index.add(pictures, camera=r"cam(\d)")
    index.add(tmp_path / "more", camera=r"door(\d)")
    index.add(pictures)
    assert {hit.camera for hit in index.search(WORDS, top=100)} == {1, 2, 3, 4}
    index.add(pictures, camera="")
    assert {hit.camera for hit in index.search(WORDS, top=100)} == {None, 3, 4}


def test_folders_above_have_nothing_to_say(people, tmp_path, pictures):
    inner = tmp_path / "cam9" / "pictures"
    shutil.copytree(pictures, inner)
    index = people.index(tmp_path / "index")
    index.add(inner, camera=r"cam(\d)")
    assert {hit.camera for hit in index.search(WORDS, top=100)} == {1, 2}


def test_a_folder_that_is_gone_can_be_removed(index, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "more")
    index.add(tmp_path / "more")
    shutil.rmtree(tmp_path / "more")
    assert index.remove(tmp_path / "more") == 30
    assert {hit.path for hit in index.search(WORDS, top=100)} == {*files_of(pictures)}
    with pytest.raises(InputError, match=f"no pictures of .*more; its folders: {pictures}"):
        index.remove(tmp_path / "more")


def test_the_plots_of_an_index_are_no_pictures_of_people(index, pictures):
    inner = index.people.index(pictures / "people.index")
    (pictures / "people.index" / "calibration.png").write_bytes(b"a plot")
    assert inner.add(pictures).unreadable == []


def test_what_others_store_is_not_lost(index, people, pictures):
    other = people.index(index.table.location)
    other.set_false_alarms(0.2)
    index.add(pictures, camera=r"(\d)\.jpg")
    assert open_index(index.table.location).about.false_alarms == 0.2
