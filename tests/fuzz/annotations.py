"""Annotation files of every format, with hostile values, damaged structure and damaged bytes.

What is read has as many records, captions and people as another reader of the same file finds.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from errors import InputError
from misc.datasets.check_text import check_text
from misc.datasets.text_annotations import Record, read_records
from text_utils.tokenizer import ClipTokenizer

COUNT = 4000
SAMPLE = 200

WORDS = ("a", "man", "woman", "in", "red", "coat,", "with", "bag.", "\u4e00\u4e2a", "\u00fc")
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.0, 1.7, -0.0, 1e30, 10**18, 10**4000, float("nan"), float("inf")),
    *("", " ", "7", "007", "\0", "\ud800", "x" * 300, "x" * 10**5, "../../etc/passwd", "/dev/zero"),
    *("a\nb", "\u202e", "\ufdfa" * 9000, "a" + "\u0301\u0316" * 4000, "{}", "train", "NaN"),
    *([], {}, [[]], [None], ["a", 1], {"a": {}}, ["\udfff man"], [""], [" "], ["."], ["a "] * 500),
)
SPLITS = ("train", "val", "test")
DEEP = 100_000


def case(random: Random, folder: Path) -> None:
    """A file of some format, damaged in some way."""
    records = drawn(random)
    layout, damage = random.choice([(lay, way) for lay, ways in LAYOUTS.items() for way in ways])
    if layout is by_split:
        records = [{**record, "split": "train"} for record in records]
    source = layout(damage(random, records), folder)
    root = folder / "images"
    root.mkdir()
    Image.new("RGB", (2, 2)).save(root / "0.png")
    try:
        found = read_records(source)
    except InputError as error:
        if "\n" in str(error) or len(str(error)) >= 2000:
            raise AssertionError(f"no sentence: {str(error)[:200]!r}") from None
        raise
    compare(found, source)
    report = check_text(source, root)
    json.dumps(asdict(report), ensure_ascii=False).encode()
    str(report).encode()
    captions = [caption for record in found for caption in record.picture.captions]
    assert len(tokenizer()(captions)) == len(captions)


@cache
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer()


def drawn(random: Random) -> list[dict[str, Any]]:
    """Good records, under one dataset's names of the fields."""
    path = random.choice(["file_path", "img_path"])
    names = random.random() < 0.3
    records = []
    for number in range(random.randrange(1, 7)):
        person = random.randrange(4)
        captions = [" ".join(random.choices(WORDS, k=random.randrange(1, 9))) for _ in range(2)]
        records.append(
            {
                "split": random.choice(SPLITS),
                path: f"{number}.png",
                "id": f"person {person}" if names else person,
                "captions": captions,
            }
        )
    return records


