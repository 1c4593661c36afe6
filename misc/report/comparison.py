"""Differences between runs on the same queries, with intervals of a paired bootstrap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from misc.report.markup import paragraph, table
from misc.report.measured import Outcomes

RESAMPLES = 10_000
COVERED = 0.95
METRICS = ("R1", "mAP")
MEANING = (
    "Differences are in percentage points. "
    "In brackets is where the difference lay in 95 % of 10,000 resamplings of the test people, "
    "each with all their queries (paired bootstrap): if that excludes 0 (*), the difference is not "
    "due to who is in the test set; other training seeds may still change it. "
    "Where a test set has several languages, or draws several galleries, the first one is compared."
)


@dataclass(frozen=True)
class Difference:
    """The difference of a metric between two groups of runs, in percentage points.

    Args:
        low, high: the interval's ends.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        star = " *" if self.excludes_zero else ""
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]{star}"

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(differences: Tensor, identities: Tensor, seed: int = 0) -> Difference:
    """The mean of paired differences, and the percentiles of it over resampled people.

    People are drawn with replacement, as many as there are, each with all of their queries: the
    captions of one person are not independent (cluster bootstrap, Field & Welsh 2007).

    Args:
        differences: (Q,), of each query, in percentage points.
        identities: (Q,), int64, the people.
    """
    _, people = identities.unique(return_inverse=True)
    count = int(people.max()) + 1
    sums = torch.zeros(count, dtype=torch.double).index_add_(0, people, differences.double())
    sizes = torch.bincount(people, minlength=count).double()
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    weights = torch.from_numpy(draws).double()  # (RESAMPLES, people)
    means = (weights @ sums) / (weights @ sizes)
    ends = torch.tensor([(1 - COVERED) / 2, (1 + COVERED) / 2], dtype=torch.double)
    low, high = means.quantile(ends).tolist()
    return Difference(differences.double().mean().item(), low, high)


def query_scores(outcomes: Sequence[Outcomes], metric: str) -> Tensor:
    """A metric of each query that has a match, in percent, the mean over runs: (Q',)."""
    rows = []
    for one in outcomes:
        ranking = one.ranking
        score = (ranking.first == 1).double() if metric == "R1" else ranking.average_precision
        rows.append(100 * score[ranking.matches > 0])
    return torch.stack(rows).mean(dim=0)


def compare(first: Sequence[Outcomes], second: Sequence[Outcomes], metric: str) -> Difference:
    """The gain of the second group of runs over the first, on the same queries."""
    gain = query_scores(second, metric) - query_scores(first, metric)
    return paired_bootstrap(gain, first[0].identities[first[0].ranking.matches > 0])


def draw_significance(groups: Mapping[str, Sequence[Mapping[str, Outcomes]]]) -> str:
    """Each group of runs against the first one, on the test sets that they share.

    Args:
        groups: the outcomes of each run of a group, by test set.
    """
    (name, first), *others = groups.items()
    rows = []
    for other, second in others:
        for test in first[0]:
            before, after = ([run[test] for run in own if test in run] for own in (first, second))
            if not (before and after and _same_queries([*before, *after])):
                continue
            rows.append((other, test, *(str(compare(before, after, name)) for name in METRICS)))
    if not rows:
        return paragraph("The runs share no queries, so they are not compared query by query.")
    titles = (f"Against {name}", "Test set", *METRICS)
    return table(titles, rows, words=2) + paragraph(MEANING)


def _same_queries(outcomes: Sequence[Outcomes]) -> bool:
    first = outcomes[0]
    return all(
        list(one.queries) == list(first.queries)
        and torch.equal(one.identities, first.identities)
        and torch.equal(one.ranking.matches > 0, first.ranking.matches > 0)
        for one in outcomes
    )
