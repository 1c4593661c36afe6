"""Find people in pictures and footage with a trained model, by words or by a picture.

python search.py index --checkpoint runs/demo-... --images pictures --output people.index
python search.py query --index people.index "a woman in a red coat with a backpack"
python search.py serve --index people.index
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errors import InputError
from misc.runtime.script import Parser
from misc.search.commands.base import Command
from misc.search.commands.calibrate import Calibrate
from misc.search.commands.crop import Crop
from misc.search.commands.index import BuildIndex
from misc.search.commands.query import Find
from misc.search.commands.serve import Serve

if TYPE_CHECKING:
    from misc.search.person_search import PersonSearch

__all__ = ["PersonSearch", "main", "parse"]

COMMANDS: tuple[type[Command], ...] = (BuildIndex, Find, Serve, Crop, Calibrate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit status: 2 after a user's mistake, 130 after Ctrl-C."""
    is_main = os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        options = parse(arguments)
        if os.environ.get("WORLD_SIZE", "1") != "1" and not options.command.is_parallel:
            raise InputError(
                f"{options.command.name} runs in one process; start it without torchrun"
            )
        return options.command.run(options) or 0
    except InputError as error:
        if error.in_one_process or is_main:
            print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if is_main:
            print("interrupted", file=sys.stderr)
        return 130


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, with the `Command` that they are for as `command`.

    Raises:
        InputError: an unknown command or option.
    """
    parser = Parser(prog="search.py", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for kind in COMMANDS:
        command = kind()
        own = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            epilog=command.example,
        )
        command.add_options(own)
        own.set_defaults(command=command)
    return parser.parse_args(arguments)


def __getattr__(name: str) -> "type[PersonSearch]":
    """`PersonSearch`, imported when it is asked for: the commands' help does without torch."""
    if name != "PersonSearch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from misc.search.person_search import PersonSearch

    return PersonSearch


if __name__ == "__main__":
    sys.exit(main())
