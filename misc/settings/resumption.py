"""Settings that a run may go on with, although it began with others."""

import logging
from collections.abc import Iterator
from itertools import accumulate

from errors import InputError
from model.trees import Tree

log = logging.getLogger(__name__)

# Sections and keys that change no step that is taken, or only where a file is. Data that has moved
# is recognised by its description.
HARMLESS = (
    *("log", "evaluation", "distributed", "schedule.epoch", "model.gradient_checkpointing"),
    *("model.compile", "model.cuda_graphs"),  # other rounding, other padding of captions
    *("data.num_workers", "data.test_batch_size", "data.test_sets"),
    *("data.batch_size", "data.global_batch_size"),  # the description has the global batches
    *("data.annotation_file", "data.image_root", "data.train_sets", "data.allow_outside"),
    *("reid.root", "reid.train_sets", "reid.test_sets"),
    *("model.clip_pretrained", "model.altclip_pretrained", "model.init_from"),
    "model.tokenizer_cache_dir",
)
# Those by which an epoch's score would be another one, so that it compares with no earlier one.
SCORING = (
    *("experiment.select_on", "experiment.selection_weights"),
    *("data.test_resampling", "reid.flip", "reid.unlabelled_views"),
)
# Those by which the checkpoint would no longer fit, or the order of the samples would be another.
FIXED = (
    *("task", "misc.seed", "model", "prompts", "adapters", "lora", "tuning"),
    *("schedule.optimizer", "schedule.decayed", "schedule.bias_factor", "schedule.ratio_factor"),
    *("schedule.layer_decay", "reid.global_batch_size"),
)
DATA_KEYS = {
    "text_to_image": "data.annotation_file, data.image_root, data.train_sets, data.languages",
    "image_to_image": "reid.dataset, reid.root, reid.train_sets",
    "both": (
        "data.annotation_file, data.image_root, data.train_sets, data.languages, reid.dataset, "
        "reid.root, reid.train_sets"
    ),
}


def check_resumption(
    config: Tree, saved: Tree, data: Tree, saved_data: Tree | None, allow_changes: bool
) -> bool:
    """Check that a run goes on with the settings and data that it began with, and log what differs.

    Args:
        config: the configuration as plain types.
        saved: that of the run.
        data: the description of the training data.
        saved_data: that of the run; None if the run is older than descriptions are.
        allow_changes: whether changes are allowed that the checkpoint fits.

    Returns:
        Whether the scores of epochs to come compare with those of the run so far.

    Raises:
        InputError: something differs that may not; the keys are named.
    """
    changes = dict(_changes(config, saved))
    fixed = [key for key in changes if _is_in(key, FIXED) and not _is_in(key, HARMLESS)]
    others = [key for key in changes if key not in fixed and not _is_in(key, HARMLESS)]
    same_scores = not any(_is_in(key, SCORING) for key in changes)
    if saved_data is None:
        log.info("The checkpoint is older than descriptions of data: the data is not compared")
    else:
        if _other_batches(data, saved_data):
            fixed.append("data.global_batch_size (or data.batch_size times the processes)")
        if any(data[name] != saved_data.get(name) for name in ("samples", "hash")):
            others.append(f"the training data ({DATA_KEYS[config['task']]})")
        if "selection" in saved_data and data["selection"] != saved_data["selection"]:
            same_scores = False
            if "experiment.select_on" not in changes:
                others.append("the split that selects (experiment.select_on)")
    if fixed:
        raise InputError(
            f"--resume: {_listed(fixed, changes)}; give what the run began with, or begin another "
            "run from its weights with model.init_from"
        )
    if others and not allow_changes:
        raise InputError(
            f"--resume: {_listed(others, changes)}; give what the run began with, or allow the "
            "changes with --allow-changes"
        )
    for key in (*changes, *(key for key in others if key not in changes)):
        log.info("Changed since the run began: %s", _listed([key], changes))
    if not same_scores:
        log.info("The best epoch is chosen among those to come: earlier scores do not compare")
    return same_scores


def _is_in(key: str, names: tuple[str, ...]) -> bool:
    if key.startswith("stages.") and ".schedule." in key:  # as in the schedule of all stages
        key = key[key.index(".schedule.") + 1 :]
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _other_batches(data: Tree, saved: Tree) -> bool:
    before = saved.get("batches", {})
    return any(before.get(name, size) != size for name, size in data["batches"].items())


def _listed(keys: list[str], changes: Tree) -> str:
    pairs = {key: changes.get(key) for key in keys}
    return ", ".join(
        f"{key} differs from the run's" if pair is None else f"{key} was {pair[0]} and is {pair[1]}"
        for key, pair in pairs.items()
    )


def _changes(config: Tree, saved: Tree) -> Iterator[tuple[str, tuple[object, object]]]:
    """The keys whose values differ, with both; keys that have come since the run do not."""
    stages, saved_stages = ({s["name"] for s in tree.get("stages", ())} for tree in (config, saved))
    for name in sorted(stages ^ saved_stages):
        states = ("absent", "present")
        yield f"stages.{name}", states if name in stages else states[::-1]
    now, before = dict(_leaves(config)), dict(_leaves(saved))
    for key, value in now.items():
        if (key in before and before[key] != value) or _is_below_null(key, before):
            yield key, (before.get(key), value)
    for key, value in before.items():
        dropped = key not in now and key.startswith(("tuning.", "experiment.losses."))
        if dropped or _is_below_null(key, now):
            yield key, (value, None)


def _is_below_null(key: str, leaves: Tree) -> bool:
    """Whether a section is null in which the key would be."""
    parents = accumulate(key.split(".")[:-1], "{}.{}".format)
    return any(leaves.get(parent, key) is None for parent in parents)


def _leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, object]]:
    """The values by their keys; a stage is found by its name."""
    for key, value in tree.items():
        if prefix == "" and key == "stages":
            value = {stage["name"]: stage for stage in value}
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
