"""Exact search against a comparison with a whole matrix."""

import numpy as np
import pytest
import torch

from misc.search import table as tables
from misc.search import vectors as modules
from misc.search.table import PictureTable
from misc.search.vectors import Vectors

WIDTH = 8


@pytest.fixture(params=[False, True], ids=["float32", "float16"])
def table(request, tmp_path, monkeypatch) -> PictureTable:
    """1,003 rows of 99 different features, read 300 at a time."""
    monkeypatch.setattr(tables, "BATCH", 300)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((99, WIDTH)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    table = PictureTable.create(str(tmp_path / "index"), WIDTH, half=request.param, about="")
    rows = [{"path": f"{number:04}.jpg", "camera": number % 7} for number in range(1003)]
    table.add(rows, np.tile(features, (11, 1))[:1003])
    return table


@pytest.mark.parametrize("room", [0, 2 * 1003 * WIDTH, 4 * 1003 * WIDTH])
@pytest.mark.parametrize("where", [None, "camera = 3", "camera = 9", "path < '0400.jpg'"])
def test_all_rows_are_compared_and_ties_keep_the_order_of_the_table(
    table, monkeypatch, room, where
):
    monkeypatch.setattr(modules, "IN_MEMORY", room)
    features = torch.cat([features for _, features in table.features()]).float()
    query = features[17]
    scores = (features * query).sum(dim=1)
    order = [n for n in scores.argsort(descending=True, stable=True).tolist() if kept(n, where)]
    vectors = Vectors(table)
    for top in (1, 7, 25, 2000):
        found = vectors.search(query, top, where)
        paths = [row["path"] for row in table.take(found.rows)]
        assert paths == [f"{number:04}.jpg" for number in order[:top]]
        assert found.scores.dtype == torch.float32
        torch.testing.assert_close(found.scores, scores[order[:top]], atol=1e-6, rtol=0)


def kept(number: int, where: str | None) -> bool:
    if where is None:
        return True
    return number < 400 if "path" in where else number % 7 == int(where[-1])


def test_features_that_fit_are_read_once(table, monkeypatch):
    vectors, query = Vectors(table), torch.eye(WIDTH)[0]
    first = vectors.search(query, 5)
    monkeypatch.setattr(PictureTable, "features", None)
    again = vectors.search(query, 5)
    assert first.rows.tolist() == again.rows.tolist()


def test_an_empty_table_has_no_hits(tmp_path):
    table = PictureTable.create(str(tmp_path / "index"), WIDTH, half=False, about="")
    for where in (None, "camera = 3"):
        found = Vectors(table).search(torch.eye(WIDTH)[0], 5, where)
        assert (len(found.rows), len(found.scores)) == (0, 0)
