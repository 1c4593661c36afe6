"""The results of a sweep: a table of its trials, and the best settings as a recipe."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from misc.retrieval.report import Summary, summarise, to_markdown
from misc.runtime.atomic import atomic_write
from misc.settings.yaml12 import write_yaml
from misc.sweep.plan import Plan
from misc.sweep.progress import Metric
from misc.sweep.run import Run
from misc.sweep.space import Settings, nest
from model.trees import Tree

BEST = "best.yaml"
STATES = {TrialState.COMPLETE: "ended", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Row:
    """A trial that has ended.

    Args:
        state: `ended`, `pruned` or `failed`.
        summary: its metric over the seeds, if it has ended.
        note: after which epoch it was pruned, or why it has failed.
        runs: one for each seed.
    """

    number: int
    state: str
    settings: Settings
    summary: Summary | None
    note: str
    runs: Sequence[Run]

    @classmethod
    def of(cls, trial: FrozenTrial, runs: Sequence[Run]) -> "Row":
        """The row of a trial of a study."""
        attributes, state = trial.user_attrs, STATES[trial.state]
        summary, note = None, attributes.get("reason", "")
        if state == "ended":
            summary = summarise(attributes["values"])
        elif (epoch := trial.last_step) is not None and state == "pruned":
            note = f"after epoch {epoch}, at {trial.intermediate_values[epoch]:.2f}"
        return cls(trial.number, state, attributes["settings"], summary, note, runs)

    def __str__(self) -> str:
        settings = " ".join(f"{key}={_short(value)}" for key, value in self.settings.items())
        outcome = str(self.summary) if self.summary else f"{self.state} {self.note}".rstrip()
        return f"trial {self.number}: {settings}{': ' if settings else ''}{outcome}"


def sort_rows(rows: Sequence[Row], metric: Metric) -> list[Row]:
    """The trials that have ended, best first, then those that were pruned or failed."""
    sign = -1 if metric.direction == "maximize" else 1
    ended = [row for row in rows if row.summary]
    others = [row for row in rows if not row.summary]
    return [
        *sorted(ended, key=lambda row: sign * row.summary.mean if row.summary else 0),
        *sorted(others, key=lambda row: row.state != "pruned"),
    ]


def write_tables(plan: Plan, metric: Metric, rows: Sequence[Row], note: str = "") -> str:
    """Write sweep.md, sweep.json and, once a trial has ended, best.yaml; returns the first.

    Args:
        note: a sentence that closes the table.
    """
    rows = sort_rows(rows, metric)
    best = rows[0] if rows and rows[0].summary else None
    text = to_page(plan, metric, rows, best)
    if note:
        text += f"\n{note}\n"
    _write(plan.folder / "sweep.md", text)
    _write(plan.folder / "sweep.json", to_json(metric, plan.seeds, rows, best))
    if best:
        _write(plan.folder / BEST, to_recipe(plan, metric, best))
    return text


def to_page(plan: Plan, metric: Metric, rows: Sequence[Row], best: Row | None) -> str:
    """The table of the trials in markdown, and the results of the best one."""
    keys = [*plan.settings.keys]
    lines = [
        f"| trial | {metric} | {''.join(f'{key} | ' for key in keys)}|",
        f"|---:|---:|{'---:|' * len(keys)}---|",
    ]
    for row in rows:
        cells = [str(row.number), str(row.summary or row.state)]
        cells += [_short(row.settings[key]) for key in keys]
        lines.append(f"| {' | '.join(cells)} | {_cell(row.note)} |")
    averaged = f", mean ± deviation over seeds {', '.join(map(str, plan.seeds))}"
    averaged = averaged if len(plan.seeds) > 1 else ""
    lines += ["", f"{metric} is that of a run's best epoch{averaged}."]
    if best:
        lines += ["", f"Trial {best.number} is the best: `{_command(plan)}` trains its settings."]
        evaluations = [run.results() for run in best.runs if run.done]
        if evaluations and evaluations[0]:
            lines += ["Its results:", "", to_markdown(evaluations).rstrip()]
    return "\n".join(lines) + "\n"


def to_json(
    metric: Metric, seeds: Sequence[int], rows: Sequence[Row], best: Row | None = None
) -> str:
    """A JSON document of the trials, best first, with their values by seed."""
    document = {
        "metric": str(metric),
        "direction": metric.direction,
        "best": best.number if best else None,
        "trials": [_to_tree(row, seeds) for row in rows],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _to_tree(row: Row, seeds: Sequence[int]) -> Mapping[str, object]:
    summary = row.summary
    return {
        "trial": row.number,
        "state": row.state,
        "settings": row.settings,
        "mean": summary.mean if summary else None,
        "deviation": summary.deviation if summary else None,
        "values": dict(zip(seeds, summary.values, strict=True)) if summary else {},
        "note": row.note,
        "runs": [str(run.folder) for run in row.runs],
    }


def to_recipe(plan: Plan, metric: Metric, best: Row) -> str:
    """The best settings as a delta on the configuration of the sweep."""
    tree: Tree = {"base": f"{plan.base.parent.name}/{plan.base.name}"}
    for key, value in best.settings.items():
        _lay(tree, nest(key, value))
    head = f"# Trial {best.number}, the best by {metric}: {best.summary}\n#   {_command(plan)}\n"
    return head + write_yaml(tree)


def _lay(tree: Tree, keys: Tree) -> None:
    for key, value in keys.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _lay(tree[key], value)
        else:
            tree[key] = value


def _command(plan: Plan) -> str:
    processes = plan.settings.processes
    start = "python" if processes == 1 else f"torchrun --nproc_per_node={processes}"
    return f"{start} main.py --config {plan.folder / BEST}"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(text: str) -> str:
    """A cell whose text cannot end it."""
    return " ".join(text.split()).replace("|", "\\|")


def _write(file: Path, text: str) -> None:
    with atomic_write(file) as partial:
        partial.write_text(text, encoding="utf-8")
