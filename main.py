"""Train or evaluate a person search model.

python main.py --config config/demo.yaml
torchrun --nproc_per_node=4 main.py --simplified data.annotation_file=... data.image_root=...
python main.py --evaluate runs/demo-...
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import options
from errors import InputError

if TYPE_CHECKING:
    from misc.runtime.checkpoint import Checkpoint


def main() -> None:
    """The command line: a user's mistake is one sentence and exit status 2."""
    try:
        run(options.parse())
    except InputError as error:
        if error.in_one_process or os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print("interrupted", file=sys.stderr)
        sys.exit(130)


def run(command: options.Command) -> None:
    """Do what the command line says, here and in the processes that torchrun started beside."""
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
    from misc.runtime.recorder import start_logging

    with processes(command.device, configs[0].distributed.backend) as own:
        start_logging(own.is_main)
        jobs = (
            Job(config, command.recipe, own, checkpoint, for_training=not command.evaluate)
            for config, checkpoint in zip(configs, checkpoints, strict=True)
        )
        if command.evaluate:
            evaluate(jobs, command.output, command.save_features)
        else:
            next(jobs).train(command.output)


def open_checkpoints(command: options.Command) -> "list[Checkpoint | None]":
    """The checkpoints to evaluate, or the one to resume from, if any, each read once."""
    if not (command.evaluate or command.resume):
        return [None]
    from misc.runtime.checkpoint import BEST, LAST, open_checkpoint
    from misc.runtime.run_folder import find_run_to_resume
    from misc.tasks.starting_weights import geometry

    if command.evaluate:
        return [
            open_checkpoint(Path(place), BEST, LAST, geometry=lambda: geometry(command.configure()))
            for place in command.evaluate
        ]
    if command.resume != "auto":
        return [open_checkpoint(Path(str(command.resume)), LAST, ours_only=True)]
    file = find_run_to_resume(command.output, command.recipe)
    return [open_checkpoint(file, ours_only=True) if file else None]


if __name__ == "__main__":
    main()
