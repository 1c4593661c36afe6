"""The plan of a sweep: everything that is known, and checked, before anything is built."""

import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path

import options
from errors import InputError
from misc.runtime.atomic import atomic_write
from misc.runtime.lock import LOCK
from misc.settings.recipes import find_recipe
from misc.settings.yaml12 import write_yaml
from misc.sweep.settings import SweepSettings, read_sweep
from misc.sweep.space import Settings, Space, to_words
from model.trees import Tree

PLAN = "plan.yaml"
TRIALS = "trials"  # the folder of the runs


@dataclass(frozen=True)
class Plan:
    """A sweep whose settings fit the configuration.

    Args:
        config: what the keys are laid over.
        recipe: its name.
        folder: of everything that is written.
        device: `--device` of the runs, if any.
    """

    settings: SweepSettings
    config: options.Config
    recipe: str
    space: Space
    folder: Path
    device: str | None

    @property
    def base(self) -> Path:
        """The file of the configuration that the keys are laid over."""
        return self.folder / "base" / f"{self.recipe}.yaml"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the runs of each trial."""
        return self.settings.seeds or (self.config.misc.seed,)

    def arguments(self, settings: Settings) -> tuple[str, ...]:
        """The command line of a trial's runs, but for their folder and seed."""
        device = ("--device", self.device) if self.device else ()
        return ("--config", str(self.base.resolve()), *device, *to_words(settings))

    def claim_folder(self) -> None:
        """Write the plan into its folder, or check that the folder's sweep has the same.

        The number of trials may change: a sweep can be extended.

        Raises:
            InputError: the folder holds something else.
        """
        wanted = write_yaml(self._to_tree())
        file = self.folder / PLAN
        if not file.is_file():
            found = [other.name for other in self.folder.iterdir() if other.name != LOCK]
            if found:
                names = ", ".join(sorted(found)[:3])
                raise InputError(
                    f"--output {self.folder} contains {names} and no sweep: give another folder"
                )
        elif file.read_text(encoding="utf-8") != wanted:
            raise InputError(
                f"--output {self.folder} already contains a sweep with other settings ({file}); "
                "only `trials` may change: give another folder"
            )
        for path, text in ((file, wanted), (self.base, options.dump(self.config))):
            path.parent.mkdir(exist_ok=True)
            with atomic_write(path) as partial:
                partial.write_text(text, encoding="utf-8")

    def _to_tree(self) -> Tree:
        sweep = options.to_tree(self.settings)
        del sweep["trials"]
        return {"sweep": sweep, "configuration": options.to_tree(self.config)}


def plan_sweep(command: options.Command) -> Plan:
    """The plan of a sweep from its command line.

    Raises:
        InputError: optuna is missing, or the file, the recipe or a value of a key is wrong.
    """
    file = command.sweep
    assert file is not None
    if importlib.util.find_spec("optuna") is None:
        raise InputError("main.py --sweep needs optuna: pip install optuna")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(
            f"--sweep starts the processes of its runs itself: start it without torchrun, and give "
            f"`processes: N` in {file}"
        )
    settings = read_sweep(file)
    if settings.recipe and command.config:
        raise InputError(
            f"{file}: recipe is {settings.recipe}, and --config {command.config} is "
            "given, too: give one of them"
        )
    recipe = command.config
    if settings.recipe:
        recipe = find_recipe(Path(settings.recipe), f"{file}: recipe")
    command = replace(command, config=recipe)
    config = command.configure()
    space = Space(options.to_tree(config), settings.keys, f"{file}, keys")
    space.check()
    folder = command.output or Path("runs", f"sweep-{file.stem}")
    plan = Plan(settings, config, command.recipe, space, folder, command.device)
    _check_metric(plan, str(file))
    return plan


def _check_metric(plan: Plan, source: str) -> None:
    """Check that the runs evaluate the split of the metric after each epoch."""
    split = plan.config.experiment.select_on
    if split == "last":
        raise InputError(
            f"{source}: experiment.select_on is last, so no epoch is evaluated, and the trials "
            "cannot be compared: set it to val or test"
        )
    metric = plan.settings.metric
    if metric and metric.partition("/")[0] != split:
        raise InputError(
            f"{source}: metric is {metric}, but experiment.select_on is {split}: the runs evaluate "
            f"that split alone after each epoch"
        )
