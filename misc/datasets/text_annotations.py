"""Annotations of text-to-person datasets: images with their identities and captions.

CUHK-PEDES (Li et al., CVPR 2017), ICFG-PEDES (Ding et al. 2021, arXiv 2107.12666) and RSTPReid (Zhu
et al., ACM MM 2021) are read from the published files, or from a folder of `{split}_reid.json`;
images of one's own from these formats, or from a table (`captions.csv`), or from pairs without
identities (`pairs.jsonl`). The format is detected.
"""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import InputError
from misc.datasets import caption_table
from misc.datasets.annotation_file import parse_json, read_annotation_file
from misc.datasets.json_lines import SUFFIX, JsonLines
from text_utils.captions import MOST_CHARACTERS

SPLITS = ("train", "val", "test")
LONGEST_NAME = 255  # bytes
LONGEST_PATH = 2000
# Other datasets' names of the fields of a record, and CUHK-PEDES's for the same.
FIELD_NAMES = {
    "img_path": "file_path",  # RSTPReid
}


@dataclass(frozen=True)
class TextPicture:
    """One image with its captions.

    `back_translations` has an entry for each caption, None if there is no back-translation.
    """

    path: str
    identity: int
    captions: tuple[str, ...]
    back_translations: tuple[str | None, ...]


Splits = dict[str, Sequence[TextPicture]]


@dataclass(frozen=True)
class Record:
    """One entry of an annotation file.

    Args:
        location: file and record number, for messages.
        fields: the entry as it was read.
        person: the identity as annotated, a number or a name.
        picture: its image.
    """

    location: str
    fields: Mapping[str, Any]
    split: str
    person: int | str
    picture: TextPicture


def read_annotations(source: str | Path) -> Splits:
    """The images of each split of a dataset; identities that are numbers are as annotated.

    Args:
        source: `reid_raw.json`, `ICFG-PEDES.json`, `data_captions.json`, `captions.csv`,
            `pairs.jsonl`, or a folder with `train_reid.json`, `val_reid.json`, `test_reid.json`.

    Raises:
        InputError: the file is missing or malformed; the message names the record.
    """
    return split_records(read_records(source))


def split_records(records: Sequence[Record]) -> Splits:
    """The images of each split."""
    splits: dict[str, list[TextPicture]] = {}
    for record in records:
        splits.setdefault(record.split, []).append(record.picture)
    return {split: splits[split] for split in SPLITS if split in splits}


def read_records(source: str | Path, language: str | None = None) -> list[Record]:
    """All records of a dataset, in the order of the file, or of the files of a folder.

    An identity may be a number or a name; names are numbered in their order, after the highest
    number. A name of at most 18 digits is this number. In a single JSON file, `id` may be missing
    from all records: each image is an identity of its own then; and `split`: all are to train on.

    Args:
        source: as for `read_annotations`.
        language: of the captions, where `source` is a folder of `{split}_reid_{lang}.json`.

    Raises:
        InputError: as in `read_annotations`, or there are no captions in the language.
    """
    source = Path(source)
    if source.is_dir():
        ending = f"_{language}" if language else ""
        files = {split: source / f"{split}_reid{ending}.json" for split in SPLITS}
        written: Sequence[tuple[str, Mapping[str, Any]]] = [
            (location, _with_split(fields, split, location))
            for split, file in files.items()
            if file.exists()
            for location, fields in _read_list(file)
        ]
        if not written:
            raise InputError(_nothing_in(source, language))
    else:
        if language:
            refuse_languages(source, language)
        written = _read_single(source)
    is_missing = {
        name: source.is_file() and not any(name in _renamed(fields) for _, fields in written)
        for name in ("id", "split")
    }
    people = [
        number if is_missing["id"] else _person(fields, location)
        for number, (location, fields) in enumerate(written)
    ]
    numbers = _number(people)
    split = "train" if is_missing["split"] else None
    return [
        _record(location, fields, split, person, numbers[person])
        for (location, fields), person in zip(written, people, strict=True)
    ]


def _read_single(file: Path) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The location and the fields of each record of a single file."""
    if file.suffix.lower() in caption_table.SUFFIXES:
        return caption_table.read_caption_table(file)
    if file.suffix.lower() != SUFFIX:
        return _read_list(file)
    lines = list(JsonLines(file))
    for location, fields in lines:
        check_pair(fields, location)
    return lines


def check_pair(fields: Mapping[str, Any], location: str) -> None:
    """Check that a record is one of pairs: to train on, without an identity.

    Raises:
        InputError: it is not.
    """
    if "id" in _renamed(fields) or fields.get("split", "train") != "train":
        raise InputError(
            f"{location}: JSON lines are pairs to train on, without `id` and with no `split` but "
            "train; write records with identities or other splits as a list, to a .json file"
        )


def has_identities(records: Sequence[Record]) -> bool:
    """Whether the identities were annotated, and are not just one for each image."""
    return any("id" in _renamed(record.fields) for record in records)


def refuse_languages(source: Path, language: str) -> None:
    """Refuse a language of the captions in a single file.

    Raises:
        InputError: there is the file.
    """
    if source.is_file():
        raise InputError(
            f"data.languages: {source} is a single file; captions by language are read from a "
            f"folder of {{split}}_reid_{{lang}}.json, such as train_reid_{language}.json"
        )


def _with_split(fields: Mapping[str, Any], split: str, location: str) -> Mapping[str, Any]:
    """The fields with the split that the file's name says."""
    written = fields.get("split", split)
    if written != split:
        raise InputError(
            f"{location}: split is {reprlib.repr(written)} in a file of the {split} split; move "
            "the record or correct its split"
        )
    return {**fields, "split": split}


