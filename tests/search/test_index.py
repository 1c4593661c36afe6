"""The index: what it holds after changes of a folder, and what it finds."""

import json
import logging
import os
import re
import shutil
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest
import torch

from errors import InputError
from misc.calibration import Calibration
from misc.reranking import k_reciprocal
from misc.search import picture_batches, updating
from misc.search.index import Index, open_index
from misc.search.opening import open_model
from misc.search.person_search import PersonSearch
from misc.search.table import PictureTable
from misc.settings.recipes import to_tree
from tests.search.conftest import train

WORDS = "a woman in a red coat"


def files_of(folder: Path) -> list[str]:
    return [str(file) for file in sorted(folder.rglob("*.jpg"))]


def brute_force(people: PersonSearch, files: list[str], query: torch.Tensor, top: int):
    """Paths and scores by comparing with every file."""
    scores = people.encode_images(files) @ query
    best = scores.argsort(descending=True, stable=True)[:top]
    return [files[row] for row in best.tolist()], scores[best].tolist()


def touch_later(file: Path) -> None:
    """Give a file another time, whatever the resolution of the clock."""
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


@pytest.mark.parametrize("kind", ["words", "picture", "both"])
def test_hits_are_those_of_a_comparison_with_all(index, people, pictures, kind):
    files = files_of(pictures)
    text, image = WORDS if kind != "picture" else None, files[4] if kind != "words" else None
    parts = [people.encode_texts([text])[0]] if text else []
    parts += [people.encode_images([image])[0]] if image else []
    query = torch.nn.functional.normalize(sum(parts), dim=0)
    paths, scores = brute_force(people, files, query, 12)
    hits = index.search(text, image, top=12)
    assert [hit.path for hit in hits] == paths
    assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-6)


def test_the_weight_is_of_the_words(index, pictures):
    image = files_of(pictures)[4]
    alone = [index.search(WORDS), index.search(image=image)]
    mixed = [index.search(WORDS, image, weight=weight) for weight in (1.0, 0.0)]
    paths = [[hit.path for hit in hits] for hits in (*alone, *mixed)]
    assert paths[:2] == paths[2:]
    with pytest.raises(InputError, match="from 0 to 1"):
        index.search(WORDS, image, weight=2)


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


def test_fields_of_paths_can_be_filtered_by(people, tmp_path, pictures):
    for number, file in enumerate(files_of(pictures)):
        Path(file).rename(pictures / f"c{number % 3}_20260101_{number % 24:02}0000_{number}.jpg")
    index = people.index(tmp_path / "index")
    index.add(pictures, camera=r"c(\d)_", time=r"\d{8}_\d{6}")
    hits = index.search(WORDS, top=100, where="camera = 2 and time > '2026-01-01 20:30'")
    assert {(hit.camera, hit.time) for hit in hits} == {(2, "2026-01-01 23:00:00")}
    assert index.search(WORDS, where="camera = 7") == []
    # A later run without the patterns uses them again; another pattern encodes nothing anew.
    assert index.add(pictures).encoded == 0
    assert {hit.camera for hit in index.search(WORDS, top=100)} == {0, 1, 2}
    assert index.add(pictures, camera=r"_(\d+)\.jpg").encoded == 0
    assert {hit.camera for hit in index.search(WORDS, top=100)} == {*range(30)}


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("kamera = 3", "there is no column kamera"),
        ("camera =", "Expected"),
        ("camera = 'hall'", "hall.* is not what its column holds"),
        ("camera", "cannot be understood"),
        # What follows a whole condition is ignored by Lance.
        ("camera = 3 adn time > '2026-01-01'", "Expected: .*, found: adn"),
        ("camera = 3, camera = 1", "cannot be understood"),
        ("camera = 3 limit 1", "Expected: .*, found: limit"),
    ],
)
def test_a_condition_that_is_none_names_the_columns(index, where, reason):
    with pytest.raises(InputError, match=rf"{reason}.*columns are path, size, camera"):
        index.search(WORDS, where=where)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("1=1; DROP TABLE pictures", "has ; or a comment"),
        ("camera = 1;", "has ; or a comment"),
        ("camera = 1 -- and time > '2026'", "has ; or a comment"),
        ("camera = 1) or (1 = 1", "has a bracket that is not closed or not opened"),
        ("(camera = 1", "has a bracket that is not closed or not opened"),
    ],
)
def test_a_condition_that_ends_early_is_refused(index, where, reason):
    with pytest.raises(InputError, match=rf"the condition {re.escape(repr(where))} {reason}"):
        index.search(WORDS, where=where)
    assert index.search(WORDS, top=100, where="camera = 1 and path <> 'a;b--c(d'")


