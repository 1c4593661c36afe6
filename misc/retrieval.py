"""Text-to-person retrieval on one split: encode its pictures and captions, rank, report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from PIL import Image
from prettytable import PrettyTable
from torch import Tensor
from tqdm import tqdm

from errors import InputError
from misc.data import PictureDataset, TokenDataset, evaluation_loader
from misc.datasets.annotations import Picture
from misc.distributed import Processes
from misc.evaluation import rank_features, retrieval_metrics
from misc.features import Features, hash_weights
from misc.precision import Precision
from model.tbps_clip import TBPSCLIP
from text_utils.tokenizer import Tokenizer

METRICS = ("R1", "R5", "R10", "mAP", "mINP")
Results = dict[str, dict[str, float]]  # direction -> metric -> percent
Rerank = Callable[[Tensor, Tensor], Tensor]  # queries (Q, D), gallery (G, D) -> distances (Q, G)


@dataclass(frozen=True)
class Loading:
    """How a split is read and encoded."""

    batch_size: int
    num_workers: int
    chunk: int  # queries ranked at once


class TextRetrieval:
    """One split of a dataset, ready to be searched with any model.

    Args:
        told: the gallery, by the language of its captions; these are the queries.
        text_length: tokens of a caption at most.
    """

    def __init__(
        self,
        told: Mapping[str, Sequence[Picture]],
        transform: Callable[[Image.Image], Tensor],
        tokenizer: Tokenizer,
        text_length: int,
        loading: Loading,
    ) -> None:
        pictures = next(iter(told.values()))
        self.images = PictureDataset([Path(p.path) for p in pictures], transform)
        self.image_ids = torch.tensor([p.identity for p in pictures])
        captions = [caption for p in every_picture(told) for caption in p.captions]
        self.texts = TokenDataset(captions, tokenizer, text_length)
        self.text_ids = torch.tensor([p.identity for p in every_picture(told) for _ in p.captions])
        self.languages = {
            language: sum(len(p.captions) for p in pictures) for language, pictures in told.items()
        }
        self.loading = loading

    def evaluate(self, model: TBPSCLIP, processes: Processes, precision: Precision) -> Results:
        """Metrics of both directions, the same in every process.

        The model is left in evaluation mode.
        """
        return self.rank(*self.encode(model, processes, precision), processes)

    def encode(
        self, model: TBPSCLIP, processes: Processes, precision: Precision
    ) -> tuple[Tensor, Tensor]:
        """Normalised features of the pictures (N, D) and the captions (M, D), on the CPU; those of
        one language after those of another.
        """
        model.eval()
        image = encode_items(self.images, model.encode_image, processes, precision, self.loading)
        text = encode_items(self.texts, model.encode_text, processes, precision, self.loading)
        return image, text

    def rank(
        self, image: Tensor, text: Tensor, processes: Processes, rerank: Rerank | None = None
    ) -> Results:
        """Metrics of both directions, the same in every process; of several languages, the mean
        over them and then each.

        Args:
            rerank: gives distances for the same metrics once more, in rows of their own.
        """
        results: Results = {}
        if processes.is_main:
            counts = list(self.languages.values())
            parts = zip(text.split(counts), self.text_ids.split(counts), strict=True)
            each = [self._rank(image, *part, processes.device, rerank) for part in parts]
            results = {direction: mean([r[direction] for r in each]) for direction in each[0]}
            if len(each) > 1:
                for language, found in zip(self.languages, each, strict=True):
                    results |= {f"{direction}, {language}": row for direction, row in found.items()}
        return processes.share(results)

    def _rank(
        self,
        image: Tensor,
        text: Tensor,
        text_ids: Tensor,
        device: torch.device,
        rerank: Rerank | None,
    ) -> Results:
        images = image.to(device), self.image_ids.to(device)
        texts = text.to(device), text_ids.to(device)
        results: Results = {}
        for direction, query, gallery in (
            ("text to image", texts, images),
            ("image to text", images, texts),
        ):
            ranking = rank_features(
                query[0], gallery[0], query[1], gallery[1], chunk=self.loading.chunk
            )
            results[direction] = ranking.metrics()
            if rerank:
                similarity = rerank(query[0], gallery[0]).neg_()
                metrics = retrieval_metrics(similarity, query[1], gallery[1])
                results[f"{direction}, re-ranked"] = metrics
        return results

    def features(self, image: Tensor, text: Tensor, model: TBPSCLIP) -> Features:
        """What `encode` gave, with what it was made of."""
        return Features(
            image,
            text,
            self.image_ids,
            self.text_ids,
            tuple(map(str, self.images.files)),
            tuple(self.texts.captions),
            hash_weights(model.state_dict()),
        )


@torch.inference_mode()
def encode_items(
    items: PictureDataset | TokenDataset,
    encode: Callable[[Tensor], Tensor],
    processes: Processes,
    precision: Precision,
    loading: Loading,
) -> Tensor:
    """Normalised features of all items, (N, D) on the CPU, in order; the processes share the work,
    each item once.
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
        own.append(F.normalize(features.float(), dim=-1))
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


def every_picture(told: Mapping[str, Sequence[Picture]]) -> Iterator[Picture]:
    """The pictures of each language after another."""
    return chain.from_iterable(told.values())


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
