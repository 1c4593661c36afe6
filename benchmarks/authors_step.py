"""A training step of TBPS-CLIP's own code, to compare with."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from errors import InputError

REPOSITORY = "https://github.com/Flame-Chasers/TBPS-CLIP"
PROGRAM = Path(__file__).with_name("authors_process.py")


@contextmanager
def authors_step(clone: Path, config: str, batch: int) -> Iterator[Callable[[], None]]:
    """A step on noise, taken by a process that lives as long as the context.

    Args:
        clone: the folder of their repository.
        config: a file in its folder `config`.
        batch: pairs.

    Raises:
        InputError: the folder has no such file.
        RuntimeError: their code has failed; it has told why.
    """
    file = (clone / "config" / config).absolute()
    if not file.is_file():
        raise InputError(f"{clone} has no config/{config}: give a clone of {REPOSITORY}")
    command = [sys.executable, "-P", str(PROGRAM), str(file), str(batch)]
    with Popen(  # nosec B603  # our own program, and no shell
        command, cwd=clone, stdin=PIPE, stdout=PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def wait() -> None:
            if not answers.readline():
                raise RuntimeError(f"the code in {clone} has failed")

        def step() -> None:
            print(file=orders, flush=True)
            wait()

        wait()
        yield step
