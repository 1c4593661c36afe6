"""The table of an index in LanceDB: a row for each picture, with its feature and its metadata."""

import copy
import os
import re
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
from lancedb.index import IvfPq
from lancedb.query import LanceVectorQueryBuilder
from numpy.typing import NDArray
from torch import Tensor

from errors import InputError

PICTURES, ABOUT = "pictures", "about"
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
Row = Mapping[str, Any]  # of a column's name: what Arrow makes of its values
RowIds = NDArray[np.uint64]  # Lance's, at one commit
KEPT = timedelta(minutes=10)  # older versions than these are dropped: queries may still read them
PROBES, REFINED = 20, 10  # partitions searched; multiples of the hits that are compared exactly
DELETED = 1000  # paths in one deletion


class PictureTable:
    """The rows of an index, written in atomic commits.

    A process that is killed leaves the table as its last commit made it.

    Args:
        location: a folder, or a URI that Lance reads.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        with _faults(location):
            # Every read sees the latest commit.
            self.database = lancedb.connect(location, read_consistency_interval=timedelta(0))
            self.rows = self.database.open_table(PICTURES)

    @staticmethod
    def exists(location: str) -> bool:
        """Whether there is an index."""
        if is_local(location) and not Path(location).is_dir():
            return False  # connecting would make the folder
        with _faults(location):
            return {PICTURES, ABOUT} <= {*lancedb.connect(location).list_tables().tables}

    @classmethod
    def create(cls, location: str, width: int, *, half: bool, about: str) -> "PictureTable":
        """An empty table of features with `width` values each.

        Args:
            about: a text to keep with it.
        """
        with _faults(location):
            database = lancedb.connect(location)
            database.create_table(ABOUT, pa.table({"content": [about]}), mode="overwrite")
            vector = pa.list_(pa.float16() if half else pa.float32(), width)
            schema = METADATA.append(pa.field("vector", vector))
            database.create_table(PICTURES, schema=schema, mode="overwrite")
        return cls(location)

    @property
    def about(self) -> str:
        """The text that is kept with the table."""
        content: str = self.database.open_table(ABOUT).to_arrow()["content"][0].as_py()
        return content

    @about.setter
    def about(self, text: str) -> None:
        with _faults(self.location):
            self.database.create_table(ABOUT, pa.table({"content": [text]}), mode="overwrite")

    @property
    def version(self) -> int:
        """The number of the latest commit."""
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
        return self.rows.count_rows()

    def at(self, version: int) -> "PictureTable":
        """The table as it was at a commit, to be read."""
        other = copy.copy(self)
        with _faults(self.location):
            other.rows = self.database.open_table(PICTURES)
            other.rows.checkout(version)
        return other

    def metadata(self) -> dict[str, Row]:
        """All columns but the features, by path."""
        found = self.rows.search().select(METADATA.names).to_batches()
        return {row["path"]: row for batch in found for row in batch.to_pylist()}

    def features(self, chunk: int) -> Iterator[tuple[RowIds, Tensor]]:
        """All rows, at most `chunk` at a time: their ids and features (n, D)."""
        with _faults(self.location):
            query = self.rows.search().select(["vector"]).with_row_id(True)
            for batch in query.to_batches(chunk):
                yield batch["_rowid"].to_numpy(), self._tensor(batch["vector"])

    def rows_where(self, where: str) -> RowIds:
        """The ids of the rows that fulfil a condition in SQL.

        Raises:
            InputError: the condition cannot be understood.
        """
        try:
            found = self.rows.search().where(where).select([]).with_row_id(True).to_arrow()
        except (RuntimeError, ValueError) as error:
            raise InputError(explain_filter(where, str(error))) from None
        ids: RowIds = found["_rowid"].to_numpy()
        return ids

    def values(self, column: str) -> list[Any]:
        """The values of a column, each once, in ascending order; missing ones are left out."""
        with _faults(self.location):
            found = self.rows.search().select([column]).to_arrow()[column].unique().to_pylist()
        return sorted(value for value in found if value is not None)

    @property
    def is_approximate(self) -> bool:
        """Whether there is an approximate index."""
        return bool(self.rows.list_indices())

    def build_approximate(self) -> None:
        """Build an approximate index over all features."""
        with _faults(self.location):
            self.rows.create_index("vector", config=IvfPq(distance_type="cosine"))

    def nearest(self, query: Tensor, top: int, where: str | None) -> tuple[RowIds, Tensor]:
        """The ids of rows by the approximate index, nearest first, and their cosine similarities.

        Args:
            query: (D,), L2-normalised.
            where: a condition in SQL.

        Raises:
            InputError: the condition cannot be understood.
        """
        search = self.rows.search(query.numpy(), vector_column_name="vector")
        assert isinstance(search, LanceVectorQueryBuilder)
        search = search.distance_type("cosine").nprobes(PROBES).refine_factor(REFINED)
        if where is not None:
            search = search.where(where, prefilter=True)
        try:
            found = search.select(["_distance"]).with_row_id(True).limit(top).to_arrow()
        except (RuntimeError, ValueError) as error:
            raise InputError(explain_filter(where or "", str(error))) from None
        return found["_rowid"].to_numpy(), 1 - torch.from_numpy(found["_distance"].to_numpy())

    def take(self, rows: RowIds) -> list[Row]:
        """The metadata of some rows, in their order."""
        with _faults(self.location):
            query = self.rows.take_row_ids(rows.tolist()).select(METADATA.names)
            found = query.with_row_id().to_arrow().to_pylist()
        by_id = {row.pop("_rowid"): row for row in found}
        return [by_id[row] for row in rows.tolist()]

    def take_features(self, rows: RowIds) -> Tensor:
        """The features of some rows, (N, D), in their order."""
        with _faults(self.location):
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
        with _faults(self.location):
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
        with _faults(self.location):
            self.rows.merge_insert("path").when_matched_update_all().execute(new)

    def remove(self, paths: Sequence[str]) -> None:
        """Remove pictures by their paths."""
        with _faults(self.location):
            for first in range(0, len(paths), DELETED):
                names = ", ".join(map(quote, paths[first : first + DELETED]))
                self.rows.delete(f"path IN ({names})")

    def compact(self) -> None:
        """Join small files, bring an approximate index up to date, and drop old versions."""
        with _faults(self.location):
            self.rows.optimize(cleanup_older_than=KEPT)

    def _table(self, rows: Sequence[Row], features: NDArray[np.float32]) -> pa.Table:
        table = pa.Table.from_pylist(list(rows), METADATA)
        vector = self.rows.schema.field("vector")
        values = pa.array(features.reshape(-1).astype(vector.type.value_type.to_pandas_dtype()))
        column = pa.FixedSizeListArray.from_arrays(values, vector.type.list_size)
        return table.append_column(vector, column)


def is_local(location: str) -> bool:
    """Whether a location is a folder, and not a URI."""
    return "://" not in location


def quote(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def explain_filter(where: str, reason: str) -> str:
    """The message about a condition that Lance refuses."""
    columns = ", ".join(name for name in METADATA.names if name not in ("hash", "modified"))
    if field := re.search(r"No field named (\S+)\.", reason):
        why = f"there is no column {field[1]}"
    elif literal := re.search(r"Received literal \w+\((.*?)\) and could not convert", reason):
        why = f"{literal[1]} is not what its column holds"
    elif syntax := re.search(r"sql parser error: (.*?)\)?(, /|$)", reason):
        why = syntax[1]
    else:
        why = re.sub(r"^Invalid input, |, /\S+\.rs:\d+:\d+", "", reason).splitlines()[0]
    return (
        f"--where {where!r} cannot be understood ({why}); the columns are {columns}, as in "
        "\"camera = 3 and time > '2026-01-01 08:00'\""
    )


@contextmanager
def _faults(location: str) -> Iterator[None]:
    """Turn faults of the disk, the network and Lance into the user's errors."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError) as error:
        reason = re.sub(r", /\S+\.rs:\d+:\d+", "", str(error)).splitlines()[0]
        raise InputError(f"the index {location} cannot be read or written ({reason})") from error
