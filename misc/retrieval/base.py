"""The evaluation of a gallery and its queries: encoding, ranking, metrics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import ClassVar, Generic, NamedTuple, TypeVar

import torch
from prettytable import PrettyTable
from torch import Tensor, nn
from tqdm import tqdm

from errors import InputError
from misc.data.loader import Item, Items, MovableBatch, evaluation_loader
from misc.evaluation import Ranking, choose_queries, retrieval_metrics
from misc.retrieval.features import Features
from misc.retrieval.ranked_lists import RankedList
from misc.retrieval.similarities import Similarities
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, generator

METRICS = ("R1", "R5", "R10", "mAP", "mINP")
CMC_RANKS = 50
Results = dict[str, dict[str, float]]  # direction -> metric -> percent
Rerank = Callable[[Tensor, Tensor], Tensor]  # queries (Q, D), gallery (G, D) -> distances (Q, G)
Encoded = tuple[Tensor, ...]  # normalised features on the CPU, by modality
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Settings of reading, encoding and ranking a split."""

    batch_size: int
    num_workers: int
    chunk: int  # queries ranked at once


class Ranked(NamedTuple):
    """Metrics and rankings of every direction, the same in every process."""

    results: Results
    rankings: Mapping[str, Sequence[Ranking]]  # by direction, of each language or draw

    @property
    def ranking(self) -> Ranking:
        """The ranking of the first direction and its first language or draw."""
        return next(iter(self.rankings.values()))[0]

    def cmc(self) -> dict[str, list[float]]:
        """The CMC curve of each direction in percent, by rank from 1; of several languages or draws
        the mean.
        """
        curves = {}
        for direction, rankings in self.rankings.items():
            each = [ranking.cmc(CMC_RANKS) for ranking in rankings]
            curves[direction] = [fmean(shares) for shares in zip(*each, strict=True)]
        return curves


class Retrieval(ABC, Generic[Model]):
    """A gallery and its queries, ready to be evaluated with any model."""

    query_kind: ClassVar[str]  # of a calibration's kinds
    languages: Sequence[str] = ("",)  # of the queries

    def evaluate(self, model: Model, processes: Processes, precision: Precision) -> Results:
        """Metrics of every direction, the same in every process.

        The model is left in evaluation mode.
        """
        return self.rank(self.encode(model, processes, precision), processes).results

    @abstractmethod
    def encode(self, model: Model, processes: Processes, precision: Precision) -> Encoded:
        """Normalised features on the CPU, the same in every process."""

    @abstractmethod
    def rank(self, encoded: Encoded, processes: Processes, rerank: Rerank | None = None) -> Ranked:
        """Metrics of every direction, the same in every process; the processes share the ranking.

        Args:
            encoded: the result of `encode`.
            rerank: adds the same metrics of the distances that it gives, in rows of their own. It
                is called in the main process alone.
        """

    @abstractmethod
    def features(self, encoded: Encoded, model: Model) -> Features:
        """The result of `encode`, ready to be saved."""

    @abstractmethod
    def similarities(self, encoded: Encoded, device: torch.device) -> Similarities:
        """Similarities of the matches and of the other pairs, of the first direction."""

    @property
    @abstractmethod
    def queries(self) -> tuple[Sequence[Path | str], Tensor]:
        """The queries of the first ranking: paths or captions, and their identities (Q,)."""

    def ranked_lists(
        self, encoded: Encoded, ranked: Ranked, device: torch.device, *, count: int, seed: int
    ) -> dict[str, list[RankedList]]:
        """Ranked lists of `count` queries drawn at random, `sample`, and of the `worst` as many; of
        several languages those of each, `sample-en`, `worst-en`, ...

        Args:
            ranked: the result of `rank`.
        """
        lists, first = {}, 0
        rankings = next(iter(ranked.rankings.values()))
        several = len(self.languages) > 1
        for name, ranking in zip(self.languages, rankings, strict=False):  # of draws the first
            suffix, language = (f"-{name}", name) if several else ("", None)
            chosen = choose_queries(ranking, count, generator(seed, Purpose.QUERIES))
            for group, rows in zip(("sample", "worst"), chosen, strict=True):
                found = self.lists_of(encoded, [first + row for row in rows], device)
                lists[group + suffix] = [replace(one, language=language) for one in found]
            first += len(ranking.matches)
        return lists

    @abstractmethod
    def lists_of(
        self, encoded: Encoded, rows: Sequence[int], device: torch.device
    ) -> list[RankedList]:
        """The ranked lists of some queries, which count through the languages."""


@torch.inference_mode()
def encode_items(
    items: Items[Item, MovableBatch],
    encode: Callable[[MovableBatch], Tensor],
    *,
    processes: Processes,
    precision: Precision,
    loading: Loading,
) -> Tensor:
    """Features of all items, (N, D), float32 on the CPU, in order; the processes share the work.

    Args:
        encode: a batch on the device -> its features.

    Raises:
        InputError: the features are not finite.
    """
    total = len(items)
    rank, world_size = processes.rank, processes.world_size
    loader = evaluation_loader(
        items,
        batch_size=loading.batch_size,
        num_workers=loading.num_workers,
        pin_memory=processes.device.type == "cuda",
        rank=rank,
        world_size=world_size,
    )
    own = []
    bar = tqdm(loader, desc="encode", leave=False, disable=None if processes.is_main else True)
    for batch in processes.batches(bar):
        with precision.autocast():
            features = encode(batch.to(processes.device, non_blocking=True))
        own.append(features.float())
    parts = processes.collect(torch.cat(own))
    features = torch.empty(total, parts[0].shape[1])
    for part_rank, part in enumerate(parts):
        features[part_rank::world_size] = part[: len(range(part_rank, total, world_size))]
    if not features.isfinite().all():
        raise InputError(
            "the model's features are not finite, since the training has diverged; reduce "
            "schedule.lr, or set experiment.precision to bf16 or fp32"
        )
    return features


def reranked_metrics(
    rerank: Rerank,
    query: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    query_cams: Tensor | None = None,
    gallery_cams: Tensor | None = None,
    *,
    processes: Processes,
) -> dict[str, float]:
    """Metrics of the distances that `rerank` gives in the main process, for every process.

    The other arguments and the errors are those of `rank_features`.
    """
    metrics: dict[str, float] = {}
    if processes.is_main:
        similarity = rerank(query, gallery).neg_()
        metrics = retrieval_metrics(similarity, query_ids, gallery_ids, query_cams, gallery_cams)
    return processes.share(metrics)


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over rows; of `unmatched` the maximum."""
    means = {name: fmean(row[name] for row in rows) for name in rows[0]}
    return means | {"unmatched": max(row["unmatched"] for row in rows)}


def format_table(title: str, results: Mapping[str, Mapping[str, float]]) -> str:
    """A table of the metrics with a row for each direction."""
    table = PrettyTable(["", *METRICS], title=title, align="r")
    table.align[""] = "l"
    for name, metrics in results.items():
        table.add_row([name, *(f"{metrics[key]:.2f}" for key in METRICS)])
    notes = [
        f"{int(metrics['unmatched'])} queries ({name}) have no match and are excluded"
        for name, metrics in results.items()
        if metrics["unmatched"]
    ]
    return "\n".join([table.get_string(), *notes])
