"""search.py on the command line: output, exit status, messages."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import search
from misc.search.index import open_index
from tests import ROOT


@pytest.fixture
def call(capsys):
    """Runs a command line; returns the exit status, stdout and stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        status = search.main([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def built(call, run_folder, pictures, tmp_path) -> Path:
    """An index made by the command."""
    built = tmp_path / "people.index"
    status, out, _ = call(
        *("index", "--checkpoint", run_folder, "--images", pictures, "--output", built),
        *("--camera", r"cam(\d)", "--workers", 0),
    )
    assert status == 0
    assert f"{built}: 30 pictures; 30 added" in out
    assert "counts as a match from" in out
    return built


def test_a_mistyped_command_is_answered_without_torch():
    code = "import search, sys; print(search.main(sys.argv[1:]), 'torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code, "quary"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "'quary'" in found.stderr
    assert found.stdout == "2 False\n"


def test_a_second_run_encodes_nothing(call, built, pictures):
    status, out, _ = call("index", "--images", pictures, "--output", built, "--workers", 0)
    assert status == 0
    assert "0 added, 0 changed, 0 removed, 30 unchanged, 0 unreadable" in out


def test_half_goes_with_an_index_in_float16(call, run_folder, pictures, tmp_path):
    words = ("--images", pictures, "--output", tmp_path / "index", "--workers", 0, "--half")
    assert call("index", "--checkpoint", run_folder, *words)[0] == 0
    status, out, _ = call("index", *words)
    assert status == 0
    assert "30 unchanged" in out


def test_unreadable_files_are_listed(call, built, pictures):
    (pictures / "broken.jpg").write_text("no picture")
    status, out, err = call("index", "--images", pictures, "--output", built, "--workers", 0)
    assert status == 0
    assert "1 unreadable" in out
    assert "skipped: image" in err
    assert "broken.jpg" in err


def test_pictures_behind_links_are_told(call, built, pictures, tmp_path):
    shutil.copytree(pictures / "cam1", tmp_path / "elsewhere")
    for name in ("cam3", "cam4", ".cam5"):
        (pictures / name).symlink_to(tmp_path / "elsewhere")
    (pictures / "cam1" / "same.jpg").symlink_to(pictures / "cam1" / "000.jpg")
    for name in ("gone.jpg", "unmounted"):
        (pictures / name).symlink_to(tmp_path / "nowhere")
    words = ("--output", built, "--workers", 0)
    status, out, err = call("index", "--images", pictures, *words)
    assert status == 0
    assert "1 added, 0 changed, 0 removed, 30 unchanged, 2 unreadable" in out
    assert err.splitlines() == [
        f"skipped: link {pictures}/gone.jpg leads nowhere; mend or remove it",
        f"skipped: link {pictures}/unmounted leads nowhere; mend or remove it",
        f"skipped: pictures behind links to folders (2, such as {pictures}/cam3); give each of "
        "these folders by --images as well",
    ]
    assert "15 added" in call("index", "--images", pictures / "cam3", *words)[1]
    assert "46 pictures; 0 added" in call("index", "--images", pictures, *words)[1]


def test_a_folder_of_links_alone_has_no_pictures(call, built, pictures, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "cam1").symlink_to(pictures / "cam1")
    status, _, err = call("index", "--images", tmp_path / "links", "--output", built)
    assert status == 2
    assert err.endswith("links to folders are not followed, so give the folders themselves\n")


def test_json_has_the_hits_of_the_library(call, built):
    status, out, err = call("query", "--index", built, "a man in black", "--json", "--top", 4)
    assert (status, err) == (0, "")
    hits = open_index(str(built)).search("a man in black", top=4)
    found = json.loads(out)
    assert [(row["path"], row["matched"], row["camera"]) for row in found] == [
        (hit.path, hit.matched, hit.camera) for hit in hits
    ]
    assert [row["score"] for row in found] == pytest.approx([hit.score for hit in hits], abs=1e-6)


def test_a_table_says_whether_it_is_a_match(call, built):
    _, out, _ = call("query", "--index", built, "a man in black", "--top", 3)
    best = open_index(str(built)).search("a man in black", top=1)[0]
    assert f"{best.score:.3f}" in out
    assert ("No match" in out) == (not best.matched)
    status, out, _ = call("query", "--index", built, "a man", "--false-alarms", 0.999)
    assert status == 0
    assert "yes" in out


def test_a_sheet_of_the_hits_is_drawn(call, built, pictures, tmp_path):
    sheet, picture = tmp_path / "hits.jpg", next(pictures.rglob("*.jpg"))
    status, _, _ = call(
        *("query", "--index", built, "a man in black 穿黑衣的男人", "--image", picture),
        *("--top", 12, "--sheet", sheet),
    )
    assert status == 0
    with Image.open(sheet) as drawn:
        assert drawn.format == "JPEG"
        assert drawn.width > 8 * 88
        assert drawn.height > 2 * 224
    again = call("query", "--index", built, "a man", "--top", 3, "--sheet", sheet)
    assert again[0] == 0  # over the earlier sheet


def test_a_sheet_replaces_no_picture(call, built, pictures, tmp_path):
    indexed, asked = next(pictures.rglob("*.jpg")), tmp_path / "her.jpg"
    shutil.copy(indexed, asked)
    before = indexed.read_bytes()
    words = ("query", "--index", built, "--image", asked, "--sheet")
    for picture in (asked, indexed):
        status, _, error = call(*words, picture)
        assert status == 2
        assert f"--sheet: {picture} exists and is not a contact sheet" in error
        assert picture.read_bytes() == before
    assert call(*words, tmp_path / "hits.jpg")[0] == 0
    status, _, error = call(*words[:-2], tmp_path / "hits.jpg", "--sheet", tmp_path / "hits.jpg")
    assert status == 2
    assert "hits.jpg is the query's picture" in error


def test_calibrate_by_described_pictures(call, built, pedestrians, run_folder):
    words = ("--annotations", pedestrians.processed, "--images", pedestrians.image_root)
    status, _, err = call("calibrate", "--index", built, *words, "--false-alarms", 0.2)
    assert (status, err) == (0, "")
    index = open_index(str(built))
    assert index.about.false_alarms == 0.2
    calibrated = index.calibrated("words")
    assert calibrated is not None
    assert calibrated.gallery_size > 30  # all pictures of the annotations, and not those indexed
    assert (built / "calibration.png").is_file()
    assert len(index) == 30


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["query", "--index", "INDEX"], "describe a person in words, or give a picture"),
        (["query", "--index", "nowhere", "a man"], "nowhere is not an index"),
        (["query", "--index", "INDEX", " "], "description is empty"),
        (["query", "--index", "INDEX", "--image", "no.jpg"], "no.jpg does not exist"),
        (["query", "--index", "INDEX", "--image", "setup"], "setup cannot be read"),
        (["query", "--index", "INDEX", "a", "--where", "kamera = 3"], "no column kamera"),
        (["query", "--index", "INDEX", "a", "--where", "camera = 8"], "no picture in .* fulfils"),
        (["query", "--index", "INDEX", "a", "--top", "0"], "--top"),
        (["query", "--index", "INDEX", "a", "--false-alarms", "1"], "between 0 and 1"),
        (["query", "--index", "INDEX", "a", "--sheet", "no/hits.jpg"], "cannot write no/hits.jpg"),
        (["query", "--index", "INDEX", "a", "--checkpoint", "no"], "no .* does not exist"),
        (["index", "--images", "empty", "--output", "INDEX"], "empty has no pictures"),
        (["index", "--images", "empty", "--output", "new"], "empty has no pictures"),
        (["index", "--images", "PICTURES", "--output", "new"], "new is not an index"),
        (["index", "--images", "PICTURES", "--output", "INDEX", "--camera", "("], "regular"),
        (["index", "--images", "PICTURES", "--output", "INDEX", "--camera", "cam"], "whole number"),
        (["calibrate", "--index", "INDEX", "--annotations", "no.json"], "no.json does not exist"),
        (["index", "--images", "PICTURES", "--output", ""], "--output: it is empty; is a variable"),
        (["index", "--images", "PICTURES", "--output", "INDEX", "--workers", "-1"], "--workers"),
        (["index", "--images", "PICTURES", "--output", "INDEX", "--config", "x"], "--checkpoint"),
        (["index", "--images", "PICTURES", "--output", "INDEX", "--half"], "features in float32"),
        (["index", "--remove", "empty", "--output", "INDEX"], "no pictures of .*empty"),
        *(
            (
                ["index", "--remove", "PICTURES", "--output", "INDEX", *words],
                f"{words[0]} goes with",
            )
            for words in (
                ["--half"],
                ["--camera", "x"],
                ["--camera", ""],
                ["--time", "x"],
                ["--approximate"],
                ["--false-alarms", "0.1"],
            )
        ),
        (["query", "--index", "INDEX", "a", "--sheet", "."], "is a folder, give a file"),
        (["query", "--index", "INDEX", "--image", "empty"], "empty is not a file"),
        (["calibrate", "--index", "INDEX", "--annotations", "empty"], "at least 2"),
        (["search"], "invalid choice: 'search'"),
        ([], "COMMAND"),
    ],
)
def test_mistakes_are_one_sentence(call, built, pictures, tmp_path, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "setup").write_text("no picture")
    named = {"INDEX": str(built), "PICTURES": str(pictures)}
    status, _, err = call(*(named.get(word, word) for word in words))
    assert status == 2
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert re.search(reason, err)
    assert len(open_index(str(built))) == 30
    assert not (tmp_path / "new").exists()


