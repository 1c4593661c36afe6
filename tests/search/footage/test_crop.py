"""search.py crop: its files, a second run, and the user's mistakes."""

import json
import shutil
from pathlib import Path

import pytest

import search
from errors import InputError
from misc.search.footage.fingerprint import END, fingerprint
from misc.search.footage.records import read_crops
from tests.search.footage.conftest import SIZE, level, shade

LINES = [f"{frame},{track},{30 * track},10,30,60" for frame in (1, 11) for track in (1, 2)]


def crop(*words: object) -> int:
    return search.main(["crop", *map(str, words)])


def files(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert crop(*words) == 2
    return capsys.readouterr().err


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "crops"


def test_crops_and_records_are_written(video, boxes, output, capsys):
    walk = video("cam3/20260101_080000.mp4")
    given = ("--boxes", boxes(*LINES), "--output", output)
    fields = ("--camera", r"cam(\d+)", "--time", r"\d{8}_\d{6}")
    assert crop(walk, *given, *fields, "--margin", "0") == 0
    told = capsys.readouterr().out
    assert told == "20260101_080000.mp4: 20 frames read, 4 boxes, 4 crops kept\n"
    names = ["000000_1", "000000_2", "000010_1", "000010_2"]
    crops = [f"20260101_080000/{name}.jpg" for name in names]
    assert files(output) == [*crops, "crops.jsonl"]
    last = json.loads((output / "crops.jsonl").read_text().splitlines()[-1])
    assert last == {
        "path": crops[-1],
        "video": "20260101_080000.mp4",
        "camera": 3,
        "frame": 10,
        "seconds": 1.0,
        "time": "2026-01-01 08:00:01",
        "box": [60.0, 10.0, 30.0, 60.0],
        "score": None,
        "track": 2,
        "fingerprint": fingerprint(walk),
    }
    assert level(output / crops[-1]) == pytest.approx(shade(10), abs=3)


def test_a_second_run_replaces_the_crops_of_its_video_alone(video, boxes, output):
    walk, stroll = video(), video("stroll.mp4")
    both = (boxes(*LINES), boxes(*LINES, name="other.txt"))
    start = ("--start", "2026-01-01 08:00")
    assert crop(walk, stroll, "--boxes", *both, "--output", output) == 0
    before = read_crops(output / "crops.jsonl")
    assert crop(walk, "--boxes", boxes(LINES[0]), "--output", output, *start) == 0
    after = read_crops(output / "crops.jsonl")
    kept = {path for path in before if path.parent.name == "stroll"}
    assert after.keys() == {*kept, output / "walk/000000_1.jpg"}
    assert set(output.rglob("*.jpg")) == after.keys()
    assert after[output / "walk/000000_1.jpg"].time == "2026-01-01 08:00:00"
    assert all(after[path] == before[path] for path in kept)


def test_another_video_of_the_same_name_is_refused(video, boxes, output, tmp_path, capsys):
    given = ("--boxes", boxes(*LINES), "--output", output)
    assert crop(video("cam1/walk.mp4"), *given) == 0
    before = files(output), (output / "crops.jsonl").read_bytes()
    other = video("cam2/walk.mp4", num_frames=19)
    told = refusal(capsys, other, *given)
    assert f"{output / 'walk'} holds the crops of another walk.mp4; crop {other} into" in told
    assert (files(output), (output / "crops.jsonl").read_bytes()) == before
    moved = shutil.move(tmp_path / "cam1", tmp_path / "archive")
    assert crop(moved / "walk.mp4", *given) == 0
    shutil.rmtree(output / "walk")  # as the sentence says
    assert crop(other, *given) == 0
    assert {one.fingerprint for one in read_crops(output / "crops.jsonl").values()} == {
        fingerprint(other)
    }


def test_crops_of_older_versions_are_replaced(video, boxes, output):
    """Their records have no fingerprint."""
    given = (video(), "--boxes", boxes(*LINES), "--output", output)
    assert crop(*given) == 0
    records = [json.loads(line) for line in (output / "crops.jsonl").read_text().splitlines()]
    assert all(record.pop("fingerprint") for record in records)
    (output / "crops.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    assert {one.fingerprint for one in read_crops(output / "crops.jsonl").values()} == {None}
    assert crop(*given) == 0
    assert None not in {one.fingerprint for one in read_crops(output / "crops.jsonl").values()}


def test_both_ends_and_the_size_make_the_fingerprint(tmp_path):
    film = bytearray(3 * END)
    prints = set()
    for change in (None, 0, END - 1, -END, -1):
        content = bytearray(film)
        if change is not None:
            content[change] = 1
        (tmp_path / "a.mp4").write_bytes(content)
        prints.add(fingerprint(tmp_path / "a.mp4"))
    (tmp_path / "a.mp4").write_bytes(film + bytes(1))
    assert len({*prints, fingerprint(tmp_path / "a.mp4")}) == 6
    with pytest.raises(InputError, match=r"b\.mp4 cannot be read"):
        fingerprint(tmp_path / "b.mp4")


def test_boxes_may_be_a_folder(video, boxes, output, tmp_path, capsys):
    walk, stroll = video(), video("stroll.mp4")
    boxes(*LINES), boxes(LINES[0], name="stroll.txt")
    assert crop(walk, stroll, "--boxes", tmp_path, "--output", output) == 0
    assert len(read_crops(output / "crops.jsonl")) == 5
    (tmp_path / "stroll.txt").unlink()
    told = refusal(capsys, walk, stroll, "--boxes", tmp_path, "--output", output)
    assert "stroll.txt cannot be read" in told


def test_mistakes_are_one_sentence_and_leave_nothing_behind(video, boxes, output, tmp_path, capsys):
    walk, given = video(), boxes(*LINES)
    far = boxes(f"1,1,{SIZE[0]},0,10,60", name="far.txt")
    late = boxes(*LINES, "21,1,0,0,30,60", name="late.txt")
    twin = video("other/walk.mp4")
    target = ("--output", output)
    for words, sentence in [
        ((walk, *target), "one of the arguments --boxes --detector is required"),
        ((walk, "--boxes", given, "--detector", "hog", *target), "not allowed with argument"),
        ((tmp_path / "absent.mp4", "--boxes", given, *target), "absent.mp4 does not exist"),
        ((given, "--boxes", given, *target), "walk.txt cannot be decoded"),
        ((walk, "--boxes", tmp_path / "absent.txt", *target), "absent.txt cannot be read"),
        ((walk, "--boxes", given, given, *target), "2 files of --boxes for 1 video;"),
        ((walk, "--boxes", far, *target), "far.txt, line 1: the box is outside the frame"),
        ((walk, "--boxes", late, *target), "late.txt, line 5: frame 21 is beyond the 20 frames"),
        ((walk, twin, "--boxes", given, given, *target), "would share the folder"),
        ((walk, "--boxes", given, "--camera", "(", *target), "'(' is not a regular expression"),
        ((walk, "--boxes", given, "--camera", "walk", *target), "--camera finds 'walk'"),
        ((walk, "--boxes", given, "--time", "walk", *target), "--time finds 'walk'"),
        ((walk, "--boxes", given, "--start", "noon", *target), "'noon' is not a time"),
        ((walk, "--boxes", given, "--every", "-1", *target), "'-1' is not a number from 0 to"),
        ((walk, "--boxes", given, "--every", "1e999999999", *target), "is not a number from 0"),
        ((walk, "--boxes", given, "--margin", "1e400", *target), "'1e400' is not a number from 0"),
        ((walk, "--boxes", given, "--margin", "1000001", *target), "from 0 to 1,000,000"),
        ((walk, "--boxes", given, "--threshold", "nan", *target), "'nan' is not a finite number"),
        ((walk, "--boxes", given, "--threshold", "high", *target), "'high' is not a finite"),
        (
            (walk, "--boxes", given, "--start", "9999-12-31 23:59:59", *target),
            "1 s after 9999-12-31 23:59:59 is beyond the years 1 to 9999",
        ),
        (
            (tmp_path / "w\udcff.mp4", "--boxes", given, *target),
            "w\\udcff.mp4' has a name that is not UTF-8; rename it",
        ),
        ((walk, "--boxes", given, "--weights", given, *target), "are for --detector torchvision"),
        (
            (walk, twin, "--boxes", given, given, "--start", "2026-01-01 08:00", *target),
            "--start is for one video",
        ),
        ((walk, "--boxes", given, "--output", given), f"cannot write to {given}"),
    ]:
        told = refusal(capsys, *words)
        assert sentence in told
        assert told.count("\n") == 1
        assert not output.exists() or files(output) == [], sentence


def test_a_failed_run_keeps_the_crops_that_there_were(video, boxes, output, capsys):
    walk, late = video(), boxes(*LINES, "21,1,0,0,30,60", name="late.txt")
    assert crop(walk, "--boxes", boxes(*LINES), "--output", output) == 0
    before = files(output), (output / "crops.jsonl").read_bytes()
    refusal(capsys, walk, "--boxes", late, "--output", output)
    assert (files(output), (output / "crops.jsonl").read_bytes()) == before


@pytest.mark.parametrize("line", ['{"path": ""}', "damage", "\udcff"])
def test_damaged_records_are_refused_until_they_are_deleted(video, boxes, output, capsys, line):
    given = (video(), "--boxes", boxes(*LINES), "--output", output)
    assert crop(*given) == 0
    with (output / "crops.jsonl").open("ab") as end:
        end.write(f"{line}\n".encode(errors="surrogateescape"))
    told = refusal(capsys, *given)
    assert "crops.jsonl, line 5: " in told
    assert "delete the file, and crop the videos again" in told
    (output / "crops.jsonl").unlink()
    assert crop(*given) == 0
    assert len(read_crops(output / "crops.jsonl")) == 4


def test_the_largest_margin_is_the_whole_frame(video, boxes, output):
    words = ("--boxes", boxes(f"1,1,{'9' * 15},{'9' * 15},1,1", "1,2,0,0,30,60"), "--margin", "1e6")
    assert crop(video(), *words, "--output", output) == 2  # the first is outside
    words = ("--boxes", boxes(f"1,2,0,0,{'9' * 15},60"), "--margin", "1e6")
    assert crop(video(), *words, "--output", output) == 0
    (record,) = read_crops(output / "crops.jsonl").values()
    assert record.box == (0, 0, *SIZE)


def test_what_is_not_of_crops_is_never_replaced(video, boxes, output, capsys):
    given = ("--boxes", boxes(*LINES), "--output", output)
    (output / "walk").mkdir(parents=True)
    (output / "walk/notes.txt").write_text("mine")
    assert "holds more than crops" in refusal(capsys, video(), *given)
    assert files(output) == ["walk/notes.txt"]
    (output / "walk/notes.txt").unlink()
    assert crop(video(), *given) == 0
    other = refusal(capsys, video("walk.avi"), *given)
    assert "holds the crops of walk.mp4" in other
