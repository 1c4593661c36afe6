"""The shell commands and Python blocks of the documentation, and the check that they can be parsed.

A command is parsed by the parser of its own program, and a configuration is resolved; nothing is
trained, read or written. `python -m tests.docs_check` runs what is short, too.
"""

import argparse
import ast
import importlib
import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

from torch.distributed.run import get_args_parser

import options
import search
from errors import InputError
from misc.sweep.plan import plan_sweep
from tests import ROOT

PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", ROOT / "CONTRIBUTING.md"]
# Chinese pages have the commands of the English ones: tests/test_docs.py compares them.
PAGES += sorted(p for p in (ROOT / "docs").rglob("*.md") if not p.name.endswith(".zh.md"))
BLOCK = r"^```{language}\n(.*?)^```"
FILE = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PYTHON = ("python", ".venv/bin/python")
TORCHRUN = ("torchrun", ".venv/bin/torchrun")
FOREIGN = ("hf", "pip", "source", "trap", "srun", "wait")  # programs that are not of this project
NOT_OURS = ("pytest",)  # modules


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Args:
        line: of the page, from 1 on.
        words: without comments, and without the brackets around options.
    """

    page: Path
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: {shlex.join(self.words)}"


def blocks(page: Path, language: str = "bash") -> Iterator[tuple[int, str]]:
    """The first line and the text of every block of a page in a language."""
    text = page.read_text(encoding="utf-8")
    pattern = BLOCK.format(language=language)
    for block in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, block.start(1)) + 1, block[1]


def commands(page: Path) -> Iterator[Command]:
    """The commands of a page, in their order."""
    for first, block in blocks(page):
        joined = re.sub(r"\\\n", lambda _: "\\ ", block)  # a line keeps its number
        number = first
        for line in joined.splitlines():
            for words in _split(line.replace("\\ ", " ")):
                yield Command(page, number, words)
            number += 1 + line.count("\\ ")


def _split(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of a line, which are joined by && or end in &."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not re.fullmatch("[&;]+", word):
            words.append(word)
        elif words:
            yield tuple(map(_bare, words))
            words = []


def _bare(word: str) -> str:
    """A word without the brackets of a synopsis, as in `[--port 7860]`."""
    if word.startswith("[-"):
        return word[1:].removesuffix("]")
    return word.removesuffix("]") if "[" not in word else word


def check(command: Command, folder: Path) -> None:
    """Check that a command can be parsed.

    Args:
        folder: has the files that the page shows.

    Raises:
        InputError: it cannot.
    """
    program, *words = command.words
    if program == "srun":
        program, *words = words
    if program in TORCHRUN:
        asked = get_args_parser().parse_args(words)
        program, words = "python", [asked.training_script, *asked.training_script_args]
    if program in PYTHON:
        check_python(words, folder)
    elif program == "make":
        check_targets(words)
    elif program not in FOREIGN and "=" not in program:
        raise InputError(f"{program} is not a program that this check knows")


def check_targets(words: Sequence[str]) -> None:
    """Check that make has a rule for every word; a file or folder of its name is none."""
    (phony,) = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in words:
        if word not in phony.split() and not word.startswith(".venv/"):
            raise InputError(f"the Makefile has no target {word}")


def check_python(words: Sequence[str], folder: Path) -> None:
    """Check the command line of a script or module."""
    script, *rest = words
    if script == "main.py":
        check_training(rest, folder)
    elif script == "search.py":
        search.parse(rest)
    elif script == "-m" and rest[0] not in NOT_OURS:
        parse_by_program(tuple(rest), is_module=True)
    elif script != "-m":
        parse_by_program((str(ROOT / script), *rest), is_module=False)


def check_training(words: Sequence[str], folder: Path) -> None:
    """Check a command line of main.py, and resolve its configuration.

    Dots stand for more settings, and in `key=...` for a value.
    """
    given = [word.replace("=...", "=FILE") for word in words if word != "..."]
    command = options.parse(given)
    if command.sweep:
        plan_sweep(replace(command, sweep=folder / command.sweep))
        return
    config = command.config
    of_a_run = not config and (command.evaluate or command.resume)
    if of_a_run and any("reid" in layer.tree for layer in command.overrides):
        config = Path("config/clipreid_vit.yaml")  # a run has its own
    if config and config.parts[0] == "runs":  # that of a run, which is none here
        command = replace(command, config=None)
    elif config and not config.is_absolute():
        command = replace(command, config=ROOT / config)
    command.configure()


class Parsed(BaseException):
    """Ends a program once its command line is parsed."""


@cache
def parse_by_program(words: tuple[str, ...], is_module: bool) -> None:
    """Start a program in this process, up to the parsing of its command line.

    Raises:
        InputError: it does not parse, or the program parses none.
    """
    program, *rest = words
    parses = {name: _ending(name) for name in ("parse_args", "parse_intermixed_args")}
    run = runpy.run_module if is_module else runpy.run_path
    with (
        patch.multiple(argparse.ArgumentParser, **parses),
        patch.object(sys, "argv", [program, *rest]),
        patch.object(sys, "path", [*sys.path]),
    ):
        try:
            run(program, run_name="__main__")
        except Parsed:
            return
        except SystemExit as end:
            raise InputError(f"{program} ends with {end.code}") from None
    raise InputError(f"{program} does not read its command line")


def _ending(name: str) -> object:
    parse = getattr(argparse.ArgumentParser, name)

    def parse_and_end(*arguments: object) -> None:
        parse(*arguments)
        raise Parsed

    return parse_and_end


def check_block(code: str) -> None:
    """Compile a Python block, and import all that it imports.

    Raises:
        SyntaxError, ImportError, AttributeError: it is no Python, or names what there is not.
    """
    compile(code, "block", "exec")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                getattr(module, alias.name)


def write_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows, each a block that begins with its name."""
    for name, text in FILE.findall(page.read_text(encoding="utf-8")):
        (folder / name).write_text(text, encoding="utf-8")
