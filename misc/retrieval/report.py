"""Results of evaluations for a paper: a markdown table, or a JSON document.

Several checkpoints, of a few seeds as a rule, become a mean and a standard deviation.
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from misc.retrieval.base import METRICS

# Of one checkpoint: dataset -> direction -> metric -> percent, as `TextRetrieval.evaluate` gives.
Evaluation = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Summary:
    """One metric over checkpoints, in percent; a single checkpoint has no deviation."""

    mean: float
    deviation: float | None  # of a sample: n - 1
    values: tuple[float, ...]

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{spread}"


def to_markdown(evaluations: Sequence[Evaluation]) -> str:
    """A table with a row for each dataset and direction.

    Args:
        evaluations: of one checkpoint or several, all on the same datasets.
    """
    lines = [
        f"| Dataset | Direction | {' | '.join(METRICS)} |",
        f"|---|---|{'---:|' * len(METRICS)}",
    ]
    for dataset, direction, row in _rows(evaluations):
        name = dataset.replace("|", "\\|")
        lines.append(f"| {name} | {direction} | {' | '.join(map(str, row.values()))} |")
    notes = [f"- {note}" for note in _notes(evaluations)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def to_json(evaluations: Sequence[Evaluation]) -> str:
    """`{"checkpoints": n, "results": {dataset: {direction: {metric: {mean, deviation, values}}}}}`,
    in percent and unrounded; `unmatched` beside the metrics is the number of queries that are left
    out of them.

    Args:
        evaluations: of one checkpoint or several, all on the same datasets.
    """
    results: dict[str, dict[str, dict[str, object]]] = {}
    for dataset, direction, row in _rows(evaluations):
        metrics: dict[str, object] = {name: asdict(summary) for name, summary in row.items()}
        metrics["unmatched"] = _unmatched(evaluations, dataset, direction)
        results.setdefault(dataset, {})[direction] = metrics
    document = {"checkpoints": len(evaluations), "results": results}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def summarise(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), deviation, tuple(values))


def _rows(evaluations: Sequence[Evaluation]) -> Iterator[tuple[str, str, dict[str, Summary]]]:
    """Dataset, direction and the summaries of their metrics, in the first evaluation's order."""
    names = [{dataset: set(results) for dataset, results in each.items()} for each in evaluations]
    if not evaluations or any(other != names[0] for other in names):
        raise ValueError("the checkpoints were not evaluated on the same datasets")
    for dataset, results in evaluations[0].items():
        for direction in results:
            found = [evaluation[dataset][direction] for evaluation in evaluations]
            row = {metric: summarise([each[metric] for each in found]) for metric in METRICS}
            yield dataset, direction, row


def _unmatched(evaluations: Sequence[Evaluation], dataset: str, direction: str) -> int:
    """A property of the dataset: the same for every checkpoint."""
    return int(evaluations[0][dataset][direction].get("unmatched", 0))


def _notes(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    if len(evaluations) > 1:
        yield f"Mean ± sample standard deviation over {len(evaluations)} checkpoints."
    for dataset, results in evaluations[0].items():
        for direction in results:
            if unmatched := _unmatched(evaluations, dataset, direction):
                yield f"{dataset}, {direction}: {unmatched} queries have no match, not counted."
