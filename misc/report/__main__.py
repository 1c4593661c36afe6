"""A report on one run or several, in one HTML page, or their results as a table for a paper.

python -m misc.report runs/demo --output report.html
python -m misc.report runs/a runs/b --output report.html data.image_root=/data/CUHK-PEDES/imgs
python -m misc.report runs/a runs/b --latex
"""

import argparse
import re
import sys
from pathlib import Path

from errors import InputError
from misc.report.configuration import group_by_seed
from misc.report.measured import Outcomes, measured
from misc.report.page import draw_comparison, draw_page, draw_run, fold_run
from misc.report.results import result_rows, to_latex, to_markdown
from misc.report.run import Run, read_runs
from misc.runtime.atomic import atomic_write
from misc.runtime.outputs import REPORT
from misc.runtime.script import Parser, given, run_script

SETTING = re.compile(r"\w+(\.\w+)+=")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m misc.report",
        description="Report on one run or several: a page, or a table of results.",
    )
    add = parser.add_argument
    known = "folders of runs, then section.key=value over them"
    add("words", nargs="+", type=given, metavar="RUN", help=known)
    add("--output", type=REPORT, metavar="FILE", help="write a page, such as report.html")
    add("--markdown", action="store_true", help="print the results as a table in markdown")
    add("--latex", action="store_true", help="print the results as a table in LaTeX")
    known = "a page of what the folders record, without the runs' models and data"
    add("--record-only", action="store_true", help=known)
    add("--device", default=None, help="cpu, cuda, cuda:1 ... (default: a GPU, if there is one)")
    return parser


def _run(asked: argparse.Namespace) -> None:
    if not (asked.output or asked.markdown or asked.latex):
        raise InputError("nothing to do: give --output report.html, --markdown or --latex")
    if asked.output and not asked.output.resolve().parent.is_dir():
        raise InputError(f"--output {asked.output}: its folder does not exist; make it first")
    overrides = [word for word in asked.words if SETTING.match(word)]
    folders = [Path(word) for word in asked.words if not SETTING.match(word)]
    if not folders:
        raise InputError("no run is given; give the folder of one, such as runs/demo")
    draws = asked.output and not asked.record_only
    runs = read_runs(folders, overrides, needs_checkpoint=bool(draws))
    rows = result_rows(group_by_seed(runs))
    if not rows and not asked.output:
        raise InputError("none of these runs has ended, so there are no results to print")
    if asked.markdown:
        print(to_markdown(rows), end="")
    if asked.latex:
        print(to_latex(rows), end="")
    if asked.output:
        _write(asked.output, _draw(runs, asked.device, asked.record_only))
        print(f"Report written to {asked.output}", file=sys.stderr)


def _draw(runs: list[Run], device: str | None, record_only: bool) -> str:
    outcomes: dict[str, dict[str, Outcomes]] = {}
    parts = []
    for run in runs:
        if record_only:
            parts.append(draw_run(run, None))
            continue
        with measured(run, device) as found:
            parts.append(draw_run(run, found))
            outcomes[run.name] = {test.name: test.outcomes for test in found.tests}
    if len(runs) == 1:
        return draw_page(runs[0].name, parts[0])
    folds = [fold_run(run, part) for run, part in zip(runs, parts, strict=True)]
    return draw_page("Comparison of runs", draw_comparison(runs, outcomes) + "".join(folds))


def _write(file: Path, page: str) -> None:
    try:
        with atomic_write(file) as partial:
            partial.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror}); choose another file") from error


if __name__ == "__main__":
    sys.exit(main())
