"""Read the text-to-person datasets of a configuration once, whole, and say what is wrong with them.

python -m misc.datasets.check --config config/demo.yaml
python -m misc.datasets.check data.annotation_file=CUHK-PEDES/reid_raw.json \\
                              data.image_root=CUHK-PEDES/imgs --workers 8

The exit status is 0 when nothing is wrong, 1 when something is, 2 when it could not be read. A
difference from the published counts is said, but is no fault: a part of a dataset is one, too.
"""

import argparse
import json
import multiprocessing
import posixpath
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

import options
from errors import InputError
from misc.data import read_picture
from misc.datasets.annotations import SPLITS, Record, read_records
from misc.datasets.published import Count, count
from misc.datasets.recognition import identify
from misc.datasets.text_person import find_image_root, read_text_person
from misc.script import run_script
from text_utils.captions import clean_caption
from text_utils.scripts import main_script

EXAMPLES = 10  # shown of each kind of fault
CODE = re.compile(
    r"</?[a-z][^<>]*>|&#?\w+;"  # markup
    r"|https?://|www\."
    r"|\\[nrtux]|[{}]"
    r"|==|!=|=>|&&|\|\||=\s*[\"'\[]"
    r"|\w\(\)|\);|\w+\.\w+\("  # calls
    r"|\b[a-z]+_[a-z_]+\b",
    re.IGNORECASE,
)
TITLES = {
    "missing_folder": "Pictures missing with their folder",
    "missing_picture": "Pictures missing from a folder that is there",
    "unreadable_picture": "Pictures that cannot be read",
    "repeated_picture": "Pictures named again by a later record",
    "identity_in_two_splits": "Identities in two splits",
    "empty_caption": "Empty captions",
    "other_script": "Captions in another script than most",
    "code_fragment": "Captions with fragments of code",
    "repeated_caption": "Captions that stand for several identities of a split",
}


@dataclass(frozen=True)
class Finding:
    """One kind of fault (a key of `TITLES`): how often it was found, and where first.

    `more` is how many examples there are beyond those.
    """

    kind: str
    number: int
    examples: tuple[str, ...]
    more: int


@dataclass(frozen=True)
class Report:
    """What a dataset holds and what is wrong with it.

    `dataset` is the published name, None for one's own; `remarks` are sentences on differences from
    the published counts, and on what could not be told.
    """

    dataset: str | None
    counts: Mapping[str, Count]
    remarks: tuple[str, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        lines = [self.dataset or "None of the published datasets"]
        for split, here in self.counts.items():
            numbers = (f"{number} {what}" for what, number in asdict(here).items())
            lines.append(f"{split:<8}{', '.join(numbers)}")
        lines += self.remarks
        for finding in self.findings:
            lines.append(f"\n{TITLES[finding.kind]}: {finding.number}")
            lines += [f"  {example}" for example in finding.examples]
            if finding.more:
                lines.append(f"  and {finding.more} more")
        return "\n".join(lines if self.findings else [*lines, "\nNothing is wrong."])


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
    if workers < 1:
        raise InputError(f"{workers} workers: give at least one")
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
    findings = [
        *_pictures_at_fault(records, root, workers, progress),
        _finding("repeated_picture", _repeated_pictures(records)),
        _finding("identity_in_two_splits", _identities_in_two_splits(records, apart)),
        _finding("empty_caption", _empty_captions(records)),
        _finding("other_script", _captions_in_another_script(records)),
        _finding("code_fragment", _captions_with_code(records)),
        _finding("repeated_caption", _repeated_captions(records)),
    ]
    return Report(
        dataset.name if dataset else None,
        {split: count(pictures) for split, pictures in splits.items() if pictures},
        tuple(remarks),
        tuple(finding for finding in findings if finding.number),
    )


def _finding(kind: str, faults: Sequence[str], number: int | None = None) -> Finding:
    shown = tuple(faults[:EXAMPLES])
    return Finding(kind, len(faults) if number is None else number, shown, len(faults[EXAMPLES:]))


def _pictures_at_fault(
    records: Sequence[Record], root: Path, workers: int, progress: bool
) -> list[Finding]:
    """Those missing with their folder (an example for each folder), alone missing, unreadable."""
    first: dict[str, Record] = {}
    for record in records:
        first.setdefault(_normal(record), record)
    absent = _absent_folders(first, root)
    here = [name for name in first if name not in absent]

    faults: dict[str, list[str]] = defaultdict(list)
    reports = _map([root / name for name in here], workers)
    bar = tqdm(reports, total=len(here), unit=" pictures", disable=None if progress else True)
    for name, fault in zip(here, bar, strict=True):
        if fault:
            kind, reason = fault
            faults[kind].append(f"{first[name].place}: {reason or name}")

    folders = sorted(Counter(absent.values()).items())
    return [
        _finding(
            "missing_folder",
            [f"{root / folder}: {number} pictures" for folder, number in folders],
            number=len(absent),
        ),
        *(_finding(kind, faults[kind]) for kind in ("missing_picture", "unreadable_picture")),
    ]


def _absent_folders(names: Iterable[str], root: Path) -> dict[str, PurePosixPath]:
    """The pictures whose folder is missing, each with the highest folder that is."""
    highest: dict[PurePosixPath, PurePosixPath | None] = {}
    absent = {}
    for name in names:
        folder = PurePosixPath(name).parent
        if folder not in highest:
            line = (*reversed(folder.parents), folder)
            highest[folder] = next((part for part in line if not (root / part).is_dir()), None)
        if missing := highest[folder]:
            absent[name] = missing
    return absent


def _map(files: list[Path], workers: int) -> Iterator[tuple[str, str] | None]:
    if workers == 1:
        yield from map(_fault, files)
        return
    # Spawned, not forked: a parent that has threads (torch, for one) must not be copied.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_fault, files, chunksize=32)


def _fault(file: Path) -> tuple[str, str] | None:
    """Kind and reason, if training could not read the picture."""
    if not file.is_file():
        return "missing_picture", ""
    try:
        read_picture(file)
    except InputError as error:
        return "unreadable_picture", str(error)
    return None


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
    asked = _parser().parse_intermixed_args(arguments)
    return run_script(lambda: _run(asked))


def _run(asked: argparse.Namespace) -> int:
    recipe = ["--config", str(asked.config)] if asked.config else []
    data = options.parse([*recipe, *asked.overrides]).configure().data
    if data.annotation_file is None or data.image_root is None:
        raise InputError(
            "name a dataset: give --config, or data.annotation_file=FILE_OR_FOLDER "
            "and data.image_root=FOLDER"
        )
    places = [(data.annotation_file, data.image_root)]
    places += [(s.annotation_file, s.image_root) for s in (*data.train_sets, *data.test_sets)]
    for place in places if len(data.languages) > 1 else []:
        read_text_person(*place, data.languages)  # refuses what is not the same in all of them
    reports = {}
    for (file, image_root), language in product(dict.fromkeys(places), data.languages or [None]):
        name = f"{file}, {image_root}" + (f", {language}" if language else "")
        report = check(file, image_root, asked.workers, progress=True, language=language)
        print(f"{name}: {report}\n")
        reports[name] = asdict(report)
    if asked.json:
        _write(reports, asked.json)
    return 1 if any(report["findings"] for report in reports.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    """Reports as JSON, each under its annotation file, image root and language."""
    content = json.dumps(reports, indent=1, ensure_ascii=False)
    try:
        file.write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file} ({error.strerror}): choose another file") from error


if __name__ == "__main__":
    sys.exit(main())
