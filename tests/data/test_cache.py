import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import options
from misc.data import cache as caching
from misc.data.cache import Counts, PictureCache, open_cache
from misc.datasets.pictures import BadPicture, read_picture
from misc.tasks.pictures import PictureReader

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux alone")
ROOM = 2**20


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Six pictures of different sizes, lossless."""
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for number, file in enumerate(files):
        pixels = rng.integers(256, size=(20 + number, 10 + 2 * number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return files


def opened(kind: str, tmp_path: Path, files: list[Path], room: int = ROOM) -> PictureCache:
    cache = open_cache(kind, tmp_path / "cache", files, room, read_picture, "whole")
    assert cache is not None
    return cache


def read_all(cache: PictureCache, files: list[Path]) -> list[bytes]:
    return [cache(number, file).tobytes() for number, file in enumerate(files)]


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_pictures_are_decoded_once(kind, tmp_path, files):
    cache = opened(kind, tmp_path, files)
    expected = [read_picture(file).tobytes() for file in files]
    assert read_all(cache, files) == expected
    assert cache.take_counts() == Counts(read=6, cached=0)
    assert read_all(cache, files) == expected
    assert cache.take_counts() == Counts(read=6, cached=6)
    assert cache.take_counts() == Counts()
    assert cache(5, files[5]).size == (20, 25)


def test_no_cache_is_asked_for(tmp_path, files):
    assert open_cache("none", tmp_path, files, ROOM, read_picture, "whole") is None


def test_a_later_run_finds_the_pictures_on_the_disk(tmp_path, files):
    expected = read_all(opened("disk", tmp_path, files), files)
    again = opened("disk", tmp_path, files)
    assert read_all(again, files) == expected
    assert again.take_counts().cached == 6
    other = open_cache("disk", tmp_path / "cache", files, ROOM, read_picture, "half")
    assert other is not None
    read_all(other, files)
    assert other.take_counts().cached == 0


def test_a_picture_that_was_changed_is_read_again(tmp_path, files):
    cache = opened("disk", tmp_path, files)
    read_all(cache, files)
    Image.new("RGB", (7, 9), "red").save(files[2])
    assert cache(2, files[2]).size == (7, 9)
    assert cache(2, files[2]).getpixel((0, 0)) == (255, 0, 0)
    assert cache.take_counts() == Counts(read=8, cached=1)


def test_the_folder_is_made_with_those_above_it(tmp_path, files):
    folder = tmp_path / "a" / "b"
    assert open_cache("disk", folder, files, ROOM, read_picture, "whole") is not None
    assert [file.suffix for file in folder.iterdir()] == [".cache"]


def test_the_longest_side_that_is_kept(tmp_path):
    files = [tmp_path / "kept.png", tmp_path / "left.png"]
    for file, side in zip(files, (2**16 - 1, 2**16), strict=True):
        Image.new("RGB", (side, 1)).save(file)
    cache = opened("memory", tmp_path, files)
    assert read_all(cache, files) == read_all(cache, files)
    assert cache.take_counts() == Counts(read=4, cached=1)


def test_a_name_that_is_no_text_has_its_picture_kept(tmp_path, files):
    strange = files[0].with_name(os.fsdecode(b"\xff.png"))
    files[0].rename(strange)
    cache = opened("memory", tmp_path, [strange])
    assert read_all(cache, [strange, strange])[0] == read_picture(strange).tobytes()


def test_a_missing_picture_is_told_even_if_it_was_there(tmp_path, files):
    cache = opened("memory", tmp_path, files)
    read_all(cache, files)
    files[1].unlink()
    with pytest.raises(BadPicture, match="does not exist"):
        cache(1, files[1])


def test_the_room_is_kept(tmp_path, files):
    cache = opened("memory", tmp_path, files, room=3000)
    expected = [read_picture(file).tobytes() for file in files]
    for _ in range(2):
        assert read_all(cache, files) == expected
    assert 0 < cache.take_counts().cached < 6
    assert cache.used() <= 3000
    assert os.fstat(cache.descriptor).st_size <= 3000


def test_the_last_byte_of_the_room_is_used(tmp_path, files):
    whole = opened("memory", tmp_path, files)
    read_all(whole, files)
    exact = opened("memory", tmp_path, files, room=whole.used())
    for _ in range(2):
        read_all(exact, files)
    assert exact.take_counts().cached == len(files)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_processes_share_the_pictures(kind, tmp_path, files):
    cache = opened(kind, tmp_path, files)
    expected = [read_picture(file).tobytes() for file in files]
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            right = all(read_all(cache, files) == expected for _ in range(20))
            os._exit(0 if right else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert read_all(cache, files) == expected
    assert cache.take_counts().cached == 6


def test_a_full_disk_stops_the_keeping_alone(tmp_path, files, monkeypatch, caplog):
    cache = opened("disk", tmp_path, files)
    read_all(cache, files[:3])
    real = os.pwrite

    def full(descriptor, content, place):
        if len(content) > 100:
            raise OSError(28, "No space left on device")
        return real(descriptor, content, place)

    monkeypatch.setattr(caching.os, "pwrite", full)
    expected = [read_picture(file).tobytes() for file in files]
    assert read_all(cache, files) == read_all(cache, files) == expected
    assert caplog.text.count("no more pictures are kept (No space left on device)") == 1


def test_pixels_that_a_loss_of_power_took_are_read_again(tmp_path, files):
    """The file has its table, but a hole where pixels were."""
    cache = opened("disk", tmp_path, files)
    expected, table = read_all(cache, files), caching.HEADER.size + 6 * caching.ENTRY.size
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    content[table + 100 : table + 200] = bytes(100)  # of the first picture
    file.write_bytes(content)
    again = opened("disk", tmp_path, files)
    for cached in (5, 6):
        assert read_all(again, files) == expected
        assert again.take_counts() == Counts(read=6, cached=cached)


@pytest.mark.parametrize(("left", "goes_on"), [(0, False), (50, False), (100, True), (5000, True)])
def test_a_file_that_was_cut_costs_pictures_alone(left, goes_on, tmp_path, files, caplog):
    """To nothing, within the first entry, after it, and within the pixels; the next picture that is
    kept makes the table whole again.
    """
    cache = opened("disk", tmp_path, files)
    expected = read_all(cache, files)
    os.ftruncate(cache.descriptor, left)
    cache.take_counts()
    for _ in range(2):
        assert read_all(cache, files) == expected
    told = caplog.text.count("data.cache: no more pictures are kept (its file was cut)")
    assert told == (not goes_on)
    assert (cache.take_counts().cached > 5) == goes_on


def test_a_file_that_cannot_be_read_costs_its_pictures_alone(tmp_path, files, monkeypatch, caplog):
    cache = opened("disk", tmp_path, files)
    expected = read_all(cache, files)

    def stale(descriptor, size, place):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(caching.os, "pread", stale)
    for _ in range(2):
        assert read_all(cache, files) == expected
    assert cache.used() == 0
    assert caplog.text.count("no more pictures are kept (Stale file handle)") == 1


def test_the_files_of_a_folder_share_the_room(tmp_path, files, caplog):
    first = opened("disk", tmp_path, files)
    expected = read_all(first, files)
    for number, more in ((0, -1), (3, 0)):  # three pictures fit, but for a byte
        size = caching.HEADER.size + 3 * caching.ENTRY.size + sum(map(len, expected[:3]))
        other = files[:3] if number else files[2::-1]
        second = opened("disk", tmp_path, other, room=first.used() + size + more)
        caplog.clear()
        read_all(second, other)
        read_all(second, other)
        assert second.take_counts().cached == (3 if number else 2)
        assert caplog.text.count("delete those of these files that no run needs") == (not number)
        assert (str(first.file) in caplog.text) == (not number)
        second.file.unlink()


@pytest.mark.parametrize(("kind", "share"), [("memory", 2), ("disk", 1)])
def test_processes_divide_the_memory_and_share_the_disk(kind, share, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    words = f"data={{cache: {kind}, cache_folder: {tmp_path}, cache_gib: 3}}"
    cache = PictureReader(options.parse([words]).configure().data, []).cache
    assert cache is not None
    assert cache.room == 3 * 2**30 / share


def test_a_part_of_a_picture_is_not_kept(tmp_path, files, monkeypatch):
    cache = opened("disk", tmp_path, files)
    real = os.pwrite
    monkeypatch.setattr(caching.os, "pwrite", lambda d, c, p: real(d, c[:50], p))
    expected = read_picture(files[0]).tobytes()
    assert cache(0, files[0]).tobytes() == cache(0, files[0]).tobytes() == expected


def test_a_folder_that_cannot_be_written_is_told(tmp_path, files, caplog):
    (tmp_path / "cache").write_text("a file")
    assert open_cache("disk", tmp_path / "cache", files, ROOM, read_picture, "whole") is None
    assert "cannot be written (File exists): nothing is cached" in caplog.text


def test_a_file_whose_making_was_cut_short_is_used_again(tmp_path, files, monkeypatch, caplog):
    def full(descriptor, content, place):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(caching.os, "pwrite", full)
        assert open_cache("disk", tmp_path / "cache", files, ROOM, read_picture, "whole") is None
    assert "cannot be written (No space left on device): nothing is cached" in caplog.text
    cache = opened("disk", tmp_path, files)
    assert read_all(cache, files) == read_all(cache, files)
    assert cache.take_counts().cached == len(files)


def test_a_file_that_is_no_cache_is_left_alone(tmp_path, files, caplog):
    opened("disk", tmp_path, files)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(b"another version of this file, or anything else" * 9)
    content = file.read_bytes()
    assert open_cache("disk", tmp_path / "cache", files, ROOM, read_picture, "whole") is None
    assert "is none of this version: delete it" in caplog.text
    assert file.read_bytes() == content
