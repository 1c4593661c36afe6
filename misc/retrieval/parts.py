"""The features of pictures that have one embedding for all queries, or two."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from misc.retrieval.composed import weighted_sum


class Parts(NamedTuple):
    """The parts of a picture's features.

    With `words`, so many values, the first ones, are an embedding to compare with sentences, and
    the rest one to compare with other pictures; each is L2-normalised. None: there is one for both.

    Args:
        width: W, values of both together.
    """

    width: int
    words: int | None = None

    def query(self, text: Tensor | None, picture: Tensor | None, weight: float) -> Tensor:
        """The features of queries, (..., W), whose products with those of pictures are the scores.

        A score is the cosine similarity. Of a query with words and a picture it is that of their
        normalised sum where there is one embedding; of two, the sum of both similarities.

        Args:
            text: (..., D) of sentences, L2-normalised; None: the query has no words.
            picture: (..., W); None: the query has no picture.
            weight: of the words in a sum, from 0 to 1.
        """
        if text is not None and picture is not None and self.words is None:
            return weighted_sum(picture, text, weight)
        parts = []
        if text is not None:
            share = 1 if picture is None else weight
            parts.append(F.pad(share * text, (0, self.width - text.shape[-1])))
        if picture is not None:
            share = 1 if text is None else 1 - weight
            others = picture[..., self.words :]
            parts.append(F.pad(share * others, (self.width - others.shape[-1], 0)))
        return torch.stack(parts).sum(dim=0)

    def normalise(self, query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
        """A query of `query` (W,) and pictures (N, W), both of length one, with the same scores.

        Of two embeddings each picture's is as long as the root of its weight in the query, so that
        pictures are compared with one another as the query is with them.
        """
        if self.words is None:
            return query, gallery
        weights = torch.cat(
            [part.norm().sqrt().expand(len(part)) for part in query.tensor_split([self.words])]
        )
        return query / weights.clamp_min(torch.finfo(weights.dtype).tiny), gallery * weights
