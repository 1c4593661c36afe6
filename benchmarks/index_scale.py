"""The size, speed and recall of a large index: the tables of docs/search.md.

python -m benchmarks.index_scale --rows 100000 --output benchmarks/results/index_scale.json

The features are drawn: people with five pictures each, similar to one another by 0.67, and to most
strangers by less than 0.5. Queries are pictures of the index, or like words: far from all pictures,
with a similarity of 0.35 to the person's.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from prettytable import PrettyTable, TableStyle
from torch import Tensor

from misc.runtime.atomic import atomic_write
from misc.runtime.distributed import Processes, choose_device
from misc.runtime.outputs import OutputFile
from misc.runtime.script import Parser, positive, run_script
from misc.runtime.seeding import Purpose, generator
from misc.search.picture_batches import digest
from misc.search.table import PictureTable, Row, RowIds
from misc.search.updating import COMPACTION, RARELY
from misc.search.vectors import Vectors

T = TypeVar("T")

PICTURES_EACH = 5  # of a person
LATENT = 48  # dimensions that people differ in
SPREAD, GAP = (
    0.7,
    2.1,
)  # of a picture about its person, of words; in lengths of the person's feature
COMMIT = 256  # pictures
CHANGED = 1000  # pictures removed, and replaced
QUERIES, HITS, COLD = 200, 10, 5
FILTER = "camera = 3"  # of ten
FIGURES = OutputFile("an earlier record of this benchmark", b'{\n "rows": ')
Figures = dict[str, float]  # by what they measure, with the unit


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.index_scale", description="Size, speed and recall of an index."
    )
    add = parser.add_argument
    add("--rows", type=positive, default=100_000, metavar="N", help="(default: 100,000)")
    add("--width", type=positive, default=512, metavar="N", help="of a feature (default: 512)")
    add("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    add("--output", type=FIGURES, metavar="FILE", help="write the figures as JSON, too")
    return parser


def _run(asked: argparse.Namespace) -> None:
    found: dict[str, Figures] = {}
    for name in ("float32", "float16"):
        with tempfile.TemporaryDirectory() as folder:
            people = People(asked.rows, asked.width, asked.seed)
            found[name] = measure(people, f"{folder}/index", half=name == "float16")
    if asked.output:
        tree = {"rows": asked.rows, "width": asked.width, "seed": asked.seed, **found}
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(asked.output) as file:
            file.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    print(to_table(found))


class People:
    """Pictures of people, drawn by seed."""

    def __init__(self, rows: int, width: int, seed: int) -> None:
        self.rows, self.width, self.seed = rows, width, seed
        rng = generator(seed, Purpose.GALLERY)
        scale = np.arange(1, LATENT + 1)[:, None] ** -0.5  # some traits differ more than others
        self.basis = (scale * rng.standard_normal((LATENT, width))).astype(np.float32)
        number = max(1, rows // PICTURES_EACH)
        self.latent = rng.standard_normal((number, LATENT), dtype=np.float32)

    def batches(self) -> Iterator[tuple[list[Row], NDArray[np.float32]]]:
        """All rows with their features, a commit at a time."""
        for first in range(0, self.rows, COMMIT):
            numbers = np.arange(first, min(first + COMMIT, self.rows))
            yield [describe(number) for number in numbers.tolist()], self.pictures(numbers)

    def pictures(self, numbers: NDArray[np.int64], change: int = 0) -> NDArray[np.float32]:
        """The features of some rows, (N, D), in another pose for another `change`."""
        rng = generator(self.seed, Purpose.IMAGE, int(numbers[0]), change)
        return self._about(numbers % len(self.latent), SPREAD, rng)

    def words(self, number: int) -> Tensor:
        """Queries like words, (number, D)."""
        rng = generator(self.seed, Purpose.TEXT)
        who = rng.integers(len(self.latent), size=number)
        return torch.from_numpy(self._about(who, GAP, rng))

    def _about(
        self, who: NDArray[np.int64], distance: float, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        noise = rng.standard_normal((len(who), self.width), dtype=np.float32)
        return normalize(normalize(self.latent[who] @ self.basis) + distance * normalize(noise))


def normalize(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (N, D) of length 1."""
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def describe(number: int) -> Row:
    """The metadata of a picture."""
    camera = number % 10
    return {
        "path": f"/data/gallery/camera{camera}/20260101/{number:09}.jpg",
        "size": 20_000 + number % 997,
        "modified": 1_767_225_600_000_000_000 + number,
        "hash": digest(str(number).encode()).hex(),
        "camera": camera,
        "time": f"2026-01-01 {number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}",
    }


