"""Composed retrieval: a picture and words are one query, and pictures are the gallery."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from misc.datasets.composed import ComposedSplit
from misc.evaluation import rank_features

Compose = Callable[[Tensor, Tensor], Tensor]  # features of pictures and of words -> of queries
Encode = Callable[[Sequence[str]], Tensor]
WEIGHTS = tuple(step / 20 for step in range(21))


@dataclass(frozen=True, kw_only=True)
class ComposedFeatures:
    """Normalised features of a split's Q queries and G pictures, on the CPU."""

    image: Tensor  # (Q, D), of the reference pictures
    text: Tensor  # (Q, D), of the words
    ids: Tensor  # (Q,), int64, the instances that are searched for
    gallery: Tensor  # (G, D)
    gallery_ids: Tensor  # (G,), int64, the instances that are shown, -1 where nobody searches them

    def evaluate(self, compose: Compose) -> dict[str, float]:
        """Metrics in percent, as of `retrieval_metrics`, of a rule for queries."""
        query = compose(self.image, self.text)
        return rank_features(query, self.gallery, self.ids, self.gallery_ids).metrics()


def encode_composed(
    split: ComposedSplit, encode_images: Encode, encode_texts: Encode
) -> ComposedFeatures:
    """The features of a split; a picture is encoded once for all queries that refer to it.

    Args:
        encode_images: files -> normalised features (N, D) on the CPU.
        encode_texts: sentences -> likewise.
    """
    rows = {path: row for row, path in enumerate(dict.fromkeys(q.path for q in split.queries))}
    references = encode_images(list(rows))
    return ComposedFeatures(
        image=references[[rows[query.path] for query in split.queries]],
        text=encode_texts([query.text for query in split.queries]),
        ids=torch.tensor([query.instance for query in split.queries]),
        gallery=encode_images([picture.path for picture in split.gallery]),
        gallery_ids=torch.tensor([picture.instance for picture in split.gallery]),
    )


def weighted_sum(image: Tensor, text: Tensor, weight: float) -> Tensor:
    """The normalised sum of features, (..., D), with the words' weight from 0 to 1."""
    return F.normalize(weight * text + (1 - weight) * image, dim=-1)


def choose_weight(features: ComposedFeatures) -> float:
    """The weight of the words whose sum has the best mAP, of `WEIGHTS`; the least of equals."""

    def score(weight: float) -> float:
        return features.evaluate(partial(weighted_sum, weight=weight))["mAP"]

    return max(WEIGHTS, key=score)
