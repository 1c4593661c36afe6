"""The test sets of a run, encoded anew by its checkpoint: the outcome of every query."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from errors import InputError
from misc.evaluation import Ranking
from misc.job import Job
from misc.report.run import Run
from misc.retrieval.base import Encoded, Retrieval
from misc.retrieval.ranked_lists import RankedList
from misc.runtime.distributed import processes


@dataclass(frozen=True)
class Outcomes:
    """The outcome of each query of a test set, on the CPU.

    Args:
        queries: captions, or paths of pictures.
        identities: (Q,), int64.
    """

    queries: Sequence[str]
    identities: Tensor
    ranking: Ranking


@dataclass(frozen=True)
class EncodedSet:
    """An encoded test set.

    Args:
        name: of the dataset and its split.
    """

    name: str
    retrieval: Retrieval
    encoded: Encoded
    ranking: Ranking
    device: torch.device

    @property
    def outcomes(self) -> Outcomes:
        """The outcomes of its queries."""
        queries, identities = self.retrieval.queries
        ranking = Ranking(*(column.cpu() for column in vars(self.ranking).values()))
        return Outcomes([str(query) for query in queries], identities, ranking)

    def extremes(self, count: int) -> tuple[list[int], list[int]]:
        """The queries whose first right picture ranks lowest, and highest, one of each person.

        Ties go by average precision, then to the lower number.
        """
        ranking, people = self.ranking, self.retrieval.queries[1].tolist()
        rows = (ranking.matches > 0).nonzero().flatten().tolist()
        first, precision = ranking.first.tolist(), ranking.average_precision.tolist()
        ordered = sorted(rows, key=lambda row: (first[row], -precision[row]))
        best = _one_of_each(ordered, people)[:count]
        worst = _one_of_each(ordered[::-1], people)
        return [row for row in worst if row not in best][:count], best

    def lists(self, rows: Sequence[int]) -> list[RankedList]:
        """The ranked lists of some queries."""
        return self.retrieval.lists_of(self.encoded, rows, self.device)


@dataclass(frozen=True)
class Measured:
    """A run with its model, and its test sets, the dataset's own first."""

    job: Job
    tests: Sequence[EncodedSet]


@contextmanager
def measured(run: Run, device: str | None) -> Iterator[Measured]:
    """Build a run's model and encode its test sets.

    Raises:
        InputError: the weights or data that its configuration names are not there, or do not fit.
    """
    assert run.checkpoint is not None
    assert run.recipe is not None
    try:
        config = run.evaluated_config
        with processes(device, config.distributed.backend) as own:
            untracked = config.log.model_copy(update={"to": ()})
            config = config.model_copy(update={"log": untracked})
            job = Job(config, run.recipe, own, run.checkpoint, for_training=False)
            tests = []
            for name, retrieval in job.galleries().items():
                encoded = retrieval.encode(job.model, own, job.precision)
                ranking = retrieval.rank(encoded, own).ranking
                tests.append(EncodedSet(name, retrieval, encoded, ranking, own.device))
            yield Measured(job, tests)
    except InputError as error:
        raise InputError(
            f"{run.folder}: {error}; if data or weights lie elsewhere now, give their place as "
            "section.key=value, or give --record-only"
        ) from error


def _one_of_each(rows: Sequence[int], people: Sequence[int]) -> list[int]:
    """The first row of each person, in order."""
    first: dict[int, int] = {}
    for row in rows:
        first.setdefault(people[row], row)
    return list(first.values())
