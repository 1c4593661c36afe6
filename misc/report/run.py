"""A run as its folder records it: configuration, results, and the rows of its training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import options
from errors import InputError
from misc.retrieval.report import Evaluation
from misc.runtime.checkpoint import BEST, LAST, Checkpoint, open_checkpoint
from misc.runtime.recorder import CLOSING
from misc.settings.recipes import RECIPES, resolve_saved, to_tree
from misc.settings.sections import Config
from misc.settings.yaml12 import read_yaml
from misc.tasks.fingerprint import trained_samples
from model.trees import Tree

CONFIG, METRICS, RESULTS = "config.yaml", "metrics.jsonl", "results.json"


@dataclass(frozen=True)
class Run:
    """The folder of a run.

    Args:
        name: unique among the runs of a report.
        config: the one that it was trained with.
        evaluated_config: `config` under the overrides that say where its data and weights lie now.
        recipe: the name of its recipe; None where neither a checkpoint nor results.json has it.
        samples: a description of its training samples, and of those that select, by name; empty
            where `checkpoint_last.pt` is not there or older than descriptions are, and where the
            seed draws the samples.
        results: the closing tables; empty of a training that has not ended.
        rows: those of metrics.jsonl.
    """

    folder: Path
    name: str
    config: Config
    evaluated_config: Config
    checkpoint: Checkpoint | None
    recipe: str | None
    samples: Mapping[str, str]
    results: Evaluation
    rows: Sequence[Tree]

    @property
    def setting(self) -> dict[str, object]:
        """The configuration that it was trained with, by key."""
        return leaves(to_tree(self.config))

    def evaluations(self, split: str) -> list[Tree]:
        """The rows of evaluations of a split during the training."""
        return [row for row in self.rows if row.get("split") == split and CLOSING not in row]

    @property
    def steps(self) -> list[Tree]:
        """The rows of training steps."""
        return [row for row in self.rows if "loss" in row]


def read_runs(
    folders: Sequence[Path], overrides: Sequence[str] = (), *, needs_checkpoint: bool = True
) -> list[Run]:
    """Read the folders of runs of one task.

    Args:
        overrides: `section.key=value` over the `evaluated_config` of each.

    Raises:
        InputError: a folder is not that of a run, has no checkpoint, or is given twice; or the
            runs are of different tasks.
    """
    found = [folder.resolve() for folder in folders]
    if twice := next((path for path in found if found.count(path) > 1), None):
        raise InputError(f"{twice} is given twice; give each run once")
    names = (
        [p.name for p in found],
        [f"{p.parent.name}/{p.name}" for p in found],
        [*map(str, found)],
    )
    unique = next(way for way in names if len({*way}) == len(way))
    runs = [
        _read_run(folder, name, overrides, needs_checkpoint)
        for folder, name in zip(folders, unique, strict=True)
    ]
    first = runs[0]
    for run in runs[1:]:
        if run.config.task != first.config.task:
            raise InputError(
                f"{first.folder} is of task {first.config.task} and {run.folder} of task "
                f"{run.config.task}: give runs of one task"
            )
    return runs


def _read_run(folder: Path, name: str, overrides: Sequence[str], needs_checkpoint: bool) -> Run:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder of a run, such as runs/demo")
    if missing := [file for file in (CONFIG, METRICS) if not (folder / file).is_file()]:
        raise InputError(
            f"{folder} is not the folder of a run: it has no {' and no '.join(missing)}"
        )
    saved = read_yaml(_read(folder / CONFIG), str(folder / CONFIG))
    if not isinstance(saved, dict) or not isinstance(saved.get("experiment"), dict):
        raise InputError(f"{folder / CONFIG} is not the configuration of a run; copy it again")
    has_checkpoint = any((folder / file).is_file() for file in (BEST, LAST))
    if needs_checkpoint and not has_checkpoint:
        raise InputError(
            f"{folder} has no {BEST} or {LAST}: put one back, or give --record-only to report "
            "what the folder records"
        )
    checkpoint = open_checkpoint(folder, BEST, LAST, ours_only=True) if has_checkpoint else None
    config, evaluated = resolve_saved(saved), options.parse(list(overrides)).configure(saved)
    (results, recipe), rows = _results(folder), _rows(folder)
    recipe = checkpoint.recipe if checkpoint else recipe
    samples = trained_samples(folder, config)
    return Run(folder, name, config, evaluated, checkpoint, recipe, samples, results, rows)


def _results(folder: Path) -> tuple[Evaluation, str | None]:
    """The closing tables of a single checkpoint, and the recipe of its training, if it is there."""
    file = folder / RESULTS
    if not file.is_file():
        return {}, None
    try:
        document = json.loads(_read(file))
        if document["checkpoints"] != 1:
            raise InputError(
                f"{folder} compares {document['checkpoints']} checkpoints; give the folders of "
                "their trainings"
            )
        results = {
            dataset: {
                direction: {
                    metric: value["mean"] if isinstance(value, Mapping) else value
                    for metric, value in metrics.items()
                }
                for direction, metrics in directions.items()
            }
            for dataset, directions in document["results"].items()
        }
        return results, document.get("recipe")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} is damaged: evaluate the run again with --evaluate") from error


def _rows(folder: Path) -> list[Tree]:
    """The rows of metrics.jsonl that are whole; the last one may be cut off by a kill."""
    rows = []
    for line in _read(folder / METRICS).splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); copy it again") from error


def leaves(tree: Tree, prefix: str = "") -> dict[str, object]:
    """The values of a tree by dotted key; a list is one value, unless its entries have names."""
    found: dict[str, object] = {}
    for key, value in tree.items():
        if (
            isinstance(value, list)
            and value
            and all(isinstance(v, dict) and "name" in v for v in value)
        ):
            value = {entry["name"]: entry for entry in value}
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def recipe_setting(recipe: str | None) -> tuple[str, dict[str, object]]:
    """The configuration of a recipe, by key, and its name; of an unknown one, the defaults."""
    command = options.parse([])
    for file in sorted(RECIPES.rglob("*.yaml")):
        for simplified in (False, True):
            asked = replace(command, config=file, simplified=simplified)
            if asked.recipe == recipe and file.name != "dataset.yaml":
                return f"its recipe, {recipe}", leaves(to_tree(asked.configure()))
    return "the defaults, config/config.yaml", leaves(to_tree(command.configure()))
