"""Image re-identification datasets: training images, queries and gallery."""

import difflib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from errors import InputError
from misc.datasets.dukemtmc import DUKEMTMC
from misc.datasets.market1501 import MARKET1501
from misc.datasets.msmt17 import MSMT17
from misc.datasets.occluded_duke import OCCLUDED_DUKE
from misc.datasets.people_folder import DIVISION, FOLDER, PeopleDivision, read_people
from misc.datasets.reid_faults import pictures_in_both, training_remarks, unmatched_queries
from misc.datasets.reid_published import (
    SPLITS,
    LeftOut,
    PublishedReIDDataset,
    ReIDPicture,
    ReIDSplits,
    count,
)
from misc.datasets.vehicleid import VEHICLEID, VEHICLEID_1600, VEHICLEID_2400, draw_gallery
from misc.datasets.veri776 import VERI776

log = logging.getLogger(__name__)

PUBLISHED = {
    "market1501": MARKET1501,
    "msmt17": MSMT17,
    "dukemtmc": DUKEMTMC,
    "occluded-duke": OCCLUDED_DUKE,
    "veri776": VERI776,
    "vehicleid": VEHICLEID,
    "vehicleid-1600": VEHICLEID_1600,
    "vehicleid-2400": VEHICLEID_2400,
}
SHOWN = 8  # files listed in the message about a missing dataset


@dataclass(frozen=True)
class ReIDDataset:
    """Images of a dataset, with full paths.

    Args:
        train: with identities renumbered 0, 1, ... in the order of the annotated ones.
        query, gallery: with identities as annotated.
        num_draws: galleries drawn at random from the test images; `query` and `gallery` are the
            first draw.
        neutral_view: that of images without a label, if there is one.
    """

    name: str
    train: Sequence[ReIDPicture]
    query: Sequence[ReIDPicture]
    gallery: Sequence[ReIDPicture]
    num_cameras: int
    num_views: int
    num_draws: int = 1
    neutral_view: int | None = None

    @property
    def has_cameras(self) -> bool:
        """Whether a query ignores its identity under its own camera (Zheng et al. 2015)."""
        return self.num_cameras > 1

    def with_viewpoints(self) -> "ReIDDataset":
        """The dataset without the queries and gallery images that have no viewpoint."""
        query, gallery = (
            [picture for picture in pictures if picture.view != self.neutral_view]
            for pictures in (self.query, self.gallery)
        )
        return replace(self, query=query, gallery=gallery)

    def draw(self, seed: int, number: int) -> tuple[Sequence[ReIDPicture], Sequence[ReIDPicture]]:
        """Queries and gallery of draw 0, 1, ...; `query` and `gallery` if there is a single one."""
        if self.num_draws == 1:
            return self.query, self.gallery
        return draw_gallery((*self.query, *self.gallery), seed, number)

    def describe(self) -> str:
        """The sizes of the splits, in one line."""
        return "; ".join(f"{split} {count(getattr(self, split))}" for split in SPLITS)


@dataclass(frozen=True)
class ReIDTraining:
    """The joint training set of several datasets, which share no identity, camera or view.

    Args:
        datasets: the same datasets, with cameras, views and training identities numbered as in
            `pictures`, to test a model that was trained with these numbers.
    """

    pictures: Sequence[ReIDPicture]
    num_identities: int
    num_cameras: int
    num_views: int
    datasets: Sequence[ReIDDataset]


@dataclass(frozen=True)
class FoundReID:
    """The images of a dataset, as annotated, and the folder that it was found in.

    Args:
        published: None for a folder of people.
    """

    folder: Path
    splits: ReIDSplits
    published: PublishedReIDDataset | None = None

    @property
    def name(self) -> str:
        """The published name, or the folder's."""
        return self.published.name if self.published else self.folder.resolve().name

    @property
    def num_cameras(self) -> int:
        """The published number, or that of the images if it is higher."""
        pictures = (*self.splits.train, *self.splits.query, *self.splits.gallery)
        published = self.published.num_cameras if self.published else 1
        return max(published, *(picture.camera + 1 for picture in pictures))

    def compare_counts(self) -> str:
        """One sentence on the sizes that differ from the published ones; empty if there is none."""
        return self.published.compare_counts(self.splits) if self.published else ""


def read_reid(name: str, root: str | Path, division: PeopleDivision = DIVISION) -> ReIDDataset:
    """Read a dataset, and log its sizes, how they differ from the published ones, and its faults.

    Args:
        name: a key of `PUBLISHED`, or `FOLDER`.
        root: the dataset's folder, or its parent; for `FOLDER`, the folder of people.
        division: of a folder of people.

    Raises:
        InputError: the dataset is missing or malformed.
    """
    found = find_reid(name, root, division)
    folder, splits = found.folder, found.splits
    dataset = ReIDDataset(
        found.name,
        _renumbered(splits.train),
        splits.query,
        splits.gallery,
        found.num_cameras,
        splits.num_views,
        found.published.num_draws if found.published else 1,
        splits.neutral_view,
    )
    _report_left_out(splits.left_out)
    log.info("%s (%s): %s", dataset.name, folder, dataset.describe())
    if differences := found.compare_counts():
        log.info(differences)
    for remark in training_remarks(dataset.train, dataset.has_cameras):
        log.warning("%s: %s", folder, remark)
    _check_test_images(dataset, folder)
    return dataset