def write_crops(folder: Path, files: list[str]) -> None:
    """Records of two tracks, by turns, for all files but the last two."""
    lines = [
        {
            "path": Path(file).relative_to(folder).as_posix(),
            "video": "walk.mp4",
            "camera": 9,
            "frame": number,
            "seconds": number / 10,
            "time": f"2026-01-01 08:00:{number:02}",
            "box": [1.1, 2.2, 30.3, 60.6],
            "score": 0.9,
            "track": number % 2,
        }
        for number, file in enumerate(files[:-2])
    ]
    (folder / "crops.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")


def test_records_of_crops_are_read(people, tmp_path, pictures):
    files = files_of(pictures)
    write_crops(pictures, files)
    index = people.index(tmp_path / "index")
    assert index.add(pictures).added == 30
    hits = index.search(WORDS, top=100)
    known = next(hit for hit in hits if hit.path == files[3])
    assert (known.camera, known.video, known.frame, known.track) == (9, "walk.mp4", 3, 1)
    assert (known.time, known.seconds, known.box) == (
        "2026-01-01 08:00:03",
        0.3,
        (1.1, 2.2, 30.3, 60.6),
    )
    assert index.add(pictures).unchanged == 30
    one_each = index.search(WORDS, top=100, per_track=True)
    best = {
        (hit.path if hit.track is None else (Path(hit.path).parent, hit.track)): hit
        for hit in reversed(hits)
    }
    assert len(best) == 4 + 2
    assert one_each == [hit for hit in hits if hit in best.values()]


def test_a_damaged_record_is_named(people, tmp_path, pictures):
    (pictures / "crops.jsonl").write_text('{"path": 3}\n')
    with pytest.raises(InputError, match=r"crops\.jsonl, line 1"):
        people.index(tmp_path / "index").add(pictures)


def test_reranking_changes_the_order_alone(index, people, pictures):
    plain = index.search(WORDS, top=30)
    again = index.search(WORDS, top=30, rerank=True)
    gallery = people.encode_images([hit.path for hit in plain])
    order = k_reciprocal(people.encode_texts([WORDS]), gallery)[0].argsort()
    assert [hit.path for hit in again] == [plain[row].path for row in order.tolist()]
    assert {hit.path: hit.score for hit in again} == {hit.path: hit.score for hit in plain}
    assert index.search(WORDS, top=5, rerank=True) == again[:5]


def test_half_precision_takes_half_the_room(index, people, tmp_path, pictures):
    half = people.index(tmp_path / "half", half=True)
    half.add(pictures)
    assert half.table.bytes_per_value == 2
    assert index.table.bytes_per_value == 4
    scores = {hit.path: hit.score for hit in index.search(WORDS, top=100)}
    for hit in half.search(WORDS, top=100):
        assert hit.score == pytest.approx(scores[hit.path], abs=1e-3)


def test_an_open_index_sees_what_another_process_adds(index, people, pictures, tmp_path):
    assert len(index.search(WORDS, top=100)) == 30
    shutil.copytree(pictures, tmp_path / "more")
    people.index(index.table.location).add(tmp_path / "more")
    assert len(index.search(WORDS, top=100)) == 60


def test_the_calibration_of_the_run_goes_along(index, run_folder):
    calibration = Calibration.load(run_folder / "calibration.json")
    assert index.threshold("words") == calibration.kinds["words"].threshold(0.01, 30)
    assert index.threshold("words", 0.1) < index.threshold("words", 0.01)
    hits = index.search(WORDS, top=30)
    threshold = index.threshold("words")
    assert [hit.matched for hit in hits] == [hit.score >= threshold for hit in hits]
    middle = hits[10].score
    judged = index.search(WORDS, top=30, threshold=middle)
    assert [hit.matched for hit in judged] == [True] * 11 + [False] * 19
    image = hits[0].path
    assert index.search(WORDS, image, weight=0.3)[0].matched is None


def test_an_index_without_a_calibration_judges_nothing(run_folder, tmp_path, pictures):
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / "calibration.json").unlink()
    index = PersonSearch(tmp_path / "run", "cpu").index(tmp_path / "index")
    index.add(pictures)
    assert {hit.matched for hit in index.search(WORDS)} == {None}
    index.set_calibration(Calibration.load(run_folder / "calibration.json"))
    assert None not in {hit.matched for hit in index.search(WORDS)}
    again = open_index(index.table.location)
    assert again.threshold("words") == index.threshold("words")