def compare(found: Sequence[Record], source: Path) -> None:
    """Compare with a plain reading of the same file."""
    if source.suffix == ".csv":
        text = source.read_bytes().decode("utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        header, *lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        column = [cell.strip().lower() for cell in header].index("path")
        paths = [cells[column].strip() for cells in lines if any(cell.strip() for cell in cells)]
        assert [record.picture.path for record in found] == list(dict.fromkeys(paths))
        assert sum(len(record.picture.captions) for record in found) == len(paths)
        return
    files = [source] if source.is_file() else [source / f"{split}_reid.json" for split in SPLITS]
    contents = [file.read_bytes().decode("utf-8-sig") for file in files if file.exists()]
    if source.suffix == ".jsonl":
        written = [json.loads(line) for line in contents[0].rstrip().split("\n")]
    else:
        written = [record for content in contents for record in json.loads(content)]
    assert len(found) == len(written)
    for record, fields in zip(found, written, strict=True):
        captions = fields["captions"]
        assert [*record.picture.captions] == ([captions] if isinstance(captions, str) else captions)
        assert record.picture.path == fields.get("file_path", fields.get("img_path"))
        assert fields.get("split", record.split) == record.split
    people = {json.dumps(_plain(fields["id"])) for fields in written if "id" in fields}
    people = people or {json.dumps(number) for number in range(len(written))}
    assert len({record.picture.identity for record in found}) == len(people)


def _plain(person: Any) -> Any:
    """The number that a float or a string of digits stands for."""
    is_number = isinstance(person, float) or (person.isdecimal() if isinstance(person, str) else 0)
    return int(person) if is_number else person


def hostile_value(random: Random, records: list[dict[str, Any]]) -> bytes:
    """Some fields with values that no dataset has, or without a value."""
    for _ in range(random.choice([1, 1, 3])):
        record = random.choice(records)
        key = random.choice([*record, "captions_bt", "file_path", "processed_tokens"])
        if random.random() < 0.2:
            record.pop(key, None)
        else:
            record[key] = random.choice(HOSTILE)
    return dump(records)


def hostile_structure(random: Random, records: list[dict[str, Any]]) -> bytes:
    text = dump(records).decode()
    value = json.dumps(random.choice(HOSTILE[:9] + HOSTILE[14:]))
    return random.choice(
        [
            value,
            f"[{value}]",
            text[:-1] + f",{value}]",
            f'{{"annotations": {text}}}',
            text[:-2] + ', "id": 3, "id": 4}]',
            text[:-2] + ', "x": ' + "9" * 5000 + "}]",
            text[:-2] + ', "x": ' + "[" * DEEP + "]" * DEEP + "}]",
            '{"a":' * DEEP,
            text + text,
            text[: random.randrange(len(text))],
        ]
    ).encode()


def flipped(random: Random, records: list[dict[str, Any]]) -> bytes:
    return flip(random, dump(records, ensure_ascii=random.random() < 0.5))


def flip(random: Random, content: bytes) -> bytes:
    """Some bytes changed, removed, repeated or inserted."""
    damaged = bytearray(content)
    for _ in range(random.choice([1, 1, 1, 4, 20])):
        start = random.randrange(len(damaged) + 1)
        stop = start + random.choice([0, 1, 1, 1, 9])
        damaged[start:stop] = random.choice(
            [random.randbytes(1), b"", b"\0", damaged[start:stop] * 2]
        )
    return bytes(damaged)


def recoded(random: Random, records: list[dict[str, Any]]) -> bytes:
    return recode(random, dump(records))


def recode(random: Random, content: bytes) -> bytes:
    """The same text in another encoding, or compressed."""
    if random.random() < 0.2:
        return gzip.compress(content)
    encodings = ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1"]
    return content.decode().encode(random.choice(encodings), errors="replace")


def table(records: Sequence[dict[str, Any]], separator: str = ",") -> bytes:
    text = io.StringIO(newline="")
    rows = csv.writer(text, delimiter=separator)
    rows.writerow(["path", "caption", "id", "split"])
    for record in records:
        path = record.get("file_path", record.get("img_path"))
        for caption in record["captions"]:
            rows.writerow([path, caption, record["id"], record["split"]])
    return text.getvalue().encode()


def hostile_table(random: Random, records: list[dict[str, Any]]) -> bytes:
    text = table(records, random.choice(",;\t")).decode()
    lines = text.splitlines()
    number = random.randrange(len(lines))
    cells = lines[number].split(random.choice(",;\t"))
    value = str(random.choice(HOSTILE)).encode(errors="replace").decode()
    cells[random.randrange(len(cells))] = random.choice([value, f'"{value}', f'"{value}"'])
    lines[number] = ",".join(cells)
    return random.choice(["\n", "\r\n", "\r"]).join(lines).encode()


def flipped_table(random: Random, records: list[dict[str, Any]]) -> bytes:
    return flip(random, table(records))


def recoded_table(random: Random, records: list[dict[str, Any]]) -> bytes:
    return recode(random, table(records))


def pairs(random: Random, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records without identities, to train on, or most of them."""
    kept = random.random() < 0.1
    return [{k: v for k, v in r.items() if kept or k not in ("id", "split")} for r in records]


def hostile_lines(random: Random, records: list[dict[str, Any]]) -> bytes:
    """Records a line each, some with hostile values, some cut or joined."""
    damaged = json.loads(hostile_value(random, pairs(random, records)))
    lines = [dump(record) for record in damaged]
    number = random.randrange(len(lines))
    lines[number] = random.choice([lines[number]] * 4 + [b"", b" ", lines[number][:-9], b"[1]"])
    return random.choice([b"\n", b"\n", b"\r\n", b"\r", b""]).join([*lines, b""])


def flipped_lines(random: Random, records: list[dict[str, Any]]) -> bytes:
    return flip(random, b"\n".join(dump(record) for record in pairs(random, records)))


def recoded_lines(random: Random, records: list[dict[str, Any]]) -> bytes:
    return recode(random, b"\n".join(dump(record) for record in pairs(random, records)))


def dump(records: object, *, ensure_ascii: bool = True) -> bytes:
    return json.dumps(records, ensure_ascii=ensure_ascii).encode(errors="replace")


def single(content: bytes, folder: Path) -> Path:
    file = folder / "reid_raw.json"
    file.write_bytes(content)
    return file


def by_split(content: bytes, folder: Path) -> Path:
    """A folder with the file for `train`, next to a good one for `test`."""
    (folder / "train_reid.json").write_bytes(content)
    good = {"file_path": "test.png", "id": 99, "captions": ["a man"]}
    (folder / "test_reid.json").write_bytes(dump([good]))
    return folder


def spreadsheet(content: bytes, folder: Path) -> Path:
    file = folder / "captions.csv"
    file.write_bytes(content)
    return file


def by_line(content: bytes, folder: Path) -> Path:
    file = folder / "pairs.jsonl"
    file.write_bytes(content)
    return file


Damage = Callable[[Random, list[dict[str, Any]]], bytes]
LAYOUTS: dict[Callable[[bytes, Path], Path], tuple[Damage, ...]] = {
    single: (hostile_value, hostile_value, hostile_structure, flipped, recoded),
    by_split: (hostile_value, hostile_structure, flipped),
    by_line: (hostile_lines, hostile_lines, flipped_lines, recoded_lines),
    spreadsheet: (hostile_table, hostile_table, flipped_table, recoded_table),
}
