"""Command lines of scripts: the parser, the exit status, a user's mistake in one sentence."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `InputError`s."""

    def __init__(self, prog: str, description: str = "", epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:300]}; --help lists the options")


def run_script(
    parser: Parser,
    run: Callable[[argparse.Namespace], int | None],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse a command line and run it; returns the exit status.

    Args:
        run: takes the parsed options; the status is what it returns, None being 0.
        arguments: those of the process unless given.

    Returns:
        The status of `run`, 2 after a user's mistake, 130 after Ctrl-C.
    """
    try:
        return run(parser.parse_intermixed_args(arguments)) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def given(word: str) -> str:
    """The type of an option that must not be empty."""
    if not word.strip():
        raise argparse.ArgumentTypeError("it is empty; is a variable of a script not set?")
    return word


def given_path(word: str) -> Path:
    """The type of an option that is a path: an empty one would be the current folder."""
    return Path(given(word))


def positive(word: str) -> int:
    """The type of an option that counts something: a whole number from 1 on."""
    return _whole(word, least=1)


def natural(word: str) -> int:
    """The type of an option that may count nothing: a whole number from 0 on."""
    return _whole(word, least=0)


def _whole(word: str, least: int) -> int:
    try:
        number = int(word)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least {least}")
    return number


def share(word: str) -> float:
    """The type of an option that is a share: a number between 0 and 1."""
    try:
        number = float(word)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number between 0 and 1")
    return number
