"""The features of pictures that have one embedding for all queries, or two."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_sum(image: Tensor, text: Tensor, weight: float) -> Tensor:
    """The normalised sum of features, (..., D), with the words' weight from 0 to 1."""
    return F.normalize(weight * text + (1 - weight) * image, dim=-1)


class Asked(NamedTuple):
    """Queries: a score is the product of their features, (..., W), with a picture's, and `offset`
    more.
    """

    features: Tensor
    offset: float = 0.0


@dataclass(frozen=True)
class Parts:
    """The parts of a picture's features.

    With `words`, so many values, the first ones, are an embedding to compare with sentences, and
    the rest one to compare with other pictures; each is L2-normalised. None: there is one for both.

    Args:
        width: W, values of both together.
        spread: 1 - the mean cosine similarity of two strangers in the second embedding. Features
            of re-identification may be nearly the same for all pictures; divided by it, their
            distances are as large as those of the first.
    """

    width: int
    words: int | None = None
    spread: float = 1.0

    def query(self, text: Tensor | None, picture: Tensor | None, weight: float) -> Asked:
        """Queries by words, a picture, or both.

        With one embedding a score is the cosine similarity; with words and a picture it is that of
        their normalised sum. With two it is the cosine similarity for words, 1 - (1 - cosine
        similarity) / `spread` for a picture, and the weighted sum of these for both.

        Args:
            text: (..., D) of sentences, L2-normalised; None: the query has no words.
            picture: (..., W); None: the query has no picture.
            weight: of the words in a sum, from 0 to 1.
        """
        if self.words is None:
            if text is not None and picture is not None:
                return Asked(weighted_sum(picture, text, weight))
            given = picture if text is None else text
            assert given is not None
            return Asked(given)
        if text is None or picture is None:
            weight = 0.0 if text is None else 1.0
        parts, share = [], (1 - weight) / self.spread
        if text is not None:
            parts.append(F.pad(weight * text, (0, self.width - self.words)))
        if picture is not None:
            parts.append(F.pad(share * picture[..., self.words :], (self.words, 0)))
        return Asked(torch.stack(parts).sum(dim=0), offset=1 - weight - share)

    def comparable(self, query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
        """The features of a query, (W,), and of pictures, (N, W), in such lengths that a squared
        distance is twice what a score lacks of 1, among the pictures, too.
        """
        if self.words is None:
            return query, gallery
        parts = query.tensor_split([self.words])
        weights = torch.cat([part.norm().sqrt().expand(len(part)) for part in parts])
        least = torch.finfo(weights.dtype).tiny  # a query has zeros where it does not ask
        return query / weights.clamp_min(least), gallery * weights
