"""Calibration of a search: the similarity from which on its best hit may be believed.

A search always has a best hit, whether or not the person is in the gallery. The best hits of
searches for people whose pictures were taken out say how similar a stranger can be.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from errors import InputError
from misc.runtime.atomic import atomic_write
from model.trees import Tree

MAX_PAIRS = 2**24  # similarities held at once
DECIMALS = 6  # of similarities and thresholds
STEP = 10.0**-DECIMALS
MAX_SCORES = 1000  # kept of a sample
FEWEST = 10  # scores above a threshold that is read from the sample without a model
CEILING = 1 - 2e-4  # of thresholds: a picture finds itself, also in float16, which rounds by 1.2e-4


@dataclass(frozen=True)
class BestHits:
    """Similarities of the best hits of Q queries, (Q,) each; -inf where there is none."""

    present: Tensor  # in the whole gallery, for queries whose person is in it
    right: Tensor  # bool: that best hit shows the query's person
    absent: Tensor  # among the pictures of other people


def best_hits(
    query: Tensor,
    gallery: Tensor,
    query_ids: Tensor,
    gallery_ids: Tensor,
    left_out: Tensor | None = None,
    *,
    offset: float = 0.0,
    max_pairs: int = MAX_PAIRS,
) -> BestHits:
    """The best hit of each query with its person in the gallery, and with the person taken out.

    A best hit that is as similar as a stranger's picture counts as wrong.

    Args:
        query, gallery: (Q, D) and (G, D), whose products are the similarities.
        query_ids: (Q,), int64.
        gallery_ids: (G,), int64.
        left_out: (Q,), int64, the row of the gallery that a query does not search: its own picture.
        offset: added to every similarity.
        max_pairs: similarities held at once.

    Raises:
        ValueError: a similarity is not a number.
        InputError: the gallery shows a single person.
    """
    if len(gallery_ids.unique()) < 2:
        raise InputError(
            "the pictures show fewer than two people, and a calibration compares each with the "
            "others; give pictures of more people"
        )
    blocks = []
    rows_at_once = max(1, max_pairs // len(gallery))
    for rows in torch.arange(len(query), device=query.device).split(rows_at_once):
        similarity = query[rows] @ gallery.T + offset  # (q, G)
        if similarity.isnan().any():
            raise ValueError("a similarity is NaN: the features contain NaN")
        if left_out is not None:
            similarity.scatter_(1, left_out[rows, None], -torch.inf)
        is_own = query_ids[rows, None] == gallery_ids
        own = similarity.masked_fill(~is_own, -torch.inf).amax(dim=1)
        absent = similarity.masked_fill(is_own, -torch.inf).amax(dim=1)
        present = own.maximum(absent).masked_fill(own == -torch.inf, -torch.inf)
        blocks.append((present, own > absent, absent))
    return BestHits(*(torch.cat(column) for column in zip(*blocks, strict=True)))


@dataclass(frozen=True)
class Scores:
    """Similarities of a sample, the highest first, cut to `DECIMALS`.

    Of more than `MAX_SCORES` those of some ranks are kept, which lie further apart towards the
    middle: the fifty or so at either end are all there, and a rank further in is known to two
    percent.

    Args:
        count: size of the sample.
        values: at `kept_ranks(count)`.
    """

    count: int
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(kept_ranks(self.count)):
            raise ValueError(f"{len(self.values)} scores do not describe a sample of {self.count}")
        if not all(map(math.isfinite, self.values)) or [*self.values] != sorted(
            self.values, reverse=True
        ):
            raise ValueError("the scores do not descend")

    @classmethod
    def of(cls, sample: Tensor) -> "Scores":
        """The scores of a sample (N,), in any order."""
        ordered = sample.double().cpu().sort(descending=True).values.numpy()
        kept = ordered[np.array(kept_ranks(len(ordered)), dtype=int) - 1]
        steps = np.floor(kept / STEP).tolist()
        return cls(len(ordered), tuple(round(step * STEP, DECIMALS) for step in steps))

    def reaching(self, threshold: float) -> int:
        """The number of scores that are at least as high."""
        found = sum(value >= threshold for value in self.values)
        return kept_ranks(self.count)[found - 1] if found else 0

    def tail(self) -> float:
        """The mean of ln((1 - t) / (1 - s)) over the highest fifth s of the scores, t the next one.

        Hill's estimator (1975), of the distances 1 - s that are left to the greatest cosine.
        """
        ranks = kept_ranks(self.count)
        number = bisect_right(ranks, min(max(FEWEST, self.count // 5), self.count - 1))
        if not number:
            return 0.0
        distances = np.maximum(1 - np.array(self.values), STEP)
        lengths = np.log(distances[number] / distances[:number])
        return float(np.average(lengths, weights=np.diff([0, *ranks[:number]])))

    def above_all_but(self, count: int) -> float:
        """The smallest threshold that at most `count` scores reach, in steps of `STEP`.

        It is higher than a score that it excludes, so of tied scores all or none reach it.
        """
        index = bisect_right(kept_ranks(self.count), count + 1) - 1
        return round(self.values[index] + STEP, DECIMALS)


def kept_ranks(count: int) -> list[int]:
    """The ranks, from 1, of the scores that are kept of a sample."""
    if count <= MAX_SCORES:
        return list(range(1, count + 1))
    half = np.rint(np.geomspace(1, (count + 1) / 2, MAX_SCORES // 2)).astype(int)
    return sorted({*half.tolist(), *(count + 1 - half).tolist()})


@dataclass(frozen=True)
class QueryCalibration:
    """Best hits of one kind of query, with the person in the gallery and without.

    Args:
        gallery_size: pictures that were searched.
        searches: queries whose person is in the gallery.
        absent: best hits of all queries among strangers.
        right: best hits that show the query's person.
    """

    gallery_size: int
    searches: int
    absent: Scores
    right: Scores

    def __post_init__(self) -> None:
        if self.gallery_size < 1 or not self.absent.count:
            raise ValueError("a calibration has pictures and queries")
        if self.right.count > self.searches:
            raise ValueError("more right answers than searches")

    @classmethod
    def of(cls, hits: BestHits, gallery_size: int) -> "QueryCalibration":
        """The calibration from the best hits of at least one query."""
        return cls(
            gallery_size,
            int((hits.present > -torch.inf).sum()),
            Scores.of(hits.absent),
            Scores.of(hits.present[hits.right]),
        )

    def threshold(self, false_alarms: float, gallery_size: int | None = None) -> float:
        """The smallest similarity that at most this share of the best hits among strangers reaches.

        A share finer than one query leaves none: the threshold lies above all of them then, and
        `is_too_fine` says that they were too few to know better.

        The best of a gallery k times as large is the best of k such galleries. Where their pictures
        are independent, it stays below a threshold if all k do, so each may reach it with
        probability 1 - (1 - false_alarms)^(1/k). Where that is finer than the `FEWEST` highest of
        the sample, the distance 1 - s that is left to the greatest cosine shrinks as a power of the
        share (Weissman 1978), which is an exponential tail of -ln(1 - s), and of s a generalised
        Pareto one with its end at 1 (Pickands 1975). Where features have a density, the power
        follows from their local dimension (Levina and Bickel 2004). Where people are alike in
        groups, that is too careful: the threshold is then higher than necessary.

        No threshold is above `CEILING`, even where more strangers than allowed are as similar as
        that: a picture always matches itself.

        Args:
            false_alarms: between 0 and 1.
            gallery_size: pictures that are searched; None: as many as in the calibration.
        """
        assert 0 < false_alarms < 1, "a share lies between 0 and 1"
        growth = (gallery_size or self.gallery_size) / self.gallery_size
        share = -math.expm1(math.log1p(-false_alarms) / growth)
        known = max(share, min(false_alarms, FEWEST / self.absent.count))
        # The small addition: 0.29 * 100 is a little less than 29.
        threshold = self.absent.above_all_but(math.floor(known * self.absent.count + 1e-9))
        distance = (1 - threshold) * (share / known) ** self.absent.tail()
        return min(round(1 - distance, DECIMALS), CEILING)

    def is_too_fine(self, false_alarms: float) -> bool:
        """Whether there are too few queries for such a share."""
        return false_alarms * self.absent.count < 1

    def false_alarms(self, threshold: float) -> float:
        """The share of the best hits among strangers that reaches a threshold."""
        return self.absent.reaching(threshold) / self.absent.count

    def kept(self, threshold: float = -math.inf) -> float:
        """The share of all searches whose best hit is right and reaches a threshold."""
        return self.right.reaching(threshold) / max(1, self.searches)


@dataclass(frozen=True)
class Calibration:
    """The calibration of a model, by kind of query.

    Args:
        model_hash: `encoder_hash` of the model.
        kinds: `words`, `picture` and `both`, as far as the pictures allow.
    """

    model_hash: str
    kinds: Mapping[str, QueryCalibration]

    def updated(self, newer: "Calibration") -> "Calibration":
        """Both calibrations; of a kind of query that is in both, the newer one.

        Raises:
            ValueError: they are of different models.
        """
        if newer.model_hash != self.model_hash:
            raise ValueError("calibrations of different models cannot be joined")
        return Calibration(self.model_hash, {**self.kinds, **newer.kinds})

    def to_tree(self) -> Tree:
        """Plain types, for `from_tree`."""
        kinds = {
            name: {
                "gallery_size": kind.gallery_size,
                "searches": kind.searches,
                "absent": {"count": kind.absent.count, "scores": [*kind.absent.values]},
                "right": {"count": kind.right.count, "scores": [*kind.right.values]},
            }
            for name, kind in self.kinds.items()
        }
        return {"model_hash": self.model_hash, "kinds": kinds}

    @classmethod
    def from_tree(cls, tree: Tree) -> "Calibration":
        """The inverse of `to_tree`.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is not of `to_tree`.
        """
        kinds = {
            str(name): QueryCalibration(
                gallery_size=int(kind["gallery_size"]),
                searches=int(kind["searches"]),
                absent=_read_scores(kind["absent"]),
                right=_read_scores(kind["right"]),
            )
            for name, kind in tree["kinds"].items()
        }
        return cls(str(tree["model_hash"]), kinds)

    def save(self, file: Path) -> None:
        """Write a JSON file that `load` reads, atomically.

        Raises:
            InputError: it cannot be written.
        """
        try:
            with atomic_write(file) as partial:
                partial.write_text(json.dumps(self.to_tree()) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {file} ({error}); choose another folder") from error

    @classmethod
    def load(cls, file: Path, model_hash: str | None = None) -> "Calibration":
        """Read a file that `save` wrote.

        Args:
            model_hash: that of the model that must have been calibrated; None: any model.

        Raises:
            InputError: the file does not exist, is damaged, or is of another model.
        """
        if not file.is_file():
            raise InputError(f"{file} does not exist; write it with `search.py calibrate`")
        try:
            calibration = cls.from_tree(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{file} is not a calibration or is damaged; write it again with `search.py "
                "calibrate`"
            ) from error
        if model_hash is not None and calibration.model_hash != model_hash:
            raise InputError(
                f"{file} is the calibration of another checkpoint; write one for this one with "
                "`search.py calibrate`"
            )
        return calibration


def _read_scores(tree: Tree) -> Scores:
    return Scores(int(tree["count"]), tuple(map(float, tree["scores"])))
