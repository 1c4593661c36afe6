"""Text-to-person retrieval on one split: encode its pictures and captions, rank, report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from prettytable import PrettyTable
from torch import Tensor
from tqdm import tqdm

from errors import InputError
from misc.data import PictureDataset, TokenDataset, evaluation_loader
from misc.datasets.annotations import Picture
from misc.distributed import Processes
from misc.evaluation import rank_features
from misc.features import Features, hash_weights
from misc.precision import Precision
from misc.transforms import EvaluationTransform
from model.tbps_clip import TBPSCLIP
from text_utils.tokenizer import ClipTokenizer

METRICS = ("R1", "R5", "R10", "mAP", "mINP")
Results = dict[str, dict[str, float]]  # direction -> metric -> percent


@dataclass(frozen=True)
class Loading:
    """How a split is read and encoded."""

    batch_size: int
    num_workers: int
    chunk: int  # queries ranked at once


class TextRetrieval:
    """One split of a dataset, ready to be searched with any model.

    Args:
        pictures: the gallery; all their captions are the queries.
        text_length: tokens of a caption at most.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        transform: EvaluationTransform,
        tokenizer: ClipTokenizer,
        text_length: int,
        loading: Loading,
    ) -> None:
        self.images = PictureDataset([Path(p.path) for p in pictures], transform)
        captions = [caption for p in pictures for caption in p.captions]
        self.texts = TokenDataset(captions, tokenizer, text_length)
        self.image_ids = torch.tensor([p.identity for p in pictures])
        self.text_ids = torch.tensor([p.identity for p in pictures for _ in p.captions])
        self.loading = loading

    def evaluate(self, model: TBPSCLIP, processes: Processes, precision: Precision) -> Results:
        """Metrics of both directions, the same in every process.

        The model is left in evaluation mode.
        """
        return self.rank(*self.encode(model, processes, precision), processes)

    def encode(
        self, model: TBPSCLIP, processes: Processes, precision: Precision
    ) -> tuple[Tensor, Tensor]:
        """Normalised features of the pictures (N, D) and the captions (M, D), on the CPU."""
        model.eval()
        image = encode_items(self.images, model.encode_image, processes, precision, self.loading)
        text = encode_items(self.texts, model.encode_text, processes, precision, self.loading)
        return image, text

    def rank(self, image: Tensor, text: Tensor, processes: Processes) -> Results:
        """Metrics of both directions, the same in every process."""
        results: Results = {}
        if processes.is_main:
            device, chunk = processes.device, self.loading.chunk
            images = image.to(device), self.image_ids.to(device)
            texts = text.to(device), self.text_ids.to(device)
            for direction, query, gallery in (
                ("text to image", texts, images),
                ("image to text", images, texts),
            ):
                ranking = rank_features(query[0], gallery[0], query[1], gallery[1], chunk=chunk)
                results[direction] = ranking.metrics()
        return processes.share(results)

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
