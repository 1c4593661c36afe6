"""Text-to-person retrieval: a split's pictures and their captions, each looking for the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from misc.data.text import PictureDataset, TokenDataset
from misc.datasets.text_annotations import TextPicture
from misc.evaluation import Ranking, choose_queries, rank_features, retrieval_metrics
from misc.retrieval.base import (
    Encoded,
    Loading,
    Ranked,
    Rerank,
    Results,
    Retrieval,
    encode_items,
    mean,
)
from misc.retrieval.features import Features
from misc.retrieval.ranked_lists import RankedList, ranked_lists
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, generator
from model.tbps_clip import TBPSCLIP
from model.weights.hash import hash_weights
from text_utils.tokenizer import Tokenizer


class TextRetrieval(Retrieval):
    """One split of a dataset, ready to be searched with any model.

    Args:
        told: the gallery, by the language of its captions; these are the queries.
        text_length: tokens of a caption at most.
    """

    def __init__(
        self,
        told: Mapping[str, Sequence[TextPicture]],
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

    def encode(self, model: TBPSCLIP, processes: Processes, precision: Precision) -> Encoded:
        """Normalised features of the pictures (N, D) and the captions (M, D), on the CPU; those of
        one language after those of another.
        """
        model.eval()
        image = encode_items(self.images, model.encode_image, processes, precision, self.loading)
        text = encode_items(self.texts, model.encode_text, processes, precision, self.loading)
        return F.normalize(image, dim=-1), F.normalize(text, dim=-1)

    def rank(self, encoded: Encoded, processes: Processes, rerank: Rerank | None = None) -> Ranked:
        """Of several languages, the mean over them and then each."""
        image, text = encoded
        results: Results = {}
        ranking = None
        if processes.is_main:
            counts = list(self.languages.values())
            parts = zip(text.split(counts), self.text_ids.split(counts), strict=True)
            ranked = [self._rank(image, *part, processes.device, rerank) for part in parts]
            ranking, each = ranked[0].ranking, [part.results for part in ranked]
            results = {direction: mean([r[direction] for r in each]) for direction in each[0]}
            if len(each) > 1:
                for language, found in zip(self.languages, each, strict=True):
                    results |= {f"{direction}, {language}": row for direction, row in found.items()}
        return Ranked(processes.share(results), ranking)

    def _rank(
        self,
        image: Tensor,
        text: Tensor,
        text_ids: Tensor,
        device: torch.device,
        rerank: Rerank | None,
    ) -> Ranked:
        images = image.to(device), self.image_ids.to(device)
        texts = text.to(device), text_ids.to(device)
        results: Results = {}
        rankings = []
        for direction, query, gallery in (
            ("text to image", texts, images),
            ("image to text", images, texts),
        ):
            ranking = rank_features(
                query[0], gallery[0], query[1], gallery[1], chunk=self.loading.chunk
            )
            rankings.append(ranking)
            results[direction] = ranking.metrics()
            if rerank:
                similarity = rerank(query[0], gallery[0]).neg_()
                metrics = retrieval_metrics(similarity, query[1], gallery[1])
                results[f"{direction}, re-ranked"] = metrics
        return Ranked(results, rankings[0])

    def ranked_lists(
        self, encoded: Encoded, ranking: Ranking, device: torch.device, count: int, seed: int
    ) -> dict[str, list[RankedList]]:
        """Of captions, in the first language, among the pictures."""
        image, text = (features.to(device) for features in encoded)
        ids = self.text_ids.to(device), self.image_ids.to(device)
        chosen = choose_queries(ranking, count, generator(seed, Purpose.QUERIES))
        return {
            group: ranked_lists(
                text[rows],
                image,
                ids[0][rows],
                ids[1],
                [self.texts.captions[row] for row in rows],
                self.images.files,
            )
            for group, rows in zip(("sample", "worst"), chosen, strict=True)
        }

    def features(self, encoded: Encoded, model: TBPSCLIP) -> Features:
        image, text = encoded
        return Features(
            image,
            text,
            self.image_ids,
            self.text_ids,
            tuple(map(str, self.images.files)),
            tuple(self.texts.captions),
            hash_weights(model.state_dict()),
        )


def every_picture(told: Mapping[str, Sequence[TextPicture]]) -> Iterator[TextPicture]:
    """The pictures of each language after another."""
    return chain.from_iterable(told.values())
