"""A table of captions: a CSV file with a header, as spreadsheets write it.

The columns `path` and `caption` are needed, `id` and `split` are optional. An image with several
captions has several rows. Columns are separated by commas, semicolons or tabs.
"""

import csv
import hashlib
import io
import logging
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from errors import InputError
from misc.datasets.annotation_file import read_annotation_file
from misc.datasets.counts import counted

log = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv")
NEEDED = ("path", "caption")
OPTIONAL = ("id", "split")
FEWEST = 3  # people that can be divided into train, val and test
SHOWN = 200  # characters of a cell or the header in a message
MOST_DIGITS = 18  # of a number of 64 bits

Row = Mapping[str, str]  # the cells by column


def read_caption_table(file: Path) -> list[tuple[str, Mapping[str, object]]]:
    """The location and the fields of a record for each image, in the order of their first rows.

    Without `id`, the folders are the people if all paths are `FOLDER/IMAGE` with at least two
    folders; otherwise each image is a person of its own. Without `split`, a tenth of the people
    validate, a tenth test, and the others train, by a hash of their ids.

    Raises:
        InputError: the table is malformed; the message names the line.
    """
    images: dict[str, tuple[int, Row, list[str]]] = {}
    columns, rows = _read_rows(file)
    for line, row in rows:
        path = row["path"]
        first, known, captions = images.setdefault(path, (line, row, []))
        for column in OPTIONAL:
            if row.get(column) != known.get(column):
                raise InputError(
                    f"{file}, line {line}: {column} of {_shown(path)} is "
                    f"{reprlib.repr(row[column])}, but {reprlib.repr(known[column])} in line "
                    f"{first}; an image has one {column}"
                )
        captions.append(row["caption"])
    if not images:
        raise InputError(f"data.annotation_file: {file} lists no images")
    ids = {path: row["id"] for path, (_, row, _) in images.items()} if "id" in columns else {}
    ids = ids or _people(file, list(images))
    people = {path: number_or_name(word) for path, word in ids.items()}
    split_of = {} if "split" in columns else _divide(file, {*people.values()})
    return [
        (
            f"{file}, line {line}",
            {
                "file_path": path,
                "id": ids[path],
                "captions": captions,
                "split": row["split"] if "split" in columns else split_of[people[path]],
            },
        )
        for path, (line, row, captions) in images.items()
    ]


def number_or_name(word: str) -> int | str:
    """The identity that a word stands for: 7 for "007", and any but ASCII digits is a name."""
    is_number = word.isascii() and word.isdecimal() and len(word) <= MOST_DIGITS
    return int(word) if is_number else word


def _read_rows(file: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    """The columns, and the rows that are not empty with the numbers of their first lines."""
    text = _read_text(file)
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 0
    columns: list[str] = []
    rows = []
    try:
        for cells in reader:
            line, first = reader.line_num, line + 1
            cells = [cell.strip() for cell in cells]
            if not columns:
                columns = _read_header([cell.lower() for cell in cells], file)
            elif any(cells):
                rows.append((first, _row(cells, columns, f"{file}, line {first}")))
    except csv.Error as error:
        is_long = "larger than" in str(error)
        remedy = "shorten it" if is_long else "put a quotation mark inside quotes twice"
        raise InputError(f"{file}, line {line + 1}: {error}; {remedy}") from None
    return columns, rows


def _read_text(file: Path) -> str:
    try:
        return read_annotation_file(file).decode("utf-8-sig")  # Excel writes a byte order mark
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{file}, line {line}: not UTF-8; save the table as `CSV UTF-8`") from None


def _read_header(columns: list[str], file: Path) -> list[str]:
    missing = [name for name in NEEDED if name not in columns]
    twice = [name for name in (*NEEDED, *OPTIONAL) if columns.count(name) > 1]
    if missing or twice:
        fault = f"no column {missing[0]!r}" if missing else f"two columns {twice[0]!r}"
        raise InputError(
            f"{file}, line 1: {fault} in the header ({_shown(', '.join(columns))}); needed: "
            f"{', '.join(NEEDED)}; optional: {', '.join(OPTIONAL)}"
        )
    return columns


def _shown(text: str) -> str:
    """The beginning of a cell or the header, in one line."""
    return " ".join(text[:SHOWN].split())


def _row(cells: Sequence[str], columns: Sequence[str], location: str) -> Row:
    if len(cells) != len(columns):
        raise InputError(
            f"{location}: {counted(len(cells), 'cell')}, but the header has {len(columns)}; put "
            "captions that contain the separator in quotes"
        )
    row = dict(zip(columns, cells, strict=True))
    for column in NEEDED:
        if not row[column]:
            raise InputError(f"{location}: {column} is empty; fill it in or remove the line")
    return row


def _people(file: Path, paths: Sequence[str]) -> dict[str, str]:
    """The person of each image, where the table does not say."""
    folders = {path: PurePosixPath(path).parts[0] for path in paths}
    in_folders = all(len(PurePosixPath(path).parts) == 2 for path in paths)
    by_folder = in_folders and len({*folders.values()}) > 1
    rule = "each folder is a person" if by_folder else "each image is a person of its own"
    log.info("%s has no column id: %s", file, rule)
    return folders if by_folder else {path: path for path in paths}


def _divide(file: Path, people: set[int | str]) -> dict[int | str, str]:
    """The split of each person, where the table does not say."""
    if len(people) < FEWEST:
        raise InputError(
            f"{file}: {counted(len(people), 'person')} cannot be divided into train, val and test; "
            "add a column split"
        )
    shuffled = sorted(people, key=lambda one: hashlib.blake2b(str(one).encode()).digest())
    tenth = max(1, len(people) // 10)
    sizes = f"of {len(people)} people, {tenth} for the test and {tenth} for validation"
    log.info("%s has no column split: %s", file, sizes)
    splits = dict.fromkeys(people, "train")
    splits |= dict.fromkeys(shuffled[:tenth], "test")
    return splits | dict.fromkeys(shuffled[tenth : 2 * tenth], "val")
