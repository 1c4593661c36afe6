"""The configurations of runs, and what they differ in."""

import json
from collections.abc import Mapping, Sequence

from misc.report.markup import folded, paragraph, table
from misc.report.run import Run, recipe_setting

SEED = "misc.seed"
ABSENT = object()

Setting = Mapping[str, object]


def draw_configuration(run: Run) -> str:
    """A table of differences from the recipe, then all keys, folded."""
    name, recipe = recipe_setting(run.recipe)
    rows = differences([recipe, run.setting])
    named = [(key, *map(show, values)) for key, values in rows.items()]
    parts = [paragraph(f"Differences from {name}:")]
    if named:
        parts.append(table(("Key", "Recipe", "This run"), named, words=3))
    else:
        parts = [paragraph(f"As {name}.")]
    whole = [(key, show(value)) for key, value in run.setting.items()]
    parts.append(folded("The whole configuration", table(("Key", "Value"), whole, words=2)))
    return "".join(parts)


def draw_differences(runs: Sequence[Run]) -> str:
    """The keys in which several runs differ, and their training samples, side by side."""
    rows = differences([run.setting for run in runs]) | _other_samples(runs)
    if not rows:
        return paragraph("The configurations are equal.")
    named = [(key, *map(show, values)) for key, values in rows.items()]
    return table(("Key", *(run.name for run in runs)), named, words=1 + len(runs))


def differences(settings: Sequence[Setting]) -> dict[str, list[object]]:
    """Keys whose values differ, with the value in each setting; `ABSENT` where it has none."""
    keys = dict.fromkeys(key for setting in settings for key in setting)
    columns = {key: [setting.get(key, ABSENT) for setting in settings] for key in keys}
    return {
        key: values
        for key, values in columns.items()
        if any(value != values[0] for value in values)
    }


def _other_samples(runs: Sequence[Run]) -> dict[str, list[object]]:
    """The samples in which runs differ, as `differences` has them, where they are known."""
    rows = differences([run.samples for run in runs])
    return {name: values for name, values in rows.items() if len({*values} - {ABSENT}) > 1}


def group_by_seed(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in the seed alone, by the name of the group; not those that are known to
    have other training samples.

    Runs with the same seed, too, repeat each other: they are groups of their own.
    """
    groups: list[list[Run]] = []
    for run in runs:
        home = next((group for group in groups if _is_another_seed(run, group)), None)
        if home is None:
            groups.append([run])
        else:
            home.append(run)
    return {", ".join(run.name for run in group): group for group in groups}


def _is_another_seed(run: Run, group: Sequence[Run]) -> bool:
    is_new = all(run.setting[SEED] != other.setting[SEED] for other in group)
    is_alike = set(differences([run.setting, group[0].setting])) == {SEED}
    return is_new and is_alike and not _other_samples([*group, run])


def show(value: object) -> str:
    """A value of the configuration in a cell."""
    if value is ABSENT:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
