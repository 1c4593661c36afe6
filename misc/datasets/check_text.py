"""A check of every record, caption and image of a text-to-person dataset."""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from misc.datasets.containment import outside
from misc.datasets.finding import Finding, Report, summarize
from misc.datasets.picture_reading import read_pictures
from misc.datasets.text_annotations import SPLITS, Record, read_records
from misc.datasets.text_person import find_image_root
from misc.datasets.text_published import count_captioned
from misc.datasets.text_recognition import identify
from text_utils.captions import clean_caption
from text_utils.scripts import main_script

CODE = re.compile(
    r"</?[a-z][^<>]*>|&#?\w+;"  # markup
    r"|https?://|www\."
    r"|\\[nrtux]|[{}]"
    r"|==|!=|=>|&&|\|\||=\s*[\"'\[]"
    r"|\w\(\)|\);|\w\.\w+\("  # calls; `\w+` at the start would take quadratic time
    r"|\b[a-z]+_[a-z_]+\b",
    re.IGNORECASE,
)


def check_text(
    annotation_file: str | Path,
    image_root: str | Path,
    language: str | None = None,
    *,
    allow_outside: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Read every record and every image.

    Args:
        annotation_file: as for `read_annotations`.
        image_root: the folder to which image paths are relative, or the parent of `imgs`.
        language: of the captions, in a folder of `{split}_reid_{lang}.json`.
        allow_outside: whether images may lie outside `image_root`; else they are not read.
        workers: processes that read images; the report does not depend on it.
        progress: show a progress bar, on a terminal only.

    Raises:
        InputError: the annotations cannot be read, or none of the images exists.
    """
    records = read_records(annotation_file, language)
    root = find_image_root(Path(image_root), [record.picture for record in records])
    dataset = identify(records)
    splits = {
        split: [record.picture for record in records if record.split == split] for split in SPLITS
    }
    differences = dataset.compare_counts(splits) if dataset else ""
    apart = _splits_numbered_apart(records)
    paths = [record.picture.path for record in records]
    strays = {} if allow_outside else outside(paths, root)
    locations: dict[str, str] = {}
    for record in records:
        if record.picture.path not in strays:
            locations.setdefault(_normal(record), record.location)
    findings, _ = read_pictures(locations, root, workers=workers, progress=progress)
    findings.append(_outside(records, strays))
    findings += _check_records(records, apart)
    return Report(
        dataset.name if dataset else None,
        {split: count_captioned(pictures) for split, pictures in splits.items() if pictures},
        (
            *([differences] if differences else []),
            *(
                f"{one} and {other} are numbered independently: all ids of one are also ids of the "
                "other; they are treated as different people"
                for one, other in sorted(apart)
            ),
        ),
        tuple(finding for finding in findings if finding.number),
    )


def _outside(records: Sequence[Record], strays: Mapping[str, Path]) -> Finding:
    return summarize(
        "outside_picture",
        [
            f"{record.location}: {record.picture.path} ({strays[record.picture.path]})"
            for record in records
            if record.picture.path in strays
        ],
    )


def _check_records(records: Sequence[Record], apart: set[tuple[str, str]]) -> list[Finding]:
    return [
        summarize("repeated_picture", _repeated_pictures(records)),
        summarize("identity_in_two_splits", _identities_in_two_splits(records, apart)),
        summarize("empty_caption", _empty_captions(records)),
        summarize("other_script", _captions_in_another_script(records)),
        summarize("code_fragment", _captions_with_code(records)),
        summarize("repeated_caption", _repeated_captions(records)),
    ]


def _normal(record: Record) -> str:
    """The image path in normal form, so that different spellings compare equal."""
    return posixpath.normpath(record.picture.path)


def _repeated_pictures(records: Sequence[Record]) -> list[str]:
    first: dict[str, Record] = {}
    faults = []
    for record in records:
        before = first.setdefault(_normal(record), record)
        if before is not record:
            faults.append(f"{record.location}: {record.picture.path}, as in {before.location}")
    return faults


def _people(records: Sequence[Record]) -> dict[str, dict[int | str, Record]]:
    """The first record of every identity of every split."""
    people: dict[str, dict[int | str, Record]] = {}
    for record in records:
        people.setdefault(record.split, {}).setdefault(record.person, record)
    return people


def _splits_numbered_apart(records: Sequence[Record]) -> set[tuple[str, str]]:
    """Pairs of splits that seem to number their people independently.

    If all ids of one split are also ids of the other, that is a convention rather than a mistake;
    images in both splits would be found anyway. Names are no convention.
    """
    people = _people(records)
    return {
        (one, other)
        for one, other in combinations(people, 2)
        if min(len(people[one]), len(people[other])) > 1
        and all(isinstance(person, int) for person in (*people[one], *people[other]))
        and (
            people[one].keys() <= people[other].keys() or people[other].keys() <= people[one].keys()
        )
    }


def _identities_in_two_splits(records: Sequence[Record], apart: set[tuple[str, str]]) -> list[str]:
    people = _people(records)
    return [
        f"identity {identity}: {people[one][identity].location} ({one}) and "
        f"{people[other][identity].location} ({other})"
        for one, other in combinations(people, 2)
        if (one, other) not in apart
        for identity in people[one]
        if identity in people[other]
    ]


def _captions(records: Sequence[Record]) -> Iterator[tuple[Record, str, str]]:
    """Every caption with its record and its location."""
    for record in records:
        for number, caption in enumerate(record.picture.captions):
            yield record, caption, f"{record.location}, caption {number}"


def _empty_captions(records: Sequence[Record]) -> list[str]:
    """Captions that are empty, or empty after cleaning."""
    return [
        f"{location}: {caption!r}"
        for _, caption, location in _captions(records)
        if not clean_caption(caption)
    ]


def _captions_in_another_script(records: Sequence[Record]) -> list[str]:
    scripts = [main_script(caption) for _, caption, _ in _captions(records)]
    common = Counter(script for script in scripts if script).most_common(1)
    return [
        f"{location}: {_shown(caption)}"
        for script, (_, caption, location) in zip(scripts, _captions(records), strict=True)
        if script and script != common[0][0]
    ]


def _captions_with_code(records: Sequence[Record]) -> list[str]:
    return [
        f"{location}: {_shown(caption)}"
        for _, caption, location in _captions(records)
        if CODE.search(caption)
    ]


def _repeated_captions(records: Sequence[Record]) -> list[str]:
    """An entry for each caption that several identities of a split share."""
    locations: dict[tuple[str, str], dict[int | str, str]] = defaultdict(dict)
    for record, caption, location in _captions(records):
        text = clean_caption(caption)
        if text:
            locations[record.split, text].setdefault(record.person, location)
    return [
        f"{_shown(text)}: {len(owners)} identities, {' and '.join(list(owners.values())[:2])}"
        for (_, text), owners in locations.items()
        if len(owners) > 1
    ]


def _shown(caption: str, length: int = 60) -> str:
    return repr(caption if len(caption) <= length else caption[: length - 3] + "...")
