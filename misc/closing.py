"""The closing evaluation of a run: its tables and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from errors import InputError
from misc.calibration import Calibration
from misc.retrieval.base import Results
from misc.retrieval.report import Evaluation, to_json, to_markdown
from misc.retrieval.similarities import Similarities
from misc.runtime.checkpoint import Checkpoint
from misc.runtime.recorder import Recorder, log
from misc.settings.recipes import resolve_saved, to_tree
from misc.tasks.fingerprint import trained_samples


class Closed(NamedTuple):
    """The closing evaluation of a gallery.

    Args:
        cmc: percentages by rank from 1, of each direction.
        similarities: None in the other processes, and where no figures are drawn.
        query_kind: of a calibration's kinds.
    """

    results: Results
    cmc: Mapping[str, Sequence[float]]
    similarities: Similarities | None
    query_kind: str


def draw_figures(
    folder: Path,
    suffix: str,
    closed: Mapping[str, Closed],
    calibration: Calibration | None,
    false_alarms: float | None,
) -> None:
    """Draw the CMC curves and the similarities of all galleries into a run's folder.

    Args:
        suffix: of the files' names.
        closed: by dataset and split.
        calibration: of the model, if there is one.
        false_alarms: the share whose thresholds are drawn, for galleries of their size.

    Raises:
        InputError: a file cannot be written.
    """
    curves = {f"{name}, {d}": curve for name, one in closed.items() for d, curve in one.cmc.items()}
    pairs = {name: one.similarities for name, one in closed.items() if one.similarities}
    if not pairs:
        return
    from misc.retrieval import figures  # matplotlib, where it draws

    thresholds = {}
    if calibration and false_alarms:
        for name, counted in pairs.items():
            if kind := calibration.kinds.get(closed[name].query_kind):
                thresholds[name] = kind.threshold(false_alarms, counted.gallery_size)
    figures.draw_cmc(folder / f"cmc{suffix}.png", curves)
    figures.draw_similarities(folder / f"similarities{suffix}.png", pairs, thresholds)


def compared_names(checkpoints: Sequence[Checkpoint]) -> list[str] | None:
    """A name for each checkpoint where they are compared; None for a single one, and for runs that
    were trained with other seeds alone, whose mean and deviation are of interest.
    """
    if len(checkpoints) == 1 or _differ_in_seed_alone(checkpoints):
        return None
    names = [
        checkpoint.file.stem if checkpoint.published else checkpoint.file.resolve().parent.name
        for checkpoint in checkpoints
    ]
    if len({*names}) < len(names):
        names = [str(checkpoint.file) for checkpoint in checkpoints]
    return names


def _differ_in_seed_alone(checkpoints: Sequence[Checkpoint]) -> bool:
    """Whether all were trained alike, each from a seed of its own; False where that is unknown.

    Their samples are compared where their folders describe them.
    """
    saved = [checkpoint.config for checkpoint in checkpoints if checkpoint.config is not None]
    try:
        configs = [resolve_saved(config) for config in saved]
    except InputError:  # an older configuration that is no longer valid
        return False
    trees = [to_tree(config) for config in configs]
    seeds = {tree["misc"].pop("seed") for tree in trees}
    if len(seeds) < len(checkpoints) or any(tree != trees[0] for tree in trees):
        return False
    folders = [checkpoint.file.parent for checkpoint in checkpoints]
    samples = [trained_samples(*each) for each in zip(folders, configs, strict=True)]
    known = [described for described in samples if described]
    return all(described == known[0] for described in known)


def write_tables(
    recorder: Recorder,
    evaluations: Sequence[Evaluation],
    data_keys: str,
    names: Sequence[str] | None = None,
    recipe: str | None = None,
) -> None:
    """Write the closing tables for papers, and log the paths of what was written.

    Args:
        data_keys: the keys that say what is evaluated.
        names: of checkpoints that are compared side by side; None: their mean and deviation.
        recipe: of the training that ends with them, if any does.
    """
    rows = [{name: set(results) for name, results in each.items()} for each in evaluations]
    if any(other != rows[0] for other in rows):
        raise InputError(
            "the checkpoints are not evaluated on the same datasets in the same way and cannot be "
            f"compared: give {data_keys} and evaluation.rerank for all of them"
        )
    if evaluations[0]:
        recorder.write_text("results.md", to_markdown(evaluations, names))
        recorder.write_text("results.json", to_json(evaluations, names, recipe))
    if len(evaluations) > 1:
        log.info("%s", to_markdown(evaluations, names).rstrip())
    recorder.list_files()
