"""The cost of retrieval metrics and of re-ranking, against bars.

python -m benchmarks.metrics --output metrics.json
python -m benchmarks.metrics --msmt17 --share 10 --output msmt17.json

Times are ratios to a peer that is measured in turn with it, so that the machine matters little; the
fastest of a few rounds counts. Memory is what a process of its own needs beyond its features. The
features are noise, which is the slowest case: every similarity must be compared.
"""

import argparse
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from benchmarks.records import RECORD, Record, Row, against_bar
from misc.evaluation import queries_at_once, rank_features, retrieval_metrics
from misc.reranking import k_reciprocal
from misc.retrieval.shared_ranking import rank_together
from misc.runtime.distributed import Processes, processes
from misc.runtime.script import Parser, positive, run_script

CHUNK = 256  # queries at once
WIDTH = 512  # of a feature of CLIP


class Sides(NamedTuple):
    """Numbers of queries, of gallery items and of identities, and the width of a feature."""

    queries: int
    gallery: int
    identities: int
    width: int = WIDTH


class Sizes(NamedTuple):
    """The sizes that are measured."""

    texts: Sides = Sides(6156, 3074, 1000)  # those of CUHK-PEDES
    images: Sides = Sides(3074, 6156, 1000)
    large: Sides = Sides(1000, 1_000_000, 200_000)
    reranked: Sides = Sides(3368, 15_913, 750, 1280)  # those of Market-1501


