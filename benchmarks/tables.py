"""The tables of benchmarks/README.md, from the JSON files of benchmarks/results.

python -m benchmarks.tables
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.records import NOT_MEASURED
from misc.runtime.atomic import atomic_write
from misc.runtime.script import Parser, run_script

FOLDER = Path(__file__).parent
README, RESULTS = FOLDER / "README.md", FOLDER / "results"
HEADING = "## Results\n"
APART = ("value", "bar", "held", "seconds taken", "ratio")  # told in columns of their own, or twice


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m benchmarks.tables", description="Tables of the last results.")
    return run_script(parser, _run, arguments)


def _run(_: argparse.Namespace) -> None:
    with atomic_write(README) as partial_file:
        partial_file.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(page: str) -> str:
    """A page whose results are those of the folder, in place of its earlier ones."""
    trees = {file: json.loads(file.read_text("utf-8")) for file in sorted(RESULTS.glob("*.json"))}
    tables = [to_table(file.stem, tree) for file, tree in trees.items() if "machine" in tree]
    return page.partition(HEADING)[0] + HEADING + "".join(tables)


def to_table(name: str, tree: Mapping[str, Mapping[str, object]]) -> str:
    """A table of the rows of a benchmark, with the machine that gave them."""
    machine = tree["machine"]
    told = f"{machine['device']}, cores: {machine['CPU cores']}, threads: {machine['threads']}"
    lines = ["| | measured | bar | |", "|---|---|---|---|"]
    for row, values in tree["rows"].items():
        assert isinstance(values, Mapping)
        mark = {True: "held", False: "missed", None: ""}[values.get("held")]
        lines.append(f"| {row} | {_figures(values)} | {values.get('bar', '')} | {mark} |")
    return f"\n`{name}`: {told}, torch {machine['torch']}\n\n" + "\n".join(lines) + "\n"


def _figures(values: Mapping[str, object]) -> str:
    if NOT_MEASURED in values:
        return f"{NOT_MEASURED}: {values[NOT_MEASURED]}"
    main_figure = [_format(values[name]) for name in ("value", "ratio") if name in values][:1]
    others = [f"{name}: {_format(value)}" for name, value in values.items() if name not in APART]
    return "; ".join([*main_figure, *others])


def _format(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


if __name__ == "__main__":
    sys.exit(main())
