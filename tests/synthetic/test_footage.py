"""The drawn video: people in their boxes, who are those of the datasets, and the refusals."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest

from misc.synthetic import footage
from misc.synthetic.footage import Film, write_film
from misc.synthetic.pedestrians import draw_identity

SMALL = ("--size", "160", "96", "--people", "3", "--seconds", "2", "--fps", "5")


def draw(folder, *words: str) -> int:
    return footage.main(["--output", str(folder), *SMALL, *words])


def pictures(file) -> list[np.ndarray]:
    with av.open(file) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_same_arguments_give_the_same_video(tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert draw(tmp_path / name, "--seed", seed) == 0
    a, b, c = (pictures(tmp_path / name / "walk.mp4") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.shape(a) == (10, 96, 160, 3)
    for name in ("walk.txt", "walk.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_people_are_those_of_the_datasets(tmp_path):
    assert draw(tmp_path, "--first-identity", "1701", "--difficulty", "0.2", "--seed", "5") == 0
    tracks = json.loads((tmp_path / "walk.json").read_text())
    assert [(one["track"], one["identity"]) for one in tracks] == [(1, 1701), (2, 1702), (3, 1703)]
    walks = Film(people=3, first_identity=1701, seed=5, difficulty=0.2).walks()
    assert [walk.person for walk in walks] == [draw_identity(5, n, 0.2) for n in range(1701, 1704)]
    assert all(len(set(one["captions"])) == 2 for one in tracks)
    lines = (tmp_path / "walk.txt").read_text().splitlines()
    assert {int(line.split(",")[1]) for line in lines} <= {1, 2, 3}


def test_people_are_drawn_in_their_boxes(monkeypatch):
    film = Film(people=1, seconds=6, size=(320, 180), fps=2)
    drawn = list(film.frames())
    monkeypatch.setattr(footage, "draw_person_in", lambda *_: None)
    checked = 0
    for number, ((with_person, lines), (without, _)) in enumerate(
        zip(drawn, film.frames(), strict=True), start=1
    ):
        changed = np.abs(np.asarray(with_person, int) - np.asarray(without, int)).max(axis=2) > 30
        if not lines:
            assert not changed.any()
            continue
        frame, track, left, top, width, height, flag, kind, visible = map(
            float, lines[0].split(",")
        )
        assert (frame, track, kind) == (number, 1, 1)
        assert flag == (visible >= 0.5)
        if visible > 0.99:
            rows, columns = np.nonzero(changed)
            assert rows.min() == pytest.approx(top, abs=0.08 * height)
            assert rows.max() == pytest.approx(top + height, abs=0.08 * height)
            inside = (columns >= left - 1) & (columns <= left + width + 1)
            assert inside.mean() > 0.95
            checked += 1
    assert checked > 3


def test_a_person_behind_another_is_not_to_be_considered():
    first, *_ = Film(people=1).walks()
    behind = replace(first, lane=0.8, tall=0.42)
    near = replace(first, lane=0.9, tall=0.4)
    half_way = first.starts + first.lasts / 2
    lines = footage._truth([behind, near], half_way, (640, 360), number=0)
    flags = {line.split(",")[1]: line.split(",")[6] for line in lines}
    assert flags == {"1": "0", "2": "1"}


def test_mistakes_are_one_sentence(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.touch()
    for folder, words, sentence in [
        (tmp_path / "a", ("--size", "161", "96"), "give even numbers"),
        (tmp_path / "a", ("--difficulty", "2"), "give a number from 0 to 1"),
        (tmp_path / "a", ("--first-identity", "-1"), "give 0 or more"),
        (taken, (), "cannot write to"),
    ]:
        assert draw(folder, *words) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_an_interrupted_video_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(footage, "draw_person_in", stop)
    with pytest.raises(KeyboardInterrupt):
        write_film(Film(people=2, seconds=2, size=(160, 96)), tmp_path)
    assert list(tmp_path.iterdir()) == []