def _nothing_in(folder: Path, language: str | None) -> str:
    """The message about a folder without annotations in the language."""
    files = [file for split in SPLITS for file in folder.glob(f"{split}_reid_*.json")]
    found = ", ".join(sorted({file.stem.split("_reid_")[1] for file in files}))
    if language:
        return (
            f"data.languages: {folder} has no train_reid_{language}.json, nor one for val or test; "
            f"languages found: {found or 'none'}"
        )
    if found:
        return (
            f"data.languages: {folder} has captions by language only ({found}); name the ones to "
            "read, such as data.languages=[en]"
        )
    return (
        f"data.annotation_file: {folder} has no train_reid.json, val_reid.json or test_reid.json; "
        "give a folder with these, or a published annotation file"
    )


def _read_list(file: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """The location and the fields of each record."""
    text = read_annotation_file(file)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise InputError(
            f"data.annotation_file: {file} is not valid JSON ({error}); give the dataset's "
            "annotation file"
        ) from None
    if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
        raise InputError(
            f"data.annotation_file: {file} is not a list of records; give the dataset's annotation "
            "file"
        )
    if not content:
        raise InputError(f"data.annotation_file: {file} lists no images")
    return [(f"{file}, record {number}", record) for number, record in enumerate(content)]


def _person(fields: Mapping[str, Any], location: str) -> int | str:
    """The identity as annotated."""
    person = _renamed(fields).get("id")
    if isinstance(person, float) and person.is_integer():
        person = int(person)
    if isinstance(person, bool) or not isinstance(person, int | str) or person == "":
        raise InputError(f"{location}: `id` is {reprlib.repr(person)}; give a number or a name")
    if isinstance(person, str):
        if not _is_text(person):
            raise InputError(f"{location}: `id` is {reprlib.repr(person)}; give a valid name")
        return caption_table.number_or_name(person)
    if abs(person) >= 10**caption_table.MOST_DIGITS:
        raise InputError(
            f"{location}: `id` has more than {caption_table.MOST_DIGITS} digits; write it as a "
            "name, in quotes"
        )
    return person


def _number(people: Sequence[int | str]) -> dict[int | str, int]:
    """The number of each person: its own, or one after the highest for a name."""
    numbers: dict[int | str, int] = {one: one for one in people if isinstance(one, int)}
    names = sorted({one for one in people if isinstance(one, str)})
    first = max(numbers.values(), default=-1) + 1
    return numbers | {name: number for number, name in enumerate(names, first)}


def _record(
    location: str,
    fields: Mapping[str, Any],
    split: str | None,
    person: int | str,
    identity: int,
) -> Record:
    """The record with these fields; `split` is given if the fields do not say it."""
    split = split or _split(_renamed(fields), location)
    return Record(location, fields, split, person, to_picture(fields, identity, location))


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, also under CUHK-PEDES's names."""
    ours = {FIELD_NAMES[name]: value for name, value in fields.items() if name in FIELD_NAMES}
    return {**ours, **fields}


def _split(record: Mapping[str, Any], location: str) -> str:
    split = record.get("split")
    if split not in SPLITS:
        raise InputError(
            f"{location}: split is {reprlib.repr(split)}, expected one of {', '.join(SPLITS)}"
        )
    return str(split)


def to_picture(fields: Mapping[str, Any], identity: int, location: str) -> TextPicture:
    """The image of a record.

    Raises:
        InputError: a field is missing or malformed.
    """
    record = _renamed(fields)
    path = record.get("file_path")
    if not isinstance(path, str) or not path:
        raise InputError(f"{location}: no `file_path` (`img_path` in RSTPReid) names the image")
    if not _is_path(path):
        raise InputError(f"{location}: no file can have the name {reprlib.repr(path)}; correct it")
    captions = record.get("captions")
    if isinstance(captions, str):
        captions = [captions]
    if not isinstance(captions, list) or not _are_sentences(captions):
        raise InputError(f"{location} ({path}): `captions` is not a list of sentences")
    back = record.get("captions_bt") or []
    if not isinstance(back, list):
        raise InputError(f"{location} ({path}): `captions_bt` is not a list of sentences")
    longest = max(len(text) for text in (*captions, *back) if isinstance(text, str))
    if longest > MOST_CHARACTERS:
        raise InputError(
            f"{location} ({path}): a caption has {longest:,} characters; shorten it to "
            f"{MOST_CHARACTERS:,}"
        )
    paired = [text if isinstance(text, str) and text.strip() else None for text in back]
    paired = paired[: len(captions)] + [None] * (len(captions) - len(paired))
    return TextPicture(path, identity, tuple(captions), tuple(paired))


def _is_path(path: str) -> bool:
    """Whether a file may have this path: other ones make the system's calls fail."""
    if "\0" in path or not _is_text(path):
        return False
    longest = max(len(part.encode()) for part in path.split("/"))
    return longest <= LONGEST_NAME and len(path) <= LONGEST_PATH


def _is_text(text: str) -> bool:
    """Whether it has no lone surrogates, which cannot be printed or written."""
    return text.isascii() or text.encode(errors="replace").decode() == text


def _are_sentences(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, str) for item in items)
