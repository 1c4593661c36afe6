"""Read the datasets of a configuration once, whole, and say what is wrong with them.

python -m misc.datasets.check --config config/demo.yaml
python -m misc.datasets.check data.annotation_file=CUHK-PEDES/reid_raw.json \\
                              data.image_root=CUHK-PEDES/imgs --workers 8
python -m misc.datasets.check --config config/clipreid_vit.yaml reid.dataset=market1501 \\
                              reid.root=FOLDER --workers 8

The exit status is 0 when nothing is wrong, 1 when something is, 2 when it could not be read. A
difference from the published counts is said, but is no fault: a part of a dataset is one, too.
"""

import argparse
import json
import posixpath
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import options
from errors import InputError
from misc.datasets.check_reid import check_reid
from misc.datasets.finding import Report, summarize
from misc.datasets.picture_reading import read_pictures
from misc.datasets.text_annotations import SPLITS, Record, read_records
from misc.datasets.text_person import find_image_root, read_text_person
from misc.datasets.text_published import count
from misc.datasets.text_recognition import identify
from misc.runtime.script import Parser, run_script
from misc.settings.sections import DataSettings, ReIDSettings
from text_utils.captions import clean_caption
from text_utils.scripts import main_script

Checks = Mapping[str, Callable[..., Report]]  # of each dataset, by what tells it
CODE = re.compile(
    r"</?[a-z][^<>]*>|&#?\w+;"  # markup
    r"|https?://|www\."
    r"|\\[nrtux]|[{}]"
    r"|==|!=|=>|&&|\|\||=\s*[\"'\[]"
    r"|\w\(\)|\);|\w+\.\w+\("  # calls
    r"|\b[a-z]+_[a-z_]+\b",
    re.IGNORECASE,
)


def check(
    annotation_file: str | Path,
    image_root: str | Path,
    workers: int = 1,
    progress: bool = False,
    language: str | None = None,
) -> Report:
    """Read every record and every picture.

    Args:
        annotation_file: as for `read_annotations`.
        image_root: the folder that the pictures' names start from, or the one above `imgs`.
        workers: processes that read pictures; they do not change the report.
        progress: show a bar, on a terminal only.
        language: of the captions, in a folder of `{split}_reid_{lang}.json`.

    Raises:
        InputError: if the annotations are no dataset, or none of the pictures is there.
    """
    records = read_records(annotation_file, language)
    root = find_image_root(Path(image_root), [record.picture for record in records])
    dataset = identify(records)
    splits = {
        split: [record.picture for record in records if record.split == split] for split in SPLITS
    }
    remarks = dataset.compare_counts(splits) if dataset else []
    apart = _splits_numbered_apart(records)
    remarks += [
        f"{one} and {other}: every identity of the one is a number of the other's; taken for "
        "different people"
        for one, other in sorted(apart)
    ]
    places: dict[str, str] = {}
    for record in records:
        places.setdefault(_normal(record), record.place)
    pictures_at_fault, _ = read_pictures(places, root, workers, progress)
    findings = [
        *pictures_at_fault,
        summarize("repeated_picture", _repeated_pictures(records)),
        summarize("identity_in_two_splits", _identities_in_two_splits(records, apart)),
        summarize("empty_caption", _empty_captions(records)),
        summarize("other_script", _captions_in_another_script(records)),
        summarize("code_fragment", _captions_with_code(records)),
        summarize("repeated_caption", _repeated_captions(records)),
    ]
    return Report(
        dataset.name if dataset else None,
        {split: count(pictures) for split, pictures in splits.items() if pictures},
        tuple(remarks),
        tuple(finding for finding in findings if finding.number),
    )


def _normal(record: Record) -> str:
    """The picture's name, one for all spellings."""
    return posixpath.normpath(record.picture.path)


def _repeated_pictures(records: Sequence[Record]) -> list[str]:
    first: dict[str, Record] = {}
    faults = []
    for record in records:
        before = first.setdefault(_normal(record), record)
        if before is not record:
            faults.append(f"{record.place}: {record.picture.path}, as in {before.place}")
    return faults


def _people(records: Sequence[Record]) -> dict[str, dict[int, Record]]:
    """The first record of every identity of every split."""
    people: dict[str, dict[int, Record]] = {}
    for record in records:
        people.setdefault(record.split, {}).setdefault(record.picture.identity, record)
    return people


def _splits_numbered_apart(records: Sequence[Record]) -> set[tuple[str, str]]:
    """Pairs of splits that seem to count their people from the same number.

    When every identity of a split is also one of the other's, that is how they were numbered rather
    than a mistake; the same pictures in both would show.
    """
    people = _people(records)
    return {
        (one, other)
        for one, other in combinations(people, 2)
        if min(len(people[one]), len(people[other])) > 1
        and (
            people[one].keys() <= people[other].keys() or people[other].keys() <= people[one].keys()
        )
    }


