"""The approximate index of a table: recall, filters, and rows that change after it is built."""

import numpy as np
import pytest
import torch

from benchmarks.index_scale import People
from misc.search import approximate
from misc.search import table as tables
from misc.search.approximate import build_approximate, measure_recall
from misc.search.index import Index
from misc.search.table import PictureTable, RowIds
from misc.search.vectors import Vectors

ROWS, WIDTH = 3000, 64


@pytest.fixture(params=[False, True], ids=["float32", "float16"])
def table(request, tmp_path) -> PictureTable:
    """Pictures of 600 people, with an approximate index."""
    location = str(tmp_path / "index")
    table = PictureTable.create(location, WIDTH, half=request.param, about="")
    for rows, features in People(ROWS, WIDTH, seed=0).batches():
        table.add(rows, features)
    table.build_approximate()
    return table


def paths(table: PictureTable, query: torch.Tensor, top: int, where: str | None = None) -> list:
    found = Vectors(table.at(table.version)).search_approximately(query, top, where)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    return [row["path"] for row in table.take(found.rows)]


def far_feature(number: int) -> np.ndarray:
    """A feature (1, D) that no picture is like."""
    feature = np.full((1, WIDTH), 1e-3, np.float32)
    feature[0, number] = 1
    return feature / np.linalg.norm(feature)


def test_recall_and_scores(table):
    assert table.is_approximate
    vectors = Vectors(table.at(table.version))
    assert measure_recall(vectors) > 0.95
    query = torch.from_numpy(People(ROWS, WIDTH, seed=0).pictures(np.array([13]), change=1)[0])
    exact, found = vectors.search(query, 1), vectors.search_approximately(query, 1)
    assert exact.rows.tolist() == found.rows.tolist()
    torch.testing.assert_close(exact.scores, found.scores, atol=1e-3, rtol=0)


def test_recall_is_measured_against_exact_search(table, monkeypatch):
    vectors = Vectors(table.at(table.version))
    nearest = PictureTable.nearest

    def find_half(self: PictureTable, query: torch.Tensor, top: int, where: str | None) -> RowIds:
        return nearest(self, query, top, where)[: top // 2]

    monkeypatch.setattr(PictureTable, "nearest", find_half)
    assert 0.45 < measure_recall(vectors) <= 0.5


def test_a_filter_is_applied_before_the_search(table):
    query = torch.from_numpy(People(ROWS, WIDTH, seed=0).pictures(np.array([0]))[0])
    exact = Vectors(table.at(table.version)).search(query, 10, "camera = 3")
    expected = [row["path"] for row in table.take(exact.rows)]
    found = paths(table, query, 10, "camera = 3")
    assert all("/camera3/" in path for path in found)
    assert len({*found} & {*expected}) >= 9


@pytest.mark.parametrize("is_compacted", [False, True])
def test_rows_that_change_after_it_was_built_are_found(table, is_compacted):
    new = {"path": "/new.jpg", "camera": 3}
    table.add([new], far_feature(0))
    replaced, removed = "/data/gallery/camera3/20260101/000000013.jpg", "/gone.jpg"
    table.add([{"path": removed, "camera": 3}], far_feature(2))
    table.replace([{"path": replaced, "camera": 3}], far_feature(1))
    if is_compacted:
        table.compact()
    table.remove([removed])
    if is_compacted:
        table.compact()
    for where in (None, "camera = 3"):
        for number, path in ((0, "/new.jpg"), (1, replaced)):
            query = torch.from_numpy(far_feature(number)[0])
            assert paths(table, query, 3, where)[0] == path
        assert removed not in paths(table, torch.from_numpy(far_feature(2)[0]), 50, where)
    assert paths(table, torch.from_numpy(far_feature(0)[0]), 3, "camera = 4")[0] != "/new.jpg"


def test_updates_do_not_split_it_for_ever(table, monkeypatch):
    monkeypatch.setattr(tables, "SEGMENTS", 2)
    segments = []
    for number in range(5):
        table.add([{"path": f"/{number}.jpg", "camera": 3}], far_feature(number))
        table.compact()
        segments += [index.num_segments for index in table.rows.list_indices()]
    assert segments == [2, 1, 2, 1, 2]
    for number in range(5):
        assert paths(table, torch.from_numpy(far_feature(number)[0]), 3)[0] == f"/{number}.jpg"


def test_later_metadata_are_filtered_by(table):
    path = "/data/gallery/camera3/20260101/000000013.jpg"
    query = torch.from_numpy(People(ROWS, WIDTH, seed=0).pictures(np.array([13]))[0])
    before = table.metadata()[path]
    table.replace([{**before, "camera": 77}])
    assert paths(table, query, 3, "camera = 77") == [path]


def test_few_pictures_get_none(index: Index, monkeypatch):
    assert "No approximate index is built for 30 pictures" in build_approximate(index)
    assert not index.table.is_approximate
    monkeypatch.setattr(approximate, "FEWEST", 20)
    assert build_approximate(index) == "Approximate index: recall@10 1.000 against exact search"
    assert index.table.is_approximate
    words = "a man in a blue jacket"
    exact, found = index.search(words), index.search(words, exact=False)
    assert [hit.path for hit in found] == [hit.path for hit in exact]
    scores = [hit.score for hit in exact]
    assert [hit.score for hit in found] == pytest.approx(scores, abs=1e-5)
