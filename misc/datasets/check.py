"""Check all datasets of a configuration: read every image and annotation once, and report faults.

python -m misc.datasets.check --config config/demo.yaml
python -m misc.datasets.check data.annotation_file=CUHK-PEDES/reid_raw.json \\
                              data.image_root=CUHK-PEDES/imgs --workers 8
python -m misc.datasets.check --config config/clipreid_vit.yaml reid.dataset=market1501 \\
                              reid.root=FOLDER --workers 8
python -m misc.datasets.check --config config/baseline_vit.yaml reid.dataset=folder \\
                              reid.root=people

The exit status is 0 if no problems were found, 1 if some were, and 2 if a dataset cannot be read.
Sizes that differ from the published ones are reported, but are no problem: the dataset may be a
subset.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Protocol

import options
from errors import InputError
from misc.datasets.check_reid import check_reid
from misc.datasets.check_text import check_text
from misc.datasets.finding import Report
from misc.datasets.text_person import read_text_person
from misc.runtime.atomic import atomic_write
from misc.runtime.outputs import CHECK
from misc.runtime.script import Parser, given_path, run_script
from misc.settings.sections import Config, DataSettings
from misc.tasks.reid.data import people_division


class Check(Protocol):
    """The check of one dataset."""

    def __call__(self, *, workers: int, progress: bool) -> Report: ...


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    return run_script(_parser(), _run, arguments)


def _run(asked: argparse.Namespace) -> int:
    recipe = ["--config", str(asked.config)] if asked.config else []
    config = options.parse([*recipe, *asked.overrides]).configure()
    of_reid = config.task == "image_to_image"
    checks = _reid_checks(config) if of_reid else _text_checks(config.data)
    reports = {}
    for name, check in checks.items():
        reports[name] = check(workers=asked.workers, progress=True)
        print(f"{name}: {reports[name]}\n")
    if asked.json:
        _write(reports, asked.json)
    return 1 if any(report.findings for report in reports.values()) else 0


def _reid_checks(config: Config) -> dict[str, Check]:
    """The check of every re-identification dataset, by dataset and folder."""
    reid = config.reid
    if reid.root is None:
        raise InputError(f"no dataset given: set reid.dataset={reid.dataset} reid.root=FOLDER")
    sources = [(reid.dataset, reid.root)]
    sources += [(source.dataset, source.root) for source in (*reid.train_sets, *reid.test_sets)]
    division = people_division(config)
    return {f"{name}, {root}": partial(check_reid, name, root, division) for name, root in sources}


def _text_checks(data: DataSettings) -> dict[str, Check]:
    """The check of every text dataset, by annotations, folder and language."""
    if data.annotation_file is None or data.image_root is None:
        raise InputError(
            "no dataset given: set --config, or data.annotation_file=FILE_OR_FOLDER and "
            "data.image_root=FOLDER"
        )
    sources = [(data.annotation_file, data.image_root)]
    sources += [(s.annotation_file, s.image_root) for s in (*data.train_sets, *data.test_sets)]
    for source in sources if len(data.languages) > 1 else []:
        # Raises if the languages disagree.
        read_text_person(*source, data.languages, allow_outside=True)
    return {
        f"{file}, {root}" + (f", {language}" if language else ""): partial(
            check_text, file, root, language, allow_outside=data.allow_outside
        )
        for (file, root), language in product(sources, data.languages or [None])
    }


def _parser() -> Parser:
    parser = Parser(
        prog="python -m misc.datasets.check",
        description="Check all datasets of a configuration and report their faults.",
    )
    add = parser.add_argument
    add("--config", type=given_path, metavar="FILE", help="recipe (default: config/config.yaml)")
    add("--workers", type=int, default=1, help="processes that read images (default: 1)")
    add("--json", type=CHECK, metavar="FILE", help="also write the reports to this file")
    add("overrides", nargs="*", metavar="section.key=value", help="settings over the recipe")
    return parser


def _write(reports: Mapping[str, Report], file: Path) -> None:
    """Write the reports as JSON, by dataset."""
    content = {name: asdict(report) for name, report in reports.items()}
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        with atomic_write(file) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror}): choose another file") from error


if __name__ == "__main__":
    sys.exit(main())