def measure(people: People, location: str, *, half: bool) -> Figures:
    """Build an index of people and measure it."""
    table = PictureTable.create(location, people.width, half=half, about="")
    figures = _build(table, people, location)
    vectors = Vectors(table.at(table.version))
    queries = _queries(vectors, people)
    cold = [
        _seconds(lambda: Vectors(vectors.table).search(queries["pictures"][0], HITS))
        for _ in range(COLD)
    ]
    figures["exact, features not yet read, s"] = float(np.median(cold))
    exact = {kind: [vectors.search(q, HITS).rows for q in each] for kind, each in queries.items()}
    pictures = queries["pictures"]
    figures |= _latency("exact", pictures, lambda q: vectors.search(q, HITS))
    figures |= _latency(
        "exact, filter of 10 %", pictures, lambda q: vectors.search(q, HITS, FILTER)
    )
    figures |= _latency("metadata of the hits", exact["pictures"], vectors.table.take)
    figures["memory of a process, GiB"] = _memory(location) / 2**30
    before = _bytes(location)
    figures["build of the approximate index, s"] = _seconds(table.build_approximate)
    figures["approximate index, bytes per picture"] = (_bytes(location) - before) / people.rows
    search = Vectors(table.at(table.version)).search_approximately
    figures |= _latency("approximate", pictures, lambda q: search(q, HITS))
    filtered = "approximate, filter of 10 %"
    figures |= _latency(filtered, pictures, lambda q: search(q, HITS, FILTER))
    for kind, each in queries.items():
        found = [search(query, HITS).rows for query in each]
        figures |= _recall(kind, exact[kind], found)
    return figures


def _build(table: PictureTable, people: People, location: str) -> Figures:
    """Fill a table, and change some of it."""
    adding, compacting, due = 0.0, 0.0, COMPACTION
    for number, (rows, features) in enumerate(people.batches(), 1):
        adding += _seconds(partial(table.add, rows, features))
        if number == due:
            compacting += _seconds(table.compact)
            due += min(due, RARELY)
    grown = _bytes(location)
    compacting += _seconds(table.compact)
    table.rows.optimize(
        cleanup_older_than=timedelta(milliseconds=1)
    )  # as the next run does, minutes later
    numbers = generator(people.seed, Purpose.STEP).choice(people.rows, 2 * CHANGED, replace=False)
    gone, new = numbers[:CHANGED], numbers[CHANGED:]
    figures = {
        "bytes per picture, right after adding": grown / people.rows,
        "bytes per picture, compacted": _bytes(location) / people.rows,
        "add, s": adding,
        "compact, s": compacting,
        "metadata of all pictures, s": _seconds(table.metadata),
        "remove 1,000, s": _seconds(lambda: table.remove([str(describe(n)["path"]) for n in gone])),
    }
    rows, features = [describe(number) for number in new.tolist()], people.pictures(new, change=1)
    figures["replace 1,000, s"] = _seconds(partial(table.replace, rows, features))
    table.compact()
    return figures


def _queries(vectors: Vectors, people: People) -> Mapping[str, list[Tensor]]:
    """Queries (D,) by kind: pictures of the index, and the like of words."""
    ids = np.concatenate([chunk.rows for chunk in vectors.chunks()])
    drawn = generator(people.seed, Purpose.QUERIES).choice(ids, QUERIES, replace=False)
    pictures = vectors.table.take_features(drawn).float()
    return {
        "pictures": list(torch.nn.functional.normalize(pictures)),
        "words": list(people.words(QUERIES)),
    }


def _latency(name: str, queries: Iterable[T], search: Callable[[T], object]) -> Figures:
    times = [1000 * _seconds(partial(search, query)) for query in queries]
    return {
        f"{name}, p50, ms": float(np.percentile(times, 50)),
        f"{name}, p99, ms": float(np.percentile(times, 99)),
    }


def _recall(kind: str, exact: Sequence[RowIds], found: Sequence[RowIds]) -> Figures:
    """The share of exact hits among the found ones, of the best and of the best ten."""
    pairs = list(zip(exact, found, strict=True))
    return {
        f"recall@{top}, {kind}": float(
            np.mean([np.isin(e[:top], f[:top]).mean() for e, f in pairs])
        )
        for top in (1, HITS)
    }


def _memory(location: str) -> int:
    """The most bytes that a process holds that searches by comparison with all."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_search_once, location).result()


def _search_once(location: str) -> int:
    table = PictureTable(location)
    Vectors(table).search(torch.nn.functional.normalize(torch.ones(table.width), dim=0), HITS)
    return Processes(0, 1, choose_device("cpu")).peak_memory()


def _bytes(location: str) -> int:
    return sum(file.stat().st_size for file in Path(location).rglob("*") if file.is_file())


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def to_table(found: Mapping[str, Figures]) -> str:
    """A markdown table of the figures by type of the features."""
    table = PrettyTable(["", *found], align="r")
    table.align[""] = "l"
    table.set_style(TableStyle.MARKDOWN)
    for name in next(iter(found.values())):
        table.add_row([name, *(f"{figures[name]:,.4g}" for figures in found.values())])
    return str(table.get_string())


if __name__ == "__main__":
    sys.exit(main())
