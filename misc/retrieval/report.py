"""Results of evaluations for a paper: a markdown table, or a JSON document.

Checkpoints that differ in their seed alone become a mean and a standard deviation; others are
given names, and their results are set side by side.
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from misc.retrieval.base import METRICS

# Of one checkpoint: dataset -> direction -> metric -> percent.
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


def to_markdown(evaluations: Sequence[Evaluation], names: Sequence[str] | None = None) -> str:
    """A table with a row for each dataset and direction, or for each of these and each name.

    Args:
        evaluations: of one checkpoint or several, all on the same datasets.
        names: one for each evaluation, to compare them; None: their mean and deviation.

    Raises:
        ValueError: the datasets differ, or the names are not one for each evaluation.
    """
    _check(evaluations, names)
    titles = ["Dataset", "Direction", *(["Checkpoint"] if names else [])]
    lines = [
        f"| {' | '.join([*titles, *METRICS])} |",
        f"|{'---|' * len(titles)}{'---:|' * len(METRICS)}",
    ]
    for dataset, direction in _tables(evaluations):
        found = [evaluation[dataset][direction] for evaluation in evaluations]
        rows = list(zip(names, ([row] for row in found), strict=True)) if names else [("", found)]
        for name, averaged in rows:
            labels = [dataset, direction, *([name] if names else [])]
            cells = [*map(_escape, labels), *map(str, _summaries(averaged).values())]
            lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- {note}" for note in _notes(evaluations, averaged=names is None)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def to_json(
    evaluations: Sequence[Evaluation],
    names: Sequence[str] | None = None,
    recipe: str | None = None,
) -> str:
    """A JSON document of the results, in percent and unrounded.

    Without names it is `{"checkpoints": n, "results": {dataset: {direction: {metric: {mean,
    deviation, values}}}}}`, with names `{"checkpoints": n, "results": {dataset: {direction: {name:
    {metric: value}}}}}`. Beside the metrics, `unmatched` is the number of queries excluded from
    them. With a recipe, `"recipe"` is its name.

    Args:
        evaluations: of one checkpoint or several, all on the same datasets.
        names: one for each evaluation, to compare them; None: their mean and deviation.
        recipe: of the training that ends with the evaluation; None: nothing was trained.

    Raises:
        ValueError: the datasets differ, or the names are not one for each evaluation.
    """
    _check(evaluations, names)
    results: dict[str, dict[str, dict[str, object]]] = {}
    for dataset, direction in _tables(evaluations):
        found = [evaluation[dataset][direction] for evaluation in evaluations]
        content: dict[str, object]
        if names:
            content = {name: dict(row) for name, row in zip(names, found, strict=True)}
        else:
            content = {name: asdict(summary) for name, summary in _summaries(found).items()}
            content["unmatched"] = _unmatched(evaluations, dataset, direction)
        results.setdefault(dataset, {})[direction] = content
    trained = {} if recipe is None else {"recipe": recipe}
    document = {"checkpoints": len(evaluations), **trained, "results": results}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def summarise(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), deviation, tuple(values))


def _check(evaluations: Sequence[Evaluation], names: Sequence[str] | None) -> None:
    tables = [{dataset: set(results) for dataset, results in each.items()} for each in evaluations]
    if not evaluations or any(other != tables[0] for other in tables):
        raise ValueError("the checkpoints were not evaluated on the same datasets")
    if names is not None and not len(evaluations) == len(names) == len({*names}):
        raise ValueError(f"{len(evaluations)} evaluations need as many different names: {names}")


def _tables(evaluations: Sequence[Evaluation]) -> Iterator[tuple[str, str]]:
    """Datasets and directions, in the order of the first evaluation."""
    for dataset, results in evaluations[0].items():
        for direction in results:
            yield dataset, direction


def _summaries(rows: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    return {metric: summarise([row[metric] for row in rows]) for metric in METRICS}


def _unmatched(evaluations: Sequence[Evaluation], dataset: str, direction: str) -> int:
    """A property of the dataset: the same for every checkpoint."""
    return int(evaluations[0][dataset][direction].get("unmatched", 0))


def _notes(evaluations: Sequence[Evaluation], averaged: bool) -> Iterator[str]:
    if averaged and len(evaluations) > 1:
        yield f"Mean ± sample standard deviation over {len(evaluations)} checkpoints."
    for dataset, direction in _tables(evaluations):
        if unmatched := _unmatched(evaluations, dataset, direction):
            yield f"{dataset}, {direction}: {unmatched} queries have no match and are excluded."


def _escape(cell: str) -> str:
    """A cell whose text cannot end it."""
    return cell.replace("|", "\\|")
