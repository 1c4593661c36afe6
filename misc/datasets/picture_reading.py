"""Reading of all images of a dataset, in several processes, to find missing and broken ones."""

import hashlib
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from errors import InputError
from misc.datasets.finding import Finding, summarize
from misc.datasets.pictures import BadPicture, decode_picture, read_content


@dataclass(frozen=True)
class Reading:
    """Digest of an image file, or the kind of fault and its reason if it cannot be read."""

    digest: bytes = b""
    fault: str = ""
    reason: str = ""


def read_pictures(
    locations: Mapping[str, str], root: Path, *, workers: int, progress: bool
) -> tuple[list[Finding], dict[str, bytes]]:
    """Read all images of a dataset.

    Args:
        locations: by image path relative to `root`, the record that lists the image, for messages;
            "" if none does.
        workers: processes; the result does not depend on it.
        progress: show a progress bar, on a terminal only.

    Returns:
        The findings (missing with their folder, one example per folder; missing; unreadable), and
        digests of the readable files by path.

    Raises:
        InputError: `workers` is less than 1.
    """
    if workers < 1:
        raise InputError(f"workers={workers}: give at least 1")
    absent = _absent_folders(locations, root)
    here = [name for name in locations if name not in absent]

    faults: dict[str, list[str]] = defaultdict(list)
    digests = {}
    readings = _map([root / name for name in here], workers)
    bar = tqdm(readings, total=len(here), unit=" images", disable=None if progress else True)
    for name, reading in zip(here, bar, strict=True):
        if reading.fault:
            location = f"{locations[name]}: " if locations[name] else ""
            faults[reading.fault].append(f"{location}{reading.reason or name}")
        else:
            digests[name] = reading.digest

    folders = sorted(Counter(absent.values()).items())
    findings = [
        summarize(
            "missing_folder",
            [f"{root / folder}: {number} images" for folder, number in folders],
            number=len(absent),
        ),
        *(summarize(kind, faults[kind]) for kind in ("missing_picture", "unreadable_picture")),
    ]
    return findings, digests


def _absent_folders(names: Iterable[str], root: Path) -> dict[str, PurePosixPath]:
    """Images whose folder is missing, each with the topmost missing folder."""
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
    # Spawn, since forking a process that has threads (torch starts some) is unsafe.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_read, files, chunksize=32)


def _read(file: Path) -> Reading:
    if not file.exists():
        return Reading(fault="missing_picture")
    try:
        content = read_content(file)
        decode_picture(content, file)
    except BadPicture as error:
        return Reading(fault="unreadable_picture", reason=str(error))
    return Reading(hashlib.blake2b(content, digest_size=16).digest())
