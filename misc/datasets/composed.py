"""Composed queries: a picture of a person, and words that say what is different.

The files are those of ITCPR (Liu et al. 2023, arXiv 2311.16515): `query.json` and `gallery.json`,
two lists of records, in the folder to which the paths of their pictures are relative. A query has
`file_path`, `caption` and `instance_id`; a picture of the gallery has `file_path` and
`instance_id`, that of the queries that it answers, or -1. Any record may have a `split`; without
one it is of test, as all of ITCPR. Other fields are not read.
"""

import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from errors import InputError
from misc.datasets.annotation_file import parse_json
from misc.datasets.containment import outside
from misc.datasets.text_annotations import SPLITS

QUERIES, GALLERY = "query.json", "gallery.json"
UNMATCHED = -1  # the instance of pictures that answer no query


class ComposedPicture(NamedTuple):
    """A reference or a picture of the gallery.

    Args:
        path: the full one.
        instance: that is searched for, or that is shown.
        text: of a query; empty in the gallery.
        location: file and record number, for messages.
    """

    split: str
    path: str
    instance: int
    text: str
    location: str


@dataclass(frozen=True)
class ComposedSplit:
    """The queries of a split, one at least, and the gallery, which has a picture for each."""

    queries: Sequence[ComposedPicture]
    gallery: Sequence[ComposedPicture]


def read_composed(folder: Path) -> dict[str, ComposedSplit]:
    """The splits that have queries, in the order train, val, test.

    Raises:
        InputError: a file is missing or malformed, a record lacks a field, pictures do not exist or
            lie outside the folder, or a query has no picture in the gallery of its split.
    """
    queries = _read(folder, QUERIES)
    gallery = _read(folder, GALLERY)
    _check_pictures(folder, [record.path for record in (*queries, *gallery)])
    splits = {}
    for split in SPLITS:
        own = ComposedSplit(
            [query for query in queries if query.split == split],
            [picture for picture in gallery if picture.split == split],
        )
        _check_targets(own, folder / GALLERY)
        if own.queries:
            splits[split] = own
    return splits


def _read(folder: Path, name: str) -> list[ComposedPicture]:
    """The records of a file."""
    file = folder / name
    try:
        content = parse_json(file.read_bytes())
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}); give the folder of {QUERIES} and "
            f"{GALLERY}, such as one by `python -m misc.synthetic --layout composed`"
        ) from None
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON ({error}); copy it again") from None
    if not (isinstance(content, list) and content and all(isinstance(r, dict) for r in content)):
        raise InputError(f"{file} is not a list of records; give the dataset's own file")
    return [
        _record(folder, f"{file}, record {number}", fields, is_query=name == QUERIES)
        for number, fields in enumerate(content)
    ]


def _record(
    folder: Path, location: str, fields: Mapping[str, object], *, is_query: bool
) -> ComposedPicture:
    split, path = fields.get("split", "test"), fields.get("file_path")
    instance, text = fields.get("instance_id"), fields.get("caption") if is_query else ""
    if split not in SPLITS:
        raise InputError(
            f"{location}: split is {reprlib.repr(split)}, expected one of {', '.join(SPLITS)}"
        )
    if not isinstance(path, str) or not path:
        raise InputError(f"{location}: no `file_path` names the picture")
    least = 0 if is_query else UNMATCHED
    if isinstance(instance, bool) or not isinstance(instance, int) or instance < least:
        raise InputError(
            f"{location}: `instance_id` is {reprlib.repr(instance)}; give a whole number of at "
            f"least {least}"
        )
    if not isinstance(text, str) or (is_query and not text.strip()):
        raise InputError(f"{location}: no `caption` says what is different")
    return ComposedPicture(str(split), str(folder / path), instance, text, location)


def _check_pictures(folder: Path, paths: Sequence[str]) -> None:
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise InputError(
            f"{len(missing):,} of {len(paths):,} pictures do not exist, such as {missing[0]}; the "
            f"paths in {QUERIES} and {GALLERY} are relative to their folder"
        )
    if strays := outside((os.path.relpath(path, folder) for path in paths), folder):
        raise InputError(
            f"{len(strays):,} of the pictures lie outside {folder}, such as {next(iter(strays))}; "
            "copy them into it"
        )


def _check_targets(split: ComposedSplit, gallery: Path) -> None:
    there = {picture.instance for picture in split.gallery}
    for query in split.queries:
        if query.instance not in there:
            raise InputError(
                f"{query.location}: no picture of its split in {gallery} has its instance_id, "
                f"{query.instance}; add one, or remove the query"
            )
