"""Train or evaluate a person search model.

python main.py --config config/demo.yaml
torchrun --nproc_per_node=4 main.py --simplified data.annotation_file=... data.image_root=...
python main.py --evaluate runs/demo-...
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from errors import InputError

if TYPE_CHECKING:
    import options
    from misc.runtime.checkpoint import Checkpoint
    from model.weights.published.format import Geometry, PublishedFormat


def main() -> None:
    """The command line: a user's mistake is one sentence and exit status 2."""
    try:
        import options  # here, so that Ctrl-C has no traceback while it is imported

        run(options.parse())
    except InputError as error:
        if error.in_one_process or os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print("interrupted", file=sys.stderr)
        sys.exit(130)


def run(command: "options.Command") -> None:
    """Do what the command line says, here and in the processes that torchrun started beside."""
    if command.sweep:
        sweep(command)
        return
    checkpoints = open_checkpoints(command)
    configs = [
        command.configure(checkpoint.config, checkpoint.project_settings)
        if checkpoint
        else command.configure()
        for checkpoint in checkpoints
    ]

    # Here, because torch takes seconds, and neither --help nor a mistyped key should wait for it.
    from misc.job import Job, evaluate
    from misc.runtime.distributed import processes
    from misc.runtime.environment import describe_environment
    from misc.runtime.recorder import start_logging
    from misc.runtime.run_folder import refuse_own_recipe

    if command.evaluate or checkpoints == [None]:
        refuse_own_recipe(command.config, command.output)
    distributed = configs[0].distributed
    with processes(command.device, distributed.backend, distributed.timeout_minutes) as own:
        start_logging(own.is_main, describe_environment(own) if own.is_main else ())
        jobs = (
            Job(config, command.recipe, own, checkpoint, for_training=not command.evaluate)
            for config, checkpoint in zip(configs, checkpoints, strict=True)
        )
        if command.evaluate:
            overwrite = command.overwrite
            evaluate(jobs, command.output, command.save_features, overwrite=overwrite)
        else:
            next(jobs).train(
                command.output,
                overwrite=command.overwrite,
                restarts=command.resume == "auto",
                allow_changes=command.allow_changes,
                profiles=command.profile,
            )


def sweep(command: "options.Command") -> None:
    """Train many times, with settings that a file varies."""
    from misc.sweep.plan import plan_sweep

    plan = plan_sweep(command)
    from misc.sweep.study import run_sweep  # here, as torch is imported above

    run_sweep(plan)


def open_checkpoints(command: "options.Command") -> "list[Checkpoint | None]":
    """The checkpoints to evaluate, or the one to resume from, if any, each read once."""
    if not (command.evaluate or command.resume):
        return [None]
    from misc.runtime.checkpoint import LAST, open_checkpoint
    from misc.runtime.run_folder import find_run_to_resume

    if command.evaluate:
        found = [open_evaluated(command, path) for path in command.evaluate]
        files = [checkpoint.file.resolve() for checkpoint in found]
        if len({*files}) < len(files):
            given = " and ".join(command.evaluate)
            raise InputError(f"--evaluate: {given} name the same checkpoint; give each once")
        if command.overwrite and command.output:
            refuse_to_remove(command.output, files)
        return [*found]
    if command.resume != "auto":
        return [open_checkpoint(Path(str(command.resume)), LAST, ours_only=True)]
    file = find_run_to_resume(command.output, command.recipe)
    if file is None and os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"No run to resume in {command.output or 'runs'}: starting a new one")
    return [open_checkpoint(file, ours_only=True) if file else None]


def open_evaluated(command: "options.Command", path: str) -> "Checkpoint":
    """A checkpoint to evaluate, or the weights of a folder of transformers or open_clip.

    Raises:
        InputError: it cannot be read, or does not fit the configuration.
    """
    from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
    from model.recognition import is_model_folder

    if is_model_folder(path):
        from misc.tasks.text.pretrained import pretrained_checkpoint

        return pretrained_checkpoint(command.configure(), Path(path), command.recipe)
    geometry = partial(asked_geometry, command, path)
    return open_checkpoint(Path(path), BEST, LAST, geometry=geometry)


def refuse_to_remove(output: Path, files: list[Path]) -> None:
    """Check that no checkpoint to evaluate lies where the old record is to be removed.

    Raises:
        InputError: one does.
    """
    for file in files:
        if file.parent == output.resolve():
            raise InputError(
                f"--overwrite would remove {file}, which is evaluated: give another --output"
            )


def asked_geometry(
    command: "options.Command", path: str, published: "PublishedFormat"
) -> "Geometry":
    """The sizes in the configuration that a published file's weights do not tell.

    Raises:
        InputError: the configuration is for another task than the file.
    """
    from misc.tasks.starting_weights import geometry

    config = command.configure()
    if config.task != published.task:
        raise InputError(
            f"{path} is a checkpoint of {published.project}, for task {published.task}, but the "
            f"recipe is for {config.task}: give one for the former, such as --config "
            f"config/{'clipreid_vit' if published.task == 'image_to_image' else 'config'}.yaml"
        )
    return geometry(config)


if __name__ == "__main__":
    main()
