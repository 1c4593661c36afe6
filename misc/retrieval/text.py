"""Text-to-image retrieval: pictures and captions of a split, each the other's queries."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from misc.data.text import MOST_COUNTED, PictureDataset, TokenDataset
from misc.datasets.text_annotations import TextPicture
from misc.retrieval.base import (
    Encoded,
    Loading,
    Ranked,
    Rerank,
    Results,
    Retrieval,
    encode_items,
    mean,
    reranked_metrics,
)
from misc.retrieval.features import Features
from misc.retrieval.ranked_lists import RankedList, ranked_lists
from misc.retrieval.shared_ranking import rank_together
from misc.retrieval.similarities import Similarities, count_similarities
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from model.tbps_clip import TBPSCLIP
from text_utils.tokenizer import Tokenizer

DIRECTION = "text to image"  # the first


class TextRetrieval(Retrieval[TBPSCLIP]):
    """The pictures and captions of a split.

    Args:
        pictures_by_language: the same pictures with their captions in each language.
        text_length: the most tokens of a caption.
        clean: pass captions through `clean_caption` first.
        embeddings: widths of the embeddings of which a feature is joined, by name, in order; of
            several each has rows of its own. Empty: there is one.
    """

    query_kind = "words"

    def __init__(
        self,
        pictures_by_language: Mapping[str, Sequence[TextPicture]],
        transform: Callable[[Image.Image], Tensor],
        tokenizer: Tokenizer,
        *,
        text_length: int,
        loading: Loading,
        clean: bool = True,
        embeddings: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        pictures = next(iter(pictures_by_language.values()))
        described = list(chain.from_iterable(pictures_by_language.values()))
        self.images = PictureDataset([Path(p.path) for p in pictures], transform)
        self.image_ids = torch.tensor([p.identity for p in pictures])
        captions = [caption for p in described for caption in p.captions]
        self.texts = TokenDataset(captions, tokenizer, text_length, clean)
        self.text_ids = torch.tensor([p.identity for p in described for _ in p.captions])
        self.num_captions = {
            language: sum(len(p.captions) for p in pictures)
            for language, pictures in pictures_by_language.items()
        }
        self.languages = tuple(self.num_captions)
        self.loading, self.embeddings = loading, embeddings
        self.is_counted = False  # the captions that are cut

    def encode(self, model: TBPSCLIP, processes: Processes, precision: Precision) -> Encoded:
        """Normalised features of the pictures (N, D) and of the captions (M, D), the languages one
        after another, on the CPU.
        """
        model.eval()
        if processes.is_main and not self.is_counted:
            self.is_counted = True
            self.texts.log_cut("captions to evaluate", MOST_COUNTED)
        encode = partial(
            encode_items, processes=processes, precision=precision, loading=self.loading
        )
        image = encode(self.images, model.encode_image)
        text = encode(self.texts, model.encode_text)
        return F.normalize(image, dim=-1), F.normalize(text, dim=-1)

    def rank(self, encoded: Encoded, processes: Processes, rerank: Rerank | None = None) -> Ranked:
        """Metrics of every direction, then of each embedding alone; of several languages their
        mean, then each of them.
        """
        ranked = self._rank_languages(encoded, processes, rerank)
        widths = list(self.embeddings.values())
        parts = zip(*(features.split(widths, dim=1) for features in encoded if widths), strict=True)
        for name, part in zip(self.embeddings, parts, strict=True):
            alone = tuple(F.normalize(features, dim=-1) for features in part)
            results = self._rank_languages(alone, processes).results
            ranked.results.update({f"{key}, {name} alone": row for key, row in results.items()})
        return ranked

    def _rank_languages(
        self, encoded: Encoded, processes: Processes, rerank: Rerank | None = None
    ) -> Ranked:
        image, text = (features.to(processes.device) for features in encoded)
        counts = list(self.num_captions.values())
        parts = zip(text.split(counts), self.text_ids.split(counts), strict=True)
        ranked = [self._rank(image, *part, processes, rerank) for part in parts]
        each = [part.results for part in ranked]
        results = {direction: mean([r[direction] for r in each]) for direction in each[0]}
        if len(each) > 1:
            for language, found in zip(self.num_captions, each, strict=True):
                results |= {f"{direction}, {language}": row for direction, row in found.items()}
        rankings = {d: [part.rankings[d][0] for part in ranked] for d in ranked[0].rankings}
        return Ranked(results, rankings)

    def _rank(
        self,
        image: Tensor,
        text: Tensor,
        text_ids: Tensor,
        processes: Processes,
        rerank: Rerank | None,
    ) -> Ranked:
        images = image, self.image_ids.to(image.device)
        texts = text, text_ids.to(text.device)
        results: Results = {}
        rankings = {}
        for direction, (query, query_ids), (gallery, gallery_ids) in (
            (DIRECTION, texts, images),
            ("image to text", images, texts),
        ):
            args = query, gallery, query_ids, gallery_ids
            ranking = rank_together(*args, chunk=self.loading.chunk, processes=processes)
            rankings[direction] = [ranking]
            results[direction] = ranking.metrics()
            if rerank:
                metrics = reranked_metrics(rerank, *args, processes=processes)
                results[f"{direction}, re-ranked"] = metrics
        return Ranked(results, rankings)

    def similarities(self, encoded: Encoded, device: torch.device) -> Similarities:
        """Similarities of the captions in all languages to the pictures."""
        image, text = (features.to(device) for features in encoded)
        return count_similarities(text, image, self.text_ids.to(device), self.image_ids.to(device))

    @property
    def queries(self) -> tuple[list[str], Tensor]:
        """The captions in the first language."""
        count = next(iter(self.num_captions.values()))
        return self.texts.captions[:count], self.text_ids[:count]

    def lists_of(
        self, encoded: Encoded, rows: Sequence[int], device: torch.device
    ) -> list[RankedList]:
        image, text = encoded
        return ranked_lists(
            text[rows].to(device),
            image.to(device),
            query_ids=self.text_ids[rows].to(device),
            gallery_ids=self.image_ids.to(device),
            queries=[self.texts.captions[row] for row in rows],
            paths=self.images.files,
        )

    def features(self, encoded: Encoded, model: TBPSCLIP) -> Features:
        image, text = encoded
        return Features(
            image=image,
            text=text,
            image_ids=self.image_ids,
            text_ids=self.text_ids,
            image_paths=tuple(map(str, self.images.files)),
            captions=tuple(self.texts.captions),
            model_hash=model.encoder_hash(),
        )
