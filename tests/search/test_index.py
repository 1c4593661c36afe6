"""The index: what it holds, and what it finds."""

import logging
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
from misc.search.index import open_index
from misc.search.opening import open_model
from misc.search.person_search import PersonSearch
from misc.settings.recipes import to_tree
from tests.search.conftest import train
from tests.search.folders import WORDS, brute_force, files_of, write_crops


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