def test_a_missing_picture_leaves_its_cell(call, built, pictures, tmp_path):
    hits = open_index(str(built)).search("a man", top=3)
    Path(hits[1].path).unlink()
    sheet = tmp_path / "hits.jpg"
    assert call("query", "--index", built, "a man", "--top", 3, "--sheet", sheet)[0] == 0
    assert sheet.is_file()


def test_a_folder_is_removed(call, built, pictures):
    status, out, _ = call("index", "--remove", pictures / "cam1", "--output", built)
    assert (status, out) == (0, "15 removed; 15 pictures are left\n")


def test_torchrun_starts_what_is_parallel_alone(call, built, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    status, _, err = call("query", "--index", built, "a man")
    assert status == 2
    assert "query runs in one process" in err


def test_a_calibration_by_pictures_keeps_that_by_words(call, built, pictures, tmp_path):
    before = open_index(str(built))
    for number, file in enumerate(sorted(pictures.rglob("*.jpg"))):
        person = tmp_path / "people" / f"person{number // 2}"
        person.mkdir(parents=True, exist_ok=True)
        (person / file.name).write_bytes(file.read_bytes())
    words = ("calibrate", "--index", built, "--annotations", tmp_path / "people")
    status, _, err = call(*words)
    assert status == 2
    assert "too few for 1 % false alarms" in err
    assert open_index(str(built)).about == before.about
    assert call(*words, "--false-alarms", 0.2)[0] == 0
    index = open_index(str(built))
    assert index.calibrated("words") == before.calibrated("words")
    assert index.calibrated("picture") != before.calibrated("picture")


def test_a_place_that_cannot_be_written(call, run_folder, pictures, tmp_path):
    (tmp_path / "file").write_text("no folder")
    status, _, err = call(
        *("index", "--checkpoint", run_folder, "--images", pictures),
        *("--output", tmp_path / "file" / "index", "--workers", 0),
    )
    assert status == 2
    assert "cannot be written" in err


def test_an_interruption_is_no_traceback(call, built, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("misc.search.index.open_index", interrupt)
    status, _, err = call("query", "--index", built, "a man")
    assert (status, err) == (130, "interrupted\n")


@pytest.mark.parametrize(
    "words",
    [
        "index --checkpoint run --output people.index --images",
        "index --output people.index --remove",
        "index --images pictures --output people.index --checkpoint",
        "query words --index",
        "query --index people.index --image",
        "calibrate --index people.index --annotations",
        "calibrate --index people.index --annotations captions.csv --images",
        "serve --index",
        "crop walk.mp4 --output crops --boxes",
        "crop walk.mp4 --boxes walk.txt --output",
    ],
)
def test_an_empty_path_is_refused(call, words):
    """It would be the current folder, where a variable of a script is not set."""
    status, _, error = call(*words.split(), "")
    assert status == 2
    assert f"argument {words.split()[-1]}: it is empty; is a variable of a script not set?" in error
