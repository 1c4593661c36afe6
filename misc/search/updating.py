"""An update of an index: the pictures of a folder against the rows of its table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from re import Pattern

import numpy as np
from tqdm import tqdm

from errors import InputError
from misc.datasets.pictures import read_picture
from misc.retrieval.base import Loading
from misc.search.footage.records import CROPS_FILE, CropRecord, read_crops
from misc.search.listing import FoundFile, Listing, is_text, list_pictures
from misc.search.path_fields import read_camera, read_time
from misc.search.person_search import PersonSearch
from misc.search.picture_batches import PictureFiles, digest
from misc.search.streaming import Rows, encode_files
from misc.search.table import PictureTable, Row

# Commits before the first compaction, and most between two. Each commit makes a small file, and a
# compaction rewrites all that is not yet in files of Lance's full size, a million rows.
COMPACTION, RARELY = 200, 2000


@dataclass
class Update:
    """The numbers of pictures that an update added, changed, dropped and left as they were, and
    the files that could not be read, each with the reason, and the links to folders, which are not
    followed.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    unreadable: list[str] = field(default_factory=list)
    folder_links: Sequence[str] = ()

    @property
    def encoded(self) -> int:
        """Pictures that were encoded."""
        return self.added + self.changed

    def __str__(self) -> str:
        counts = {
            "added": self.added,
            "changed": self.changed,
            "removed": self.removed,
            "unchanged": self.unchanged,
            "unreadable": len(self.unreadable),
        }
        return ", ".join(f"{number:,} {what}" for what, number in counts.items())


@dataclass(frozen=True)
class PathPatterns:
    """Regular expressions that read a camera's number and a time out of paths."""

    camera: Pattern[str] | None = None
    time: Pattern[str] | None = None


@dataclass(frozen=True)
class Plan:
    """The work of an update.

    Args:
        encode: rows without a hash, of new files first, then of changed ones.
        new: number of new files.
        describe: rows whose feature stays, but whose metadata have changed.
        remove: paths of files that are gone.
        unreadable: reasons why files are left out from the start.
        folder_links: paths of links to folders, which are left out.
    """

    encode: Sequence[Row]
    new: int
    describe: Sequence[Row]
    remove: Sequence[str]
    unchanged: int
    unreadable: Sequence[str] = ()
    folder_links: Sequence[str] = ()


def plan_update(folder: Path, known: Mapping[str, Row], patterns: PathPatterns) -> Plan:
    """Compare the pictures of a folder with the rows of an index.

    A file of the same size and time is taken for unchanged; of any other the content decides.

    Args:
        known: rows by path, of this folder and others.

    Raises:
        InputError: the folder has no pictures, or what a pattern finds is no camera or time.
    """
    listing, top = list_pictures(folder), folder.resolve()
    files = [file for file in listing.files if is_text(file.path)]
    records = _read_records(files)
    new, changed, described = [], [], []
    for file in files:
        name = Path(file.path).relative_to(top.parent)
        row, before = _row(file, name, patterns, records.get(file.path)), known.get(file.path)
        if before is None:
            new.append(row)
        elif _is_same_file(file, before):
            row["hash"] = before["hash"]
            if row != before:
                described.append(row)
        else:
            changed.append(row)
    above = f"{top.as_posix().rstrip('/')}/"
    here = {file.path for file in files}
    gone = [path for path in known if path.startswith(above) and path not in here]
    unchanged = len(files) - len(new) - len(changed)
    unreadable, links = _left_out(listing), listing.folder_links
    return Plan([*new, *changed], len(new), described, gone, unchanged, unreadable, links)


def _left_out(listing: Listing) -> list[str]:
    """The reasons why files are not even tried."""
    nameless = [
        f"image {file.path!r} has a name that is not UTF-8; rename it"
        for file in listing.files
        if not is_text(file.path)
    ]
    dead = [f"link {path} leads nowhere; mend or remove it" for path in listing.dead_links]
    return [*nameless, *dead]


def _is_same_file(file: FoundFile, before: Row) -> bool:
    if file.size != before["size"] or file.modified == before["modified"]:
        return bool(file.size == before["size"])
    try:
        return digest(Path(file.path).read_bytes()).hex() == before["hash"]
    except OSError:
        return False  # encoding it gives the reason


