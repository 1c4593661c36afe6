"""Reading every picture of a dataset once, in several processes, for a check of it."""

import hashlib
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from errors import InputError
from misc.datasets.finding import Finding, summarize
from misc.datasets.pictures import read_picture


@dataclass(frozen=True)
class Reading:
    """A digest of a picture's bytes; or the kind of fault and the reason, if training could not
    read it.
    """

    digest: bytes = b""
    fault: str = ""
    reason: str = ""


def read_pictures(
    places: Mapping[str, str], root: Path, workers: int, progress: bool
) -> tuple[list[Finding], dict[str, bytes]]:
    """Which pictures are at fault: those missing with their folder (an example for each folder),
    alone missing, unreadable. Of the others a digest of the bytes, by name.

    Args:
        places: of each picture, by its name from `root` on, what names it; "" where the picture
            tells that itself.
        workers: processes; they do not change the result.
        progress: show a bar, on a terminal only.

    Raises:
        InputError: if there are no workers.
    """
    if workers < 1:
        raise InputError(f"{workers} workers: give at least one")
    absent = _absent_folders(places, root)
    here = [name for name in places if name not in absent]

    faults: dict[str, list[str]] = defaultdict(list)
    digests = {}
    readings = _map([root / name for name in here], workers)
    bar = tqdm(readings, total=len(here), unit=" pictures", disable=None if progress else True)
    for name, reading in zip(here, bar, strict=True):
        if reading.fault:
            place = f"{places[name]}: " if places[name] else ""
            faults[reading.fault].append(f"{place}{reading.reason or name}")
        else:
            digests[name] = reading.digest

    folders = sorted(Counter(absent.values()).items())
    findings = [
        summarize(
            "missing_folder",
            [f"{root / folder}: {number} pictures" for folder, number in folders],
            number=len(absent),
        ),
        *(summarize(kind, faults[kind]) for kind in ("missing_picture", "unreadable_picture")),
    ]
    return findings, digests


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


def _map(files: list[Path], workers: int) -> Iterator[Reading]:
    if workers == 1:
        yield from map(_read, files)
        return
    # Spawned, not forked: a parent that has threads (torch, for one) must not be copied.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_read, files, chunksize=32)


def _read(file: Path) -> Reading:
    if not file.is_file():
        return Reading(fault="missing_picture")
    try:
        read_picture(file)
    except InputError as error:
        return Reading(fault="unreadable_picture", reason=str(error))
    return Reading(hashlib.blake2b(file.read_bytes(), digest_size=16).digest())
