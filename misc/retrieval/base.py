"""Retrieval on one set of pictures: encode them and what looks for them, rank, report."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import torch
from prettytable import PrettyTable
from torch import Tensor
from tqdm import tqdm

from errors import InputError
from misc.data.loader import Items, evaluation_loader
from misc.evaluation import Ranking
from misc.retrieval.features import Features
from misc.retrieval.ranked_lists import RankedList
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision

METRICS = ("R1", "R5", "R10", "mAP", "mINP")
Results = dict[str, dict[str, float]]  # direction -> metric -> percent
Rerank = Callable[[Tensor, Tensor], Tensor]  # queries (Q, D), gallery (G, D) -> distances (Q, G)
Encoded = tuple[Tensor, ...]


@dataclass(frozen=True)
class Loading:
    """How a split is read and encoded."""

    batch_size: int
    num_workers: int
    chunk: int  # queries ranked at once


class Ranked(NamedTuple):
    """What `Retrieval.rank` gives: the metrics, and how the first queries came out, those of the
    first direction and language or draw; the latter in the main process alone.
    """

    results: Results
    ranking: Ranking | None


class Retrieval(ABC):
    """Pictures and what looks for them, ready to be searched with any model."""

    def evaluate(self, model: Any, processes: Processes, precision: Precision) -> Results:
        """Metrics of every direction, the same in every process.

        The model is left in evaluation mode.
        """
        return self.rank(self.encode(model, processes, precision), processes).results

    @abstractmethod
    def encode(self, model: Any, processes: Processes, precision: Precision) -> Encoded:
        """Normalised features on the CPU, the same in every process."""

    @abstractmethod
    def rank(self, encoded: Encoded, processes: Processes, rerank: Rerank | None = None) -> Ranked:
        """Metrics of every direction, the same in every process.

        Args:
            encoded: what `encode` gave.
            rerank: gives distances for the same metrics once more, in rows of their own.
        """

    @abstractmethod
    def features(self, encoded: Encoded, model: Any) -> Features:
        """What `encode` gave, with what it was made of."""

    @abstractmethod
    def ranked_lists(
        self, encoded: Encoded, ranking: Ranking, device: torch.device, count: int, seed: int
    ) -> dict[str, list[RankedList]]:
        """What some queries find: `count` of a sample, and of the worst.

        Args:
            ranking: that `rank` gave.
        """


@torch.inference_mode()
def encode_items(
    items: Items,
    encode: Callable[[Any], Tensor],
    processes: Processes,
    precision: Precision,
    loading: Loading,
) -> Tensor:
    """Features of all items, (N, D), float32 on the CPU, in order; the processes share the work,
    each item once.

    Args:
        encode: a batch of items on the device -> their features.
    """
    total = len(items)
    rank, world_size = processes.rank, processes.world_size
    loader = evaluation_loader(
        items,
        loading.batch_size,
        loading.num_workers,
        processes.device.type == "cuda",
        rank,
        world_size,
    )
    own = []
    for batch in tqdm(
        loader, desc="encode", leave=False, disable=None if processes.is_main else True
    ):
        with precision.autocast():
            features = encode(batch.to(processes.device, non_blocking=True))
        own.append(features.float())
    parts = processes.collect(torch.cat(own))
    features = torch.empty(total, parts[0].shape[1])
    for part_rank, part in enumerate(parts):
        features[part_rank::world_size] = part[: len(range(part_rank, total, world_size))]
    if not features.isfinite().all():
        raise InputError(
            "the model's features are not finite: its training has diverged; lower schedule.lr, or "
            "give experiment.precision=bf16 or fp32"
        )
    return features


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric over rows; of `unmatched` the largest."""
    means = {name: fmean(row[name] for row in rows) for name in rows[0]}
    return means | {"unmatched": max(row["unmatched"] for row in rows)}


def format_table(title: str, results: Mapping[str, Mapping[str, float]]) -> str:
    """The metrics as a table, a row a direction."""
    table = PrettyTable(["", *METRICS], title=title, align="r")
    table.align[""] = "l"
    for name, metrics in results.items():
        table.add_row([name, *(f"{metrics[key]:.2f}" for key in METRICS)])
    notes = [
        f"{int(metrics['unmatched'])} queries ({name}) have no match and are not counted"
        for name, metrics in results.items()
        if metrics["unmatched"]
    ]
    return "\n".join([table.get_string(), *notes])