def test_another_model_is_refused_by_name(index, tmp_path, places):
    other = train(tmp_path / "other", *places, "misc.seed=1")
    with pytest.raises(InputError, match=r"another model, .*small.*and not with .*other"):
        PersonSearch(other, "cpu").index(index.table.location)
    with pytest.raises(InputError, match="another model"):
        open_index(index.table.location, other)


def test_a_model_that_has_moved_is_asked_for(index, run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "moved")
    moved = PersonSearch(tmp_path / "moved", "cpu").index(tmp_path / "index")
    shutil.move(tmp_path / "moved", tmp_path / "there")
    with pytest.raises(InputError, match=r"moved.* does not exist; give --checkpoint"):
        open_index(moved.table.location)
    assert open_index(moved.table.location, tmp_path / "there").about == moved.about


def test_no_index(tmp_path):
    with pytest.raises(InputError, match="is not an index"):
        open_index(str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


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


def test_other_settings_are_refused(index, run_folder, tmp_path):
    config = open_model(run_folder).config
    other = config.model_copy(update={"data": config.data.model_copy(update={"normalize": "half"})})
    with pytest.raises(InputError, match=r'data\.normalize="imagenet", and not with "half"'):
        PersonSearch(run_folder, "cpu", config=to_tree(other)).index(index.table.location)


def test_a_configuration_is_kept_with_the_index(run_folder, tmp_path, pictures):
    (tmp_path / "own.yaml").write_text((run_folder / "config.yaml").read_text())
    people = PersonSearch(run_folder, "cpu", config=tmp_path / "own.yaml")
    people.index(tmp_path / "index").add(pictures)
    (tmp_path / "own.yaml").unlink()
    assert len(open_index(str(tmp_path / "index")).search(WORDS)) == 10


@pytest.mark.parametrize("name", ["", "file://"])
def test_an_index_has_a_name(people, name):
    with pytest.raises(InputError, match="name of the index is empty"):
        people.index(name)


def test_nothing_else_is_written_over(people, run_folder, tmp_path):
    with pytest.raises(InputError, match=r"small is not an index and holds other things"):
        people.index(run_folder)
    lancedb.connect(tmp_path / "other").create_table("pictures", pa.table({"mine": [1]}))
    with pytest.raises(InputError, match="is not an index and holds other things"):
        people.index(tmp_path / "other")
    assert lancedb.connect(tmp_path / "other").open_table("pictures").count_rows() == 1


def test_a_uri_of_a_folder_is_that_folder(people, tmp_path, pictures):
    people.index(f"file://{tmp_path / 'index'}").add(pictures)
    assert len(open_index(str(tmp_path / "index"))) == 30
    assert len(open_index(f"file://{tmp_path / 'index'}")) == 30


def test_features_in_float32_stay_so(index):
    with pytest.raises(InputError, match="float32, which stay so"):
        index.people.index(index.table.location, half=True)


def test_a_damaged_calibration_of_the_run_is_left_out(run_folder, tmp_path, pictures, caplog):
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / "calibration.json").write_text("{")
    logging.getLogger("misc").propagate = True
    index = PersonSearch(tmp_path / "run", "cpu").index(tmp_path / "index")
    assert index.threshold("words") is None
    assert "The calibration of the run is not used: " in caplog.text


def test_what_others_store_is_not_lost(index, people, pictures):
    other = people.index(index.table.location)
    other.set_false_alarms(0.2)
    index.add(pictures, camera=r"(\d)\.jpg")
    assert open_index(index.table.location).about.false_alarms == 0.2


def test_fewer_pictures_have_a_lower_threshold(index):
    assert index.threshold("words", where="camera = 1") < index.threshold("words")
    half = index.search(WORDS, where="camera = 1", top=30)
    threshold = index.threshold("words", where="camera = 1")
    assert [hit.matched for hit in half] == [hit.score >= threshold for hit in half]
    assert index.threshold("words", where="camera = 7") is None


def test_tracks_of_two_folders_are_different_ones(people, tmp_path, pictures):
    for folder in (pictures / "cam1", pictures / "cam2"):
        write_crops(folder, files_of(folder))
    index = people.index(tmp_path / "index")
    index.add(pictures)
    hits = index.search(WORDS, top=100, per_track=True, where="track is not null")
    assert len(hits) == 4


def test_at_least_one_hit_is_asked_for(index, people):
    with pytest.raises(InputError, match="top is 0"):
        index.search(WORDS, top=0)
    with pytest.raises(TypeError, match="list of sentences"):
        people.encode_texts("a man")
    with pytest.raises(TypeError, match="list of pictures"):
        people.encode_images("a.jpg")
