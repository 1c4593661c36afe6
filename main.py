"""Train or evaluate a person search model.

python main.py --config config/demo.yaml
torchrun --nproc_per_node=4 main.py --simplified data.annotation_file=... data.image_root=...
python main.py --evaluate runs/demo-...
"""

import os
import sys
from pathlib import Path
from typing import Any

import options
from errors import InputError


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
    start, checkpoint = read_start(command)
    config = command.configure(checkpoint["config"] if checkpoint else None)

    # Here, because torch takes seconds, and neither --help nor a mistyped key should wait for it.
    from misc.distributed import processes
    from misc.job import Job

    with processes(command.device, config.distributed.backend) as own:
        if command.evaluate:
            job = Job(config, command.recipe, own, start, checkpoint, for_training=False)
            job.evaluate(command.output, command.save_features)
        else:
            job = Job(config, command.recipe, own, start, checkpoint)
            job.train(command.output)


def read_start(command: options.Command) -> tuple[Path | None, dict[str, Any] | None]:
    """The checkpoint to evaluate or to go on from, if any, and its content, if it is our own."""
    if not (command.evaluate or command.resume):
        return None, None
    from misc.checkpoint import BEST, LAST, find_checkpoint, read_checkpoint
    from model.published import is_published

    if command.evaluate:
        start = find_checkpoint(Path(command.evaluate), BEST, LAST)
        if is_published(start):  # made by other code, without a configuration of ours
            return start, None
    elif command.resume != "auto":
        start = find_checkpoint(Path(str(command.resume)), LAST)
    else:  # the run in --output, or the recipe's newest, if there is one
        folders = [command.output] if command.output else Path("runs").glob(f"{command.recipe}-2*")
        found = [folder / LAST for folder in folders if (folder / LAST).is_file()]
        if not found:
            return None, None
        start = max(found, key=lambda file: file.stat().st_mtime)
    return start, read_checkpoint(start)


if __name__ == "__main__":
    main()
