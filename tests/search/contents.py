"""The content of an index, and a comparison of two."""

import numpy as np
import torch
from torch import Tensor

from misc.search.table import PictureTable, Row

Content = dict[str, tuple[Row, Tensor]]  # metadata and feature (D,) by path


def content(table: PictureTable) -> Content:
    """All rows by path; the paths must be different."""
    chunks = list(table.features())
    rows = table.take(np.concatenate([ids for ids, _ in chunks])) if chunks else []
    features = torch.cat([torch.empty(0, table.width), *(features for _, features in chunks)])
    by_path = {row["path"]: (row, f) for row, f in zip(rows, features, strict=True)}
    assert len(by_path) == len(rows) == len(table)
    return by_path


def assert_part(part: Content, whole: Content) -> None:
    """All of a content must stand in another."""
    assert part.keys() <= whole.keys()
    for path, (row, feature) in part.items():
        assert row == whole[path][0]
        torch.testing.assert_close(feature, whole[path][1], atol=1e-6, rtol=0)


def assert_same(one: Content, other: Content) -> None:
    """Two contents must be equal."""
    assert one.keys() == other.keys()
    assert_part(one, other)