def _row(
    file: FoundFile, name: Path, patterns: PathPatterns, record: CropRecord | None
) -> dict[str, object]:
    """The row of a file, without its hash; a crop's record overrides what its path tells.

    Args:
        name: the path from the folder's own name on: the folders above have nothing to say.
    """
    row: dict[str, object] = {
        "path": file.path,
        "size": file.size,
        "modified": file.modified,
        "hash": None,
        "camera": read_camera(patterns.camera, name),
        "time": read_time(patterns.time, name),
        **dict.fromkeys(("video", "frame", "seconds", "box", "track")),
    }
    if record is not None:
        own = {name: getattr(record, name) for name in row if hasattr(record, name)}
        del own["path"]
        row |= {name: value for name, value in own.items() if value is not None}
        row["box"] = list(record.box)
    return row


def _read_records(files: Sequence[FoundFile]) -> dict[str, CropRecord]:
    """The records of the crops among some files, by path; they may lie in any folder above."""
    parents = {Path(file.path).parent for file in files}
    folders = {above for parent in parents for above in (parent, *parent.parents)}
    records: dict[str, CropRecord] = {}
    for each in sorted(folders):
        if (each / CROPS_FILE).is_file():
            found = read_crops(each / CROPS_FILE)
            records |= {path.as_posix(): record for path, record in found.items()}
    return records


def apply(plan: Plan, table: PictureTable, people: PersonSearch, loading: Loading) -> Update:
    """Carry out a plan in all processes, of which the main one writes.

    Every batch is one commit: an interruption loses the current batch only.

    Raises:
        InputError: the model's features are not finite, or the index cannot be written.
    """
    is_main, update = (
        people.processes.is_main,
        Update(
            unchanged=plan.unchanged,
            unreadable=[*plan.unreadable],
            folder_links=plan.folder_links,
        ),
    )
    if is_main:
        table.remove(plan.remove)
        if plan.describe:
            table.replace(plan.describe)
        update.removed = len(plan.remove)
    paths = [Path(row["path"]) for row in plan.encode]
    stream = encode_files(
        PictureFiles(paths, people.encoder.transform),
        people.encoder,
        processes=people.processes,
        precision=people.precision,
        loading=loading,
    )
    commits, due, first = 0, COMPACTION, 0
    bar = tqdm(total=len(paths), unit=" pictures", disable=None if is_main else True)
    with bar:
        for encoded in stream:
            number = len(encoded.features)
            if is_main:
                _write(plan, first, encoded, table, update)
                commits += 1
                if commits == due:
                    table.compact()
                    due += min(due, RARELY)
            first += number
            bar.update(number)
    if is_main:
        table.compact()  # without changes, too: it frees the room of old versions
    return people.processes.share(update)


def _write(plan: Plan, first: int, encoded: Rows, table: PictureTable, update: Update) -> None:
    """Commit one batch of files, the `first` of which has this number in the plan."""
    features, digests = encoded.features.numpy(), encoded.digests.numpy()
    readable = encoded.readable.bool().numpy()
    if not np.isfinite(features[readable]).all():
        raise InputError(
            "the model's features are not finite, since its training has diverged; give another"
        )
    numbers = first + np.arange(len(features))
    for is_new in (True, False):
        chosen = np.flatnonzero(readable & ((numbers < plan.new) == is_new))
        rows = [
            {**plan.encode[first + index], "hash": digests[index].tobytes().hex()}
            for index in chosen.tolist()
        ]
        if rows:
            (table.add if is_new else table.replace)(rows, features[chosen])
        if is_new:
            update.added += len(rows)
        else:
            update.changed += len(rows)
    broken = [plan.encode[number]["path"] for number in numbers[~readable].tolist()]
    table.remove(broken)  # their old features no longer describe them
    update.unreadable += map(_reason, broken)


def _reason(path: str) -> str:
    """Why a file could not be read."""
    try:
        read_picture(Path(path))
    except InputError as error:
        return str(error)
    return f"image {path} could not be read just now; run the same command again"