def _identities_in_two_splits(records: Sequence[Record], apart: set[tuple[str, str]]) -> list[str]:
    people = _people(records)
    return [
        f"identity {identity}: {people[one][identity].place} ({one}) and "
        f"{people[other][identity].place} ({other})"
        for one, other in combinations(people, 2)
        if (one, other) not in apart
        for identity in people[one]
        if identity in people[other]
    ]


def _captions(records: Sequence[Record]) -> Iterator[tuple[Record, str, str]]:
    """Every caption with its record and its place."""
    for record in records:
        for number, caption in enumerate(record.picture.captions):
            yield record, caption, f"{record.place}, caption {number}"


def _empty_captions(records: Sequence[Record]) -> list[str]:
    """Those of which the cleaning leaves nothing, too."""
    return [
        f"{place}: {caption!r}"
        for _, caption, place in _captions(records)
        if not clean_caption(caption)
    ]


def _captions_in_another_script(records: Sequence[Record]) -> list[str]:
    scripts = [main_script(caption) for _, caption, _ in _captions(records)]
    common = Counter(script for script in scripts if script).most_common(1)
    return [
        f"{place}: {_shown(caption)}"
        for script, (_, caption, place) in zip(scripts, _captions(records), strict=True)
        if script and script != common[0][0]
    ]


def _captions_with_code(records: Sequence[Record]) -> list[str]:
    return [
        f"{place}: {_shown(caption)}"
        for _, caption, place in _captions(records)
        if CODE.search(caption)
    ]


def _repeated_captions(records: Sequence[Record]) -> list[str]:
    """An entry for each caption that stands for several identities of a split."""
    places: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for record, caption, place in _captions(records):
        text = clean_caption(caption)
        if text:
            places[record.split, text].setdefault(record.picture.identity, place)
    return [
        f"{_shown(text)}: {len(owners)} identities, {' and '.join(list(owners.values())[:2])}"
        for (_, text), owners in places.items()
        if len(owners) > 1
    ]


def _shown(caption: str, length: int = 60) -> str:
    return repr(caption if len(caption) <= length else caption[: length - 3] + "...")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_script(_parser(), _run, arguments)


def _run(asked: argparse.Namespace) -> int:
    recipe = ["--config", str(asked.config)] if asked.config else []
    config = options.parse([*recipe, *asked.overrides]).configure()
    of_reid = config.task == "image_to_image"
    checks = _reid_checks(config.reid) if of_reid else _text_checks(config.data)
    reports = {}
    for name, check_it in checks.items():
        report = check_it(workers=asked.workers, progress=True)
        print(f"{name}: {report}\n")
        reports[name] = asdict(report)
    if asked.json:
        _write(reports, asked.json)
    return 1 if any(report["findings"] for report in reports.values()) else 0


def _reid_checks(reid: ReIDSettings) -> Checks:
    if reid.root is None:
        raise InputError(f"name a dataset: give reid.dataset={reid.dataset} reid.root=FOLDER")
    places = [(reid.dataset, reid.root)]
    places += [(source.dataset, source.root) for source in (*reid.train_sets, *reid.test_sets)]
    return {f"{name}, {root}": partial(check_reid, name, root) for name, root in places}


def _text_checks(data: DataSettings) -> Checks:
    if data.annotation_file is None or data.image_root is None:
        raise InputError(
            "name a dataset: give --config, or data.annotation_file=FILE_OR_FOLDER "
            "and data.image_root=FOLDER"
        )
    places = [(data.annotation_file, data.image_root)]
    places += [(s.annotation_file, s.image_root) for s in (*data.train_sets, *data.test_sets)]
    for place in places if len(data.languages) > 1 else []:
        read_text_person(*place, data.languages)  # refuses what is not the same in all of them
    return {
        f"{file}, {root}" + (f", {language}" if language else ""): partial(
            check, file, root, language=language
        )
        for (file, root), language in product(places, data.languages or [None])
    }


def _parser() -> Parser:
    parser = Parser(
        prog="python -m misc.datasets.check",
        description="Read a configuration's datasets once and say what is wrong with them.",
    )
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="recipe (default: config/config.yaml)")
    add("--workers", type=int, default=1, help="processes; they do not change the result")
    add("--json", type=Path, metavar="FILE", help="write the reports there, too")
    add("overrides", nargs="*", metavar="section.key=value", help="settings over the recipe")
    return parser


def _write(reports: Mapping[str, Any], file: Path) -> None:
    """Reports as JSON, each under what tells its dataset."""
    content = json.dumps(reports, indent=1, ensure_ascii=False)
    try:
        file.write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror}): choose another file") from error


if __name__ == "__main__":
    sys.exit(main())