def find_reid(name: str, root: str | Path, division: PeopleDivision = DIVISION) -> FoundReID:
    """The images of a dataset, found in or below `root`.

    Arguments and errors are those of `read_reid`.
    """
    if name == FOLDER:
        return FoundReID(Path(root), read_people(Path(root), division))
    if name not in PUBLISHED:
        known = (*PUBLISHED, FOLDER)
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)[0]
        raise InputError(f"unknown dataset {name!r}: did you mean {near}? ({', '.join(known)})")
    published = PUBLISHED[name]
    folder = _find_folder(published, Path(root))
    return FoundReID(folder, published.read(folder), published)


def join_reid_training(datasets: Sequence[ReIDDataset]) -> ReIDTraining:
    """Join the training images of all datasets.

    Each dataset's identities, cameras and views are numbered after those of the datasets before.
    """
    identities = cameras = views = 0
    numbered = []
    for dataset in datasets:
        numbered.append(
            replace(
                dataset,
                train=_shifted(dataset.train, identities, cameras, views),
                query=_shifted(dataset.query, 0, cameras, views),
                gallery=_shifted(dataset.gallery, 0, cameras, views),
                neutral_view=None if dataset.neutral_view is None else dataset.neutral_view + views,
            )
        )
        identities += count(dataset.train).identities
        cameras += dataset.num_cameras
        views += dataset.num_views
    pictures = [picture for dataset in numbered for picture in dataset.train]
    return ReIDTraining(pictures, identities, cameras, views, numbered)


def _shifted(
    pictures: Sequence[ReIDPicture], identity: int, camera: int, view: int
) -> list[ReIDPicture]:
    """The images with these offsets added to identity, camera and view."""
    return [
        replace(p, identity=p.identity + identity, camera=p.camera + camera, view=p.view + view)
        for p in pictures
    ]


def _find_folder(published: PublishedReIDDataset, root: Path) -> Path:
    folders = (root, root / PurePath(published.folder).name, root / published.folder)
    for folder in folders:
        if all((folder / content).exists() for content in published.contents):
            return folder
    nearest = next(folder for folder in (*reversed(folders), *root.parents) if folder.is_dir())
    files = sorted(file.name for file in nearest.iterdir())
    found = ", ".join([*files[:SHOWN], *(["..."] if files[SHOWN:] else [])]) or "nothing"
    raise InputError(
        f"{published.name} not found in {root} or {root / published.folder}: expected "
        f"{', '.join(published.contents)}, but {nearest} contains {found}; request the dataset "
        f"from its authors ({published.source}), or draw synthetic images in the same layout with "
        "`python -m misc.synthetic`"
    )


def _renumbered(pictures: Sequence[ReIDPicture]) -> list[ReIDPicture]:
    annotated = sorted({picture.identity for picture in pictures})
    numbers = {identity: number for number, identity in enumerate(annotated)}
    return [replace(picture, identity=numbers[picture.identity]) for picture in pictures]


def _report_left_out(left_out: Sequence[LeftOut]) -> None:
    faults: dict[tuple[Path, bool], list[Path]] = defaultdict(list)
    for one in left_out:
        faults[one.file, one.is_there].append(one.path)
    for (file, is_there), paths in faults.items():
        fault = "repeated" if is_there else "missing"
        _warn(file, f"skipped {fault} images", [str(path) for path in paths])


def _check_test_images(dataset: ReIDDataset, folder: Path) -> None:
    """Log queries without a match in the gallery, and test images that are also training images.

    Raises:
        InputError: no query has a match.
    """
    lost = unmatched_queries(dataset.query, dataset.gallery, dataset.has_cameras)
    elsewhere = " under another camera" if dataset.has_cameras else ""
    if len(lost) == len(dataset.query):
        raise InputError(
            f"{folder}: no query has its identity in the gallery{elsewhere}; take both from the "
            "same dataset"
        )
    _warn(folder, f"queries without a match in the gallery{elsewhere}", [q.path for q in lost])
    both = pictures_in_both(dataset.train, (*dataset.query, *dataset.gallery))
    _warn(folder, "images in both train and test", [p.path for p in both])


def _warn(source: Path, fault: str, paths: Sequence[str]) -> None:
    if paths:
        log.warning("%s: %s: %d (first: %s)", source, fault, len(paths), paths[0])
