"""A check of every list and image of a re-identification dataset."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from misc.datasets.finding import Report, summarize
from misc.datasets.people_folder import DIVISION, PeopleDivision
from misc.datasets.picture_reading import read_pictures
from misc.datasets.reid import FoundReID, find_reid
from misc.datasets.reid_faults import (
    identities_in_both,
    pictures_in_both,
    training_remarks,
    unmatched_queries,
)
from misc.datasets.reid_published import (
    SPLITS,
    ReIDPicture,
    ReIDSplits,
    count,
)


def check_reid(
    name: str,
    root: str | Path,
    division: PeopleDivision = DIVISION,
    *,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Read every list and every image.

    Identities that are hard to learn from are a remark, not a fault: training works with them.

    Args:
        name, root, division: as for `read_reid`.
        workers: processes that read images; the report does not depend on it.
        progress: show a progress bar, on a terminal only.

    Raises:
        InputError: the dataset is missing, or a file name or a list is malformed.
    """
    found = find_reid(name, root, division)
    splits, has_cameras = found.splits, found.num_cameras > 1
    test = (*splits.query, *splits.gallery)
    locations = {picture.path: "" for picture in (*splits.train, *test)}
    locations |= {str(one.path): one.location for one in splits.left_out}
    pictures_at_fault, digests = read_pictures(
        locations, Path(), workers=workers, progress=progress
    )

    repeated = [f"{one.location}: {one.path}" for one in splits.left_out if one.is_there]
    lost = unmatched_queries(splits.query, splits.gallery, has_cameras)
    findings = [
        *pictures_at_fault,
        summarize("repeated_picture", repeated),
        summarize("picture_in_train_and_test", _paths(pictures_in_both(splits.train, test))),
        summarize("identity_in_train_and_test", _identities_in_both(found)),
        summarize("unmatched_query", _paths(lost)),
        summarize("identical_pictures", _identical_pictures(splits, digests)),
    ]
    differences = found.compare_counts()
    return Report(
        found.name,
        {split: count(getattr(splits, split)) for split in SPLITS},
        (
            *([differences] if differences else []),
            *training_remarks(splits.train, has_cameras),
        ),
        tuple(finding for finding in findings if finding.number),
    )


def _paths(pictures: list[ReIDPicture]) -> list[str]:
    return [picture.path for picture in pictures]


def _identities_in_both(found: FoundReID) -> list[str]:
    numbered_apart = found.published is not None and found.published.numbered_apart
    pairs = [] if numbered_apart else identities_in_both(found.splits)
    return [
        f"identity {one.identity}: {one.path} (train) and {other.path} (test)"
        for one, other in pairs
    ]


def _identical_pictures(splits: ReIDSplits, digests: Mapping[str, bytes]) -> list[str]:
    """An entry for each set of identical files whose labels differ."""
    labels: dict[bytes, dict[tuple[str, int, int], str]] = defaultdict(dict)
    for side, picture in _sides(splits):
        if digest := digests.get(picture.path):
            label = side, picture.identity, picture.camera
            labels[digest].setdefault(label, picture.path)
    entries = []
    for paths in labels.values():
        (first, path), *others = paths.items()
        other = next((label for label in others if label[1] != path), None)
        if other:
            entries.append(f"{_shown(path, *first)} and {_shown(other[1], *other[0])}")
    return entries


def _sides(splits: ReIDSplits) -> Iterator[tuple[str, ReIDPicture]]:
    yield from (("train", picture) for picture in splits.train)
    yield from (("test", picture) for picture in (*splits.query, *splits.gallery))


def _shown(path: str, side: str, identity: int, camera: int) -> str:
    return f"{path} ({side}, identity {identity}, camera {camera + 1})"
