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
    from misc.runtime.checkpoint import Start


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
    starts = read_starts(command)
    configs = [
        command.configure(start.content["config"] if start and start.content else None)
        for start in starts
    ]

    # Here, because torch takes seconds, and neither --help nor a mistyped key should wait for it.
    from misc.job import Job, evaluate
    from misc.runtime.distributed import processes
    from misc.runtime.recorder import start_logging

    with processes(command.device, configs[0].distributed.backend) as own:
        start_logging(own.is_main)
        jobs = (
            Job(config, command.recipe, own, start, for_training=not command.evaluate)
            for config, start in zip(configs, starts, strict=True)
        )
        if command.evaluate:
            evaluate(jobs, command.output, command.save_features)
        else:
            next(jobs).train(command.output)


def read_starts(command: options.Command) -> "list[Start | None]":
    """The checkpoints to evaluate, or the one to go on from, if any; with their content, if they
    are our own.
    """
    if not (command.evaluate or command.resume):
        return [None]
    from misc.runtime.checkpoint import BEST, LAST, Start, find_checkpoint, read_checkpoint
    from model.weights.published import is_published
    from model.weights.published_reid import is_published_reid

    def read(file: Path) -> Start:
        # What other code made is without a configuration of ours.
        foreign = is_published(file) or is_published_reid(file)
        return Start(file, None if foreign else read_checkpoint(file))

    if command.evaluate:
        return [read(find_checkpoint(Path(path), BEST, LAST)) for path in command.evaluate]
    if command.resume != "auto":
        start = find_checkpoint(Path(str(command.resume)), LAST)
    else:  # the run in --output, or the recipe's newest, if there is one
        folders = [command.output] if command.output else Path("runs").glob(f"{command.recipe}-2*")
        found = [folder / LAST for folder in folders if (folder / LAST).is_file()]
        if not found:
            return [None]
        start = max(found, key=lambda file: file.stat().st_mtime)
    return [Start(start, read_checkpoint(start))]


if __name__ == "__main__":
    main()
