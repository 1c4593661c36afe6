"""Composed retrieval: a picture and words are one query, and pictures are the gallery."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from misc.datasets.composed import ComposedSplit
from misc.evaluation import rank_features
from misc.retrieval.parts import Parts

Compose = Callable[[Tensor, Tensor], Tensor]  # features of pictures and of words -> of queries
Encode = Callable[[Sequence[str]], Tensor]
WEIGHTS = tuple(step / 20 for step in range(21))


@dataclass(frozen=True, kw_only=True)
class ComposedFeatures:
    """Normalised features of a split's Q queries and G pictures, on the CPU; pictures have W values
    in these parts.
    """

    parts: Parts
    image: Tensor  # (Q, W), of the reference pictures
    text: Tensor  # (Q, D), of the words
    ids: Tensor  # (Q,), int64, the instances that are searched for
    gallery: Tensor  # (G, W)
    gallery_ids: Tensor  # (G,), int64, the instances that are shown, -1 where nobody searches them

    def evaluate(self, compose: Compose) -> dict[str, float]:
        """Metrics in percent, as of `retrieval_metrics`, of a rule for queries."""
        query = compose(self.image, self.text)
        return rank_features(query, self.gallery, self.ids, self.gallery_ids).metrics()


def encode_composed(
    split: ComposedSplit, encode_gallery: Encode, encode_texts: Encode, parts: Parts
) -> ComposedFeatures:
    """The features of a split; a picture is encoded once for all queries that refer to it.

    Args:
        encode_gallery: files -> features (N, W) on the CPU, each part of them normalised.
        encode_texts: sentences -> normalised features (N, D).
        parts: of the pictures' features.
    """
    rows = {path: row for row, path in enumerate(dict.fromkeys(q.path for q in split.queries))}
    references = encode_gallery(list(rows))
    return ComposedFeatures(
        parts=parts,
        image=references[[rows[query.path] for query in split.queries]],
        text=encode_texts([query.text for query in split.queries]),
        ids=torch.tensor([query.instance for query in split.queries]),
        gallery=encode_gallery([picture.path for picture in split.gallery]),
        gallery_ids=torch.tensor([picture.instance for picture in split.gallery]),
    )


def by_sum(parts: Parts, weight: float) -> Compose:
    """The rule of `Parts.query`: a sum, with the words' weight from 0 to 1."""
    return lambda image, text: parts.query(text, image, weight).features


def by_fusion(parts: Parts, fusion: Compose) -> Compose:
    """The rule of a fusion, which composes what sentences are compared with."""
    return lambda image, text: (
        parts.query(fusion(image[..., : parts.words], text), None, 1).features
    )


def choose_weight(features: ComposedFeatures) -> float:
    """The weight of the words whose sum has the best mAP, of `WEIGHTS`; the least of equals."""

    def score(weight: float) -> float:
        return features.evaluate(by_sum(features.parts, weight))["mAP"]

    return max(WEIGHTS, key=score)