SMALL = Sizes(
    large=Sides(1000, 100_000, 20_000),
    reranked=Sides(700, 3300, 150, 1280),
)
MSMT17 = Sides(11_659, 82_161, 1041, 1280)
BARS = {
    "text to image, metrics / full argsort": 0.5,
    "image to text, metrics / full argsort": 0.5,
    "large gallery, ranking / product of matrices": 2.5,
    "large gallery, memory beyond the features, GB": 1.0,
    "ranking, two processes / one": 0.6,
    "re-ranking / product of all pairs": 8.0,
    "re-ranking, memory beyond the features, GB": 1.2,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks.metrics", description="Cost of metrics, against bars."
    )
    add = parser.add_argument
    add("--output", type=RECORD, required=True, metavar="FILE", help="JSON to write")
    small = "100,000 instead of 1,000,000 gallery items, 4,000 instead of 19,281 re-ranked"
    add("--small", action="store_true", help=small)
    add("--msmt17", action="store_true", help="only re-rank as many as MSMT17 has, 93,820: long")
    add("--share", type=positive, default=1, metavar="N", help="of MSMT17's, an Nth (default: 1)")
    add("--rounds", type=positive, default=3, metavar="N", help="(default: 3)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    record = Record(asked.output, torch.device("cpu"), seconds=math.inf)
    if asked.msmt17:
        queries, gallery, identities = (count // asked.share for count in MSMT17[:3])
        sides = Sides(queries, gallery, identities, MSMT17.width)
        name = f"re-ranking {sides.queries + sides.gallery:,} images"
        record.measure(name, partial(_unbounded, sides))
        return
    sizes, rounds = SMALL if asked.small else Sizes(), asked.rounds
    parts: list[Callable[[], Sequence[float]]] = [
        partial(against_argsort, sizes.texts, rounds),
        partial(against_argsort, sizes.images, rounds),
        partial(alone, large_gallery, sizes.large, rounds),
        partial(two_processes, sizes.texts, rounds),
        partial(alone, reranking, sizes.reranked),
    ]
    values = [value for part in tqdm(parts, desc="metrics", disable=None) for value in part()]
    for value, (name, bar) in zip(values, BARS.items(), strict=True):
        record.add(name, against_bar(value, "<=", bar))


def _unbounded(sides: Sides) -> Row:
    """Re-ranking without a bar, in CPU time beside one product: at this size it takes minutes."""
    took, memory = alone(reranking, sides, 1, time.process_time)
    return {"CPU time / product of all pairs": took, "memory beyond the features, GB": memory}


def draw(sides: Sides) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features of noise, L2-normalised, of the queries and of the gallery; and their identities."""
    rng = torch.Generator().manual_seed(0)
    sizes = sides.queries, sides.gallery
    query, gallery = (torch.randn(size, sides.width, generator=rng) for size in sizes)
    for features in (query, gallery):
        F.normalize(features, out=features)
    query_ids, gallery_ids = (torch.arange(size) % sides.identities for size in sizes)
    return query, gallery, query_ids, gallery_ids


def against_argsort(sides: Sides, rounds: int) -> tuple[float]:
    """The time of the metrics of a matrix, of the time of sorting it."""
    query, gallery, query_ids, gallery_ids = draw(sides)
    similarity = query @ gallery.T
    metrics = partial(retrieval_metrics, similarity, query_ids, gallery_ids)
    return (ratio(metrics, lambda: similarity.argsort(dim=1, descending=True), rounds),)


def large_gallery(sides: Sides, rounds: int) -> tuple[float, float]:
    """The time of ranking a gallery, of that of the similarities alone; and its memory."""
    query, gallery, query_ids, gallery_ids = draw(sides)
    rank = partial(rank_features, query, gallery, query_ids, gallery_ids, chunk=CHUNK)

    def product() -> None:
        for part in query.split(queries_at_once(len(gallery), CHUNK)):
            part @ gallery.T

    memory = grown(rank)
    return ratio(rank, product, rounds), memory


def reranking(
    sides: Sides, rounds: int = 3, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """The time of re-ranking, of the least time of the product of all pairs; and its memory."""
    query, gallery, *_ = draw(sides)

    def product() -> None:
        for side in (query, gallery):
            for part in side.split(CHUNK):
                part @ query.T
                part @ gallery.T

    start = clock()
    memory = grown(lambda: k_reciprocal(query, gallery, chunk=CHUNK))
    seconds = clock() - start
    return seconds / min(_seconds(product, clock) for _ in range(rounds)), memory


def two_processes(sides: Sides, rounds: int) -> tuple[float]:
    """The time of ranking with two processes, of that with one; each has one thread."""
    one, two = (
        min(in_processes(partial(_rank_seconds, sides, rounds), world_size))
        for world_size in (1, 2)
    )
    return (two / one,)


def in_processes(function: Callable[[Processes], float], world_size: int) -> list[float]:
    """The results of a function in processes as torchrun starts them, by rank."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    with ProcessPoolExecutor(world_size, mp_context=get_context("spawn")) as pool:
        ranks = [pool.submit(_join, function, rank, world_size, port) for rank in range(world_size)]
        return [rank.result() for rank in ranks]


def _join(function: Callable[[Processes], float], rank: int, world_size: int, port: int) -> float:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with processes("cpu") as own:
        return function(own)


def _rank_seconds(sides: Sides, rounds: int, own: Processes) -> float:
    features = draw(sides)
    times = []
    for _ in range(rounds):
        own.share(None)  # so that all begin together
        times.append(_seconds(lambda: rank_together(*features, chunk=CHUNK, processes=own)))
    return min(times)


def alone(function: Callable[..., tuple[float, ...]], *args: object) -> tuple[float, ...]:
    """The result of a function in a process of its own, whose memory is the function's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def grown(call: Callable[[], object]) -> float:
    """The gigabytes by which the peak memory of this process grows in a call; on Linux."""
    before = _peak_memory()
    call()
    return (_peak_memory() - before) / 1e9


def _peak_memory() -> int:
    """Bytes; unlike getrusage's, without those of the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def ratio(call: Callable[[], object], peer: Callable[[], object], rounds: int) -> float:
    """The least time of a call, of the least time of its peer, in turn."""
    times = [(_seconds(call), _seconds(peer)) for _ in range(rounds)]
    ours, theirs = map(min, zip(*times, strict=True))
    return ours / theirs


def _seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    call()
    return clock() - start


if __name__ == "__main__":
    sys.exit(main())
