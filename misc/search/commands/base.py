"""A command of search.py: its options, and what it does with them."""

import argparse
from abc import ABC, abstractmethod
from typing import ClassVar


class Command(ABC):
    """One command of search.py.

    Modules of commands import torch and other heavy libraries inside `run`, so that `--help` and
    misspelt options are answered at once.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line of `search.py --help`
    example: ClassVar[str] = ""  # command lines, shown at the end of the command's own help
    is_parallel: ClassVar[bool] = False  # whether torchrun may start it

    @abstractmethod
    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""

    @abstractmethod
    def run(self, options: argparse.Namespace) -> int | None:
        """Do what the options say; the exit status is what is returned, None being 0.

        Raises:
            InputError: a mistake of the user.
        """
