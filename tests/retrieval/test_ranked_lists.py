"""Ranked lists, seen: the pixels of frames and marks, the rows of the index."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.retrieval import cells as drawing
from misc.retrieval.cells import CAPTION_WIDTH, FRAME, GAP, HEIGHT, MARGIN, RIGHT, WRONG
from misc.retrieval.ranked_lists import (
    INDEX,
    Found,
    RankedList,
    draw_ranked_list,
    ranked_lists,
    write_ranked_lists,
)

CHINESE = "一位年轻女子身穿红色T恤, 正向前走。"


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    """Five pictures twice as high as wide, each of one grey."""
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.new("RGB", (20, 40), (40 * number,) * 3).save(path)
    return paths


@pytest.fixture
def ranked(paths) -> RankedList:
    found = [Found(n, path, n, n == 2, 0.9 - n / 10) for n, path in enumerate(paths[1:], 1)]
    return RankedList(paths[0], 2, found)


def features(*angles: float) -> torch.Tensor:
    """Unit vectors that many degrees from the first axis."""
    radians = torch.tensor(angles).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def cells(sheet: Image.Image, query_width: int, count: int) -> list[np.ndarray]:
    """The pixels of the found pictures, frames included."""
    start = MARGIN + query_width + 3 * GAP
    width = (sheet.width - MARGIN - start + GAP) // count - GAP
    pixels = np.asarray(sheet)[MARGIN : MARGIN + HEIGHT]
    lefts = [start + number * (width + GAP) for number in range(count)]
    return [pixels[:, left : left + width] for left in lefts]


def colour_of_frame(cell: np.ndarray) -> str:
    """The one colour of all four sides."""
    inside = np.ones(cell.shape[:2], bool)
    inside[FRAME:-FRAME, FRAME:-FRAME] = False
    colours = np.unique(cell[inside], axis=0)
    assert len(colours) == 1
    return "#{:02x}{:02x}{:02x}".format(*colours[0])


def marks(sheet: Image.Image, colour: str) -> int:
    """Pixels of a colour below the cells."""
    pixels = np.asarray(sheet)[MARGIN + HEIGHT :]
    return int((pixels == ImageColor.getrgb(colour)).all(axis=2).sum())


def test_lists_are_by_similarity_and_skip_the_querys_camera(paths):
    """Gallery 0 is nearest to query 0, and of its camera; 3 is nearest of the rest."""
    lists = ranked_lists(
        features(0, 90),
        features(1, 50, 40, 5),
        query_ids=torch.tensor([7, 8]),
        gallery_ids=torch.tensor([7, 8, 7, 9]),
        queries=["the first", paths[4]],
        paths=paths[:4],
        query_cams=torch.tensor([0, 0]),
        gallery_cams=torch.tensor([0, 1, 1, 0]),
        count=3,
    )
    assert [(each.query, each.identity) for each in lists] == [("the first", 7), (paths[4], 8)]
    shown = [[(item.path.stem, item.identity, item.right) for item in x.found] for x in lists]
    assert shown[0] == [("3", 9, False), ("2", 7, True), ("1", 8, False)]
    assert shown[1] == [("1", 8, True), ("2", 7, False), ("3", 9, False)]
    similarities = [item.similarity for item in lists[0].found]
    assert similarities == pytest.approx(np.cos(np.deg2rad([5, 40, 50])).tolist())


def test_fewer_are_shown_where_fewer_count(paths):
    ids, cams = torch.tensor([1, 1, 2]), torch.tensor([0, 1, 0])

    def find(size: int) -> RankedList:
        (ranked,) = ranked_lists(
            features(0),
            features(0, 1, 2)[:size],
            query_ids=ids[:1],
            gallery_ids=ids[:size],
            queries=["a man"],
            paths=paths[:size],
            query_cams=cams[:1],
            gallery_cams=cams[:size],
        )
        return ranked

    few, none = find(3), find(1)
    assert [item.path for item in few.found] == paths[1:3]
    assert none.found == ()
    for each in (few, none):
        draw_ranked_list(each)


def test_right_pictures_have_their_ranks_however_far_behind(paths):
    """Right pictures beyond the first few are drawn after a gap, and all are in the index."""
    (ranked,) = ranked_lists(
        features(0),
        features(50, 10, 20, 30, 40),
        query_ids=torch.tensor([7]),
        gallery_ids=torch.tensor([7, 8, 7, 8, 7]),
        queries=["a man"],
        paths=paths,
        count=2,
    )
    assert [(item.rank, item.path) for item in ranked.found] == [(1, paths[1]), (2, paths[2])]
    expected = [(2, paths[2]), (4, paths[4]), (5, paths[0])]
    assert [(item.rank, item.path) for item in ranked.matches] == expected
    assert [item.rank for item in ranked.missed] == [4, 5]
    sheet = draw_ranked_list(ranked)
    width = (sheet.width - 2 * MARGIN - CAPTION_WIDTH - 5 * GAP - 3 * GAP) // 4
    pixels = np.asarray(sheet)[MARGIN : MARGIN + HEIGHT]
    left = sheet.width - MARGIN - 2 * width - GAP
    assert (pixels[:, left - 3 * GAP : left] == 255).all()
    for place, grey in enumerate((160, 0)):
        cell = pixels[:, left + place * (width + GAP) :][:, :width]
        assert colour_of_frame(cell) == RIGHT
        assert (cell[HEIGHT // 2, width // 2] == grey).all()


def test_the_same_picture_is_shown_once(tmp_path, paths):
    """Under its own path or another one; the ranks count it as the metrics do."""
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[1].read_bytes())
    (ranked,) = ranked_lists(
        features(0),
        features(10, 20, 30, 40, 50),
        query_ids=torch.tensor([7]),
        gallery_ids=torch.tensor([8, 8, 8, 7, 7]),
        queries=["a man"],
        paths=[paths[1], copy, paths[1], paths[2], paths[2]],
    )
    assert [(item.rank, item.path) for item in ranked.found] == [(1, paths[1]), (4, paths[2])]
    assert [item.rank for item in ranked.matches] == [4]


def test_right_ones_are_framed_in_green_and_wrong_ones_in_red(ranked):
    sheet = draw_ranked_list(ranked)
    width = (sheet.width - 2 * MARGIN - 6 * GAP) // 5
    found = cells(sheet, width, 4)
    assert [colour_of_frame(cell) for cell in found] == [WRONG, RIGHT, WRONG, WRONG]
    for number, cell in enumerate(found, 1):  # the picture itself, in its place
        assert (cell[HEIGHT // 2, width // 2] == 40 * number).all()


def test_marks_tell_right_from_wrong_without_colour(ranked):
    sheet = draw_ranked_list(ranked)
    assert marks(sheet, RIGHT) > 20
    assert marks(sheet, WRONG) > 3 * 20
    all_wrong = [Found(item.rank, item.path, 1, False, 0.5) for item in ranked.found]
    assert marks(draw_ranked_list(RankedList("a man", 2, all_wrong)), RIGHT) == 0


def test_pictures_keep_their_aspect(tmp_path, ranked):
    """A lying picture among standing ones: as wide as the cell, half as high."""
    Image.new("RGB", (40, 20), "blue").save(tmp_path / "lying.png")
    found = [*ranked.found[:3], Found(4, tmp_path / "lying.png", 2, True, 0.1)]
    sheet = draw_ranked_list(RankedList("a man", 2, found))
    cell = cells(sheet, CAPTION_WIDTH, 4)[3]
    blue = (cell == (0, 0, 255)).all(axis=2)
    rows, columns = blue.any(axis=1).sum(), blue.any(axis=0).sum()
    assert columns == cell.shape[1] - 2 * FRAME
    assert rows == pytest.approx(columns / 2, abs=1)


@pytest.mark.parametrize("size", [(2000, 1), (1, 2000)])
def test_a_picture_of_any_shape_is_drawn(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "strip.png")
    draw_ranked_list(RankedList(tmp_path / "strip.png", 1, []))


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a man in a red coat",
        "a woman in a café, “reading”",
        CHINESE * 20,
        "word " * 500,
        "w" * 500,
        "half a pair \ud83d",
    ],
)
def test_any_caption_is_drawn_within_its_cell(ranked, caption):
    sheet = draw_ranked_list(RankedList(caption, 2, ranked.found))
    blank = draw_ranked_list(RankedList("", 2, ranked.found))
    changed = (np.asarray(sheet) != np.asarray(blank)).any(axis=2)
    assert changed.any() == bool(caption)
    changed[MARGIN : MARGIN + HEIGHT, MARGIN : MARGIN + CAPTION_WIDTH] = False
    assert not changed.any()


def test_a_caption_is_wrapped_between_words():
    caption = "A man in a dark coat carries a red umbrella and two heavy bags."
    _, lines = drawing._fit(caption, 120, 200)
    assert len(lines) > 2
    assert " ".join(lines) == caption


def test_a_package_is_recommended_for_what_no_font_has(monkeypatch, caplog):
    monkeypatch.setattr(drawing, "_system_fonts", lambda size: [])
    monkeypatch.setattr(logging.getLogger("misc"), "propagate", True)
    drawing._recommend_font.cache_clear()
    for _ in range(2):
        _, lines = drawing._fit(CHINESE, 300, 200)
        assert " ".join(lines) == "…T…, …"
    assert [record.message.count("fonts-noto-cjk") for record in caplog.records] == [1]


def test_files_are_numbered_and_indexed(tmp_path, ranked):
    captioned = RankedList(CHINESE, 3, ranked.found[:1], ranked.found[1:2], "ch")
    folder = tmp_path / "new" / "lists"
    written = write_ranked_lists(folder, {"sample": [ranked, captioned], "worst": [captioned]})
    files = ["sample-01.jpg", "sample-02.jpg", "worst-01.jpg"]
    assert sorted(file.name for file in folder.iterdir()) == [INDEX, *files]
    assert written == [folder / name for name in files]
    assert read_picture(folder / files[0]).size == draw_ranked_list(ranked).size

    rows = [json.loads(line) for line in (folder / INDEX).read_text("utf-8").splitlines()]
    assert [row["file"] for row in rows] == files
    assert (rows[0]["picture"], rows[0]["identity"]) == (str(ranked.query), 2)
    assert (rows[1]["caption"], rows[1]["identity"]) == (CHINESE, 3)
    assert ("language" in rows[0], rows[1]["language"]) == (False, "ch")
    facts = [
        {
            "rank": rank,
            "path": str(item.path),
            "identity": item.identity,
            "right": item.right,
            "similarity": item.similarity,
        }
        for rank, item in enumerate(ranked.found, 1)
    ]
    assert (rows[0]["found"], rows[0]["matches"]) == (facts, [])
    assert (rows[1]["found"], rows[1]["matches"]) == (facts[:1], facts[1:2])


def test_half_a_surrogate_pair_survives_the_index(tmp_path):
    write_ranked_lists(tmp_path, {"sample": [RankedList("a \ud83d", 1, [])]})
    assert json.loads((tmp_path / INDEX).read_text("utf-8"))["caption"] == "a \ud83d"


def test_an_unreadable_picture_is_named(tmp_path, ranked):
    ranked.found[1].path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=str(ranked.found[1].path)):
        write_ranked_lists(tmp_path / "lists", {"sample": [ranked]})
    assert not (tmp_path / "lists").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, ranked):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot write .*file.*choose another folder"):
        write_ranked_lists(tmp_path / "file", {"sample": [ranked]})
