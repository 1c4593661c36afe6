"""The table of an index in LanceDB: a row for each picture, with its feature and its metadata."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("LANCEDB_LOG", "error")  # its warnings are about what is done on purpose

import lancedb
import numpy as np
import pyarrow as pa
import torch
from lancedb.index import IvfRq
from lancedb.query import LanceVectorQueryBuilder
from numpy.typing import NDArray
from torch import Tensor

from errors import InputError
from misc.search.commits import check_files, commit
from misc.search.lance_errors import condition, faults
from misc.search.location import ABOUT, LOCK, PICTURES, as_location, is_local

# Every column but the feature.
METADATA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64()),  # bytes
        pa.field("modified", pa.int64()),  # nanoseconds since 1970
        pa.field("hash", pa.string()),
        pa.field("camera", pa.int64()),
        pa.field("time", pa.string()),  # 2026-01-31 08:00:00: text sorts and compares as time does
        pa.field("video", pa.string()),
        pa.field("frame", pa.int64()),
        pa.field("seconds", pa.float64()),  # into the video
        pa.field("box", pa.list_(pa.float64(), 4)),  # left, top, width, height in pixels
        pa.field("track", pa.int64()),
    ]
)
COLUMNS = [name for name in METADATA.names if name not in ("hash", "modified")]  # to filter by
Row = Mapping[str, Any]  # of a column's name: what Arrow makes of its values
RowIds = NDArray[np.uint64]  # Lance's, at one commit
KEPT = timedelta(minutes=10)  # older versions than these are dropped: queries may still read them
PROBES, REFINED = 50, 30  # partitions searched; multiples of the hits that are compared exactly
SEGMENTS = 8  # of an approximate index; each update adds one, and a query searches all
DELETED = 1000  # paths in one deletion
BATCH = 2**16  # rows that are read at once: Lance's 1,024 cost more in Python than on the disk


class PictureTable:
    """The rows of an index, written in atomic commits.

    A process that is killed leaves the table as its last commit made it.

    Args:
        location: a folder, or a URI that Lance reads.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(self, location: str) -> None:
        self.location = location = as_location(location)
        with faults(location):
            # Every read sees the latest commit.
            self.database = lancedb.connect(location, read_consistency_interval=timedelta(0))
            self.rows = self.database.open_table(PICTURES)

    @staticmethod
    def exists(location: str) -> bool:
        """Whether there is an index.

        Raises:
            InputError: the location has no name, or cannot be read.
        """
        location = as_location(location)
        if is_local(location) and not Path(location).is_dir():
            return False  # connecting would make the folder
        with faults(location):
            return {PICTURES, ABOUT} <= {*lancedb.connect(location).list_tables().tables}

    @classmethod
    def create(cls, location: str, width: int, *, half: bool, about: str) -> "PictureTable":
        """An empty table of features with `width` values each.

        Args:
            about: a text to keep with it.

        Raises:
            InputError: the location holds something else, or cannot be written.
        """
        location = as_location(location)
        _check_free(location)
        with faults(location):
            database = lancedb.connect(location)
            database.create_table(ABOUT, pa.table({"content": [about]}), mode="overwrite")
            check_files(_folder(location, ABOUT))
            vector = pa.list_(pa.float16() if half else pa.float32(), width)
            schema = METADATA.append(pa.field("vector", vector))
            database.create_table(PICTURES, schema=schema, mode="overwrite")
        return cls(location)

    @property
    def about(self) -> str:
        """The text that is kept with the table."""
        with faults(self.location):
            content: str = self.database.open_table(ABOUT).to_arrow()["content"][0].as_py()
        return content

    @about.setter
    def about(self, text: str) -> None:
        with faults(self.location):
            table = self.database.open_table(ABOUT)
            with commit(table, _folder(self.location, ABOUT)):
                self.database.create_table(ABOUT, pa.table({"content": [text]}), mode="overwrite")

    @property
    def version(self) -> int:
        """The number of the latest commit."""
        with faults(self.location):
            return self.rows.version

    @property
    def width(self) -> int:
        """D, the number of values of a feature."""
        return int(self.rows.schema.field("vector").type.list_size)

    @property
    def bytes_per_value(self) -> int:
        """4, or 2 of float16."""
        return int(self.rows.schema.field("vector").type.value_type.bit_width) // 8

    def __len__(self) -> int:
        return self.count()

    def count(self, where: str | None = None) -> int:
        """The number of rows, or of those that fulfil a condition in SQL.

        Raises:
            InputError: the condition cannot be understood.
        """
        with faults(self.location), condition(where, COLUMNS) as whole:
            return self.rows.count_rows(whole)

    def at(self, version: int) -> "PictureTable":
        """The table as it was at a commit, to be read."""
        other = copy.copy(self)
        with faults(self.location):
            other.rows = self.database.open_table(PICTURES)
            other.rows.checkout(version)
        return other

    def metadata(self) -> dict[str, Row]:
        """All columns but the features, by path."""
        found = self._read(METADATA.names)
        return {row["path"]: row for batch in found for row in batch.to_pylist()}

    def features(self) -> Iterator[tuple[RowIds, Tensor]]:
        """All rows, some at a time: their ids and features (n, D)."""
        for batch in self._read(["_rowid", "vector"]):
            yield batch["_rowid"].to_numpy(), self._tensor(batch["vector"])

    def rows_where(self, where: str) -> RowIds:
        """The ids of the rows that fulfil a condition in SQL.

        Raises:
            InputError: the condition cannot be understood.
        """
        found = [batch["_rowid"].to_numpy() for batch in self._read(["_rowid"], where)]
        return np.concatenate([np.empty(0, np.uint64), *found])

    def _read(self, columns: Sequence[str], where: str | None = None) -> Iterator[pa.RecordBatch]:
        with faults(self.location), condition(where, COLUMNS) as whole:
            query = self.rows.search().select(list(columns))
            yield from (query if whole is None else query.where(whole)).to_batches(BATCH)

    def values(self, column: str) -> list[Any]:
        """The values of a column, each once, in ascending order; missing ones are left out."""
        with faults(self.location):
            found = self.rows.search().select([column]).to_arrow()[column].unique().to_pylist()
        return sorted(value for value in found if value is not None)

    @property
    def is_approximate(self) -> bool:
        """Whether there is an approximate index."""
        with faults(self.location):
            return bool(self.rows.list_indices())

    def build_approximate(self) -> None:
        """Build an approximate index over all features.

        It is RaBitQ (Gao and Long 2024), a bit for each value, within partitions. At 100,000
        pictures it was built in a 60th of the time of product quantization, took a 25th of float32
        features, and found more of the best ten for queries by words, which are far from all
        pictures: 98 % against 75 %. `benchmarks.index_scale` measures it.
        """
        with faults(self.location):
            self.rows.create_index("vector", config=IvfRq(distance_type="cosine"))

    def nearest(self, query: Tensor, top: int, where: str | None) -> RowIds:
        """The ids of rows by the approximate index, by cosine similarity, nearest first.

        Args:
            query: (D,).
            where: a condition in SQL.

        Raises:
            InputError: the condition cannot be understood.
        """
        with faults(self.location), condition(where, COLUMNS) as whole:
            search = self.rows.search(query.numpy(), vector_column_name="vector")
            assert isinstance(search, LanceVectorQueryBuilder)
            search = search.distance_type("cosine").nprobes(PROBES).refine_factor(REFINED)
            if whole is not None:
                search = search.where(whole, prefilter=True)
            found = search.select(["_distance"]).with_row_id(True).limit(top).to_arrow()
        return found["_rowid"].to_numpy()

    def take(self, rows: RowIds) -> list[Row]:
        """The metadata of some rows, in their order."""
        with faults(self.location):
            query = self.rows.take_row_ids(rows.tolist()).select(METADATA.names)
            found = query.with_row_id().to_arrow().to_pylist()
        by_id = {row.pop("_rowid"): row for row in found}
        return [by_id[row] for row in rows.tolist()]

    def take_features(self, rows: RowIds) -> Tensor:
        """The features of some rows, (N, D), in their order."""
        with faults(self.location):
            query = self.rows.take_row_ids(rows.tolist()).select(["vector"])
            found = query.with_row_id().to_arrow().combine_chunks()
        features = self._tensor(found["vector"].combine_chunks())
        order = {row: index for index, row in enumerate(found["_rowid"].to_pylist())}
        return features[[order[row] for row in rows.tolist()]]

    def _tensor(self, vectors: pa.FixedSizeListArray) -> Tensor:
        values = vectors.flatten().to_numpy(zero_copy_only=False)
        return torch.from_numpy(values.copy()).view(-1, self.width)

    def add(self, rows: Sequence[Row], features: NDArray[np.float32]) -> None:
        """Add pictures, in one commit.

        Args:
            features: (N, D).
        """
        with self._committing():
            self.rows.add(self._table(rows, features))

    def replace(self, rows: Sequence[Row], features: NDArray[np.float32] | None = None) -> None:
        """Replace the pictures of the same paths, in one commit.

        Args:
            features: (N, D); None keeps the old ones.
        """
        if features is None:
            new = pa.Table.from_pylist(list(rows), METADATA)
        else:
            new = self._table(rows, features)
        with self._committing():
            self.rows.merge_insert("path").when_matched_update_all().execute(new)

    def remove(self, paths: Sequence[str]) -> None:
        """Remove pictures by their paths."""
        with self._committing():
            for first in range(0, len(paths), DELETED):
                names = ", ".join(map(quote, paths[first : first + DELETED]))
                self.rows.delete(f"path IN ({names})")

    def compact(self) -> None:
        """Join small files, bring an approximate index up to date, and drop old versions."""
        with self._committing():
            self.rows.optimize(cleanup_older_than=KEPT)
        with faults(self.location):
            indices = self.rows.list_indices()
            is_split = any((index.num_segments or 1) > SEGMENTS for index in indices)
        if is_split:
            self.build_approximate()

    @contextmanager
    def _committing(self) -> Iterator[None]:
        with faults(self.location), commit(self.rows, _folder(self.location, PICTURES)):
            yield

    def _table(self, rows: Sequence[Row], features: NDArray[np.float32]) -> pa.Table:
        table = pa.Table.from_pylist(list(rows), METADATA)
        vector = self.rows.schema.field("vector")
        values = pa.array(features.reshape(-1).astype(vector.type.value_type.to_pandas_dtype()))
        column = pa.FixedSizeListArray.from_arrays(values, vector.type.list_size)
        return table.append_column(vector, column)


def _folder(location: str, table: str) -> Path | None:
    """The folder of a table; None if it is not on a disk of this machine."""
    return Path(location, f"{table}.lance") if is_local(location) else None


def quote(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _check_free(location: str) -> None:
    """Check that a new index writes over nothing.

    Raises:
        InputError: there are files that are not of an index whose making was interrupted.
    """
    if is_local(location):
        folder = Path(location)
        names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
        others = names - {LOCK, f"{ABOUT}.lance"}
    else:
        with faults(location):
            others = {*lancedb.connect(location).list_tables().tables} - {ABOUT}
    if others:
        raise InputError(
            f"{location} is not an index and holds other things ({', '.join(sorted(others)[:3])}); "
            "give a new folder"
        )
