"""An image re-identification dataset on this machine: whom to train on, and whom to look for."""

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
SHOWN = 8  # of the things found where a dataset was expected


@dataclass(frozen=True)
class ReIDDataset:
    """Pictures whose paths are whole.

    Identities are 0, 1, ... in `train`, in the order of the written ones; `query` and `gallery`
    keep the written ones. `cameras` and `views` are how many there can be; `draws` how many
    galleries are drawn from the test pictures, of which `query` and `gallery` are one.
    """

    name: str
    train: Sequence[ReIDPicture]
    query: Sequence[ReIDPicture]
    gallery: Sequence[ReIDPicture]
    cameras: int
    views: int
    draws: int = 1

    @property
    def tells_cameras(self) -> bool:
        """Whether a query's own camera can be left out of the gallery (Zheng et al. 2015)."""
        return self.cameras > 1

    def draw(self, seed: int, number: int) -> tuple[Sequence[ReIDPicture], Sequence[ReIDPicture]]:
        """Queries and gallery number 0, 1, ... of a seed: always the same where none is drawn."""
        if self.draws == 1:
            return self.query, self.gallery
        return draw_gallery((*self.query, *self.gallery), seed, number)

    def describe(self) -> str:
        """Pictures and identities of every split, in one line."""
        counts = ((split, count(getattr(self, split))) for split in SPLITS)
        return "; ".join(
            f"{split} {here.pictures} pictures, {here.identities} identities"
            for split, here in counts
        )


@dataclass(frozen=True)
class ReIDTraining:
    """What several datasets hold to train on together.

    `datasets` are the same with the cameras and views that they have here, for tests of a model
    that knows these; their training identities are those of `pictures`, too.
    """

    pictures: Sequence[ReIDPicture]
    identities: int
    cameras: int
    views: int
    datasets: Sequence[ReIDDataset]


def read_reid(name: str, root: str | Path) -> ReIDDataset:
    """Read a dataset, and say in the log what it holds and where that is not what was published.

    Args:
        name: a key of `PUBLISHED`.
        root: the dataset's own folder, or the one above it.

    Raises:
        InputError: if the dataset is not there, or is not what it should be.
    """
    published, folder, splits = find_reid(name, root)
    every = (*splits.train, *splits.query, *splits.gallery)
    dataset = ReIDDataset(
        published.name,
        _renumbered(splits.train),
        splits.query,
        splits.gallery,
        max(published.cameras, *(picture.camera + 1 for picture in every)),
        splits.views,
        published.draws,
    )
    _report_left_out(splits.left_out)
    log.info("%s (%s): %s", dataset.name, folder, dataset.describe())
    if differences := published.compare_counts(splits):
        log.info("not as %s was published: %s", dataset.name, "; ".join(differences))
    for remark in training_remarks(dataset.train, dataset.tells_cameras):
        log.warning("%s: %s", folder, remark)
    _check_test(dataset, folder)
    return dataset


def find_reid(name: str, root: str | Path) -> tuple[PublishedReIDDataset, Path, ReIDSplits]:
    """As which dataset pictures are read, from which folder, and the pictures.

    Args and errors are those of `read_reid`.
    """
    if name not in PUBLISHED:
        near = difflib.get_close_matches(name.lower(), PUBLISHED, n=1, cutoff=0.0)[0]
        known = ", ".join(PUBLISHED)
        raise InputError(f"unknown dataset {name!r}: did you mean {near}? ({known})")
    published = PUBLISHED[name]
    folder = _find_folder(published, name, Path(root))
    return published, folder, published.read(folder)


def join_reid_training(datasets: Sequence[ReIDDataset]) -> ReIDTraining:
    """The training pictures of all datasets.

    Identities, cameras and views go on counting from dataset to dataset: nobody of one is somebody
    of another.
    """
    identities = cameras = views = 0
    numbered = []
    for dataset in datasets:
        numbered.append(
            replace(
                dataset,
                train=_moved(dataset.train, identities, cameras, views),
                query=_moved(dataset.query, 0, cameras, views),
                gallery=_moved(dataset.gallery, 0, cameras, views),
            )
        )
        identities += count(dataset.train).identities
        cameras += dataset.cameras
        views += dataset.views
    pictures = [picture for dataset in numbered for picture in dataset.train]
    return ReIDTraining(pictures, identities, cameras, views, numbered)


def _moved(
    pictures: Sequence[ReIDPicture], identity: int, camera: int, view: int
) -> list[ReIDPicture]:
    """With identities, cameras and views that start from these."""
    return [
        replace(p, identity=p.identity + identity, camera=p.camera + camera, view=p.view + view)
        for p in pictures
    ]


def _find_folder(published: PublishedReIDDataset, name: str, root: Path) -> Path:
    places = (root, root / PurePath(published.folder).name, root / published.folder)
    for place in places:
        if all((place / content).exists() for content in published.contents):
            return place
    nearest = next(place for place in (*reversed(places), *root.parents) if place.is_dir())
    there = sorted(file.name for file in nearest.iterdir())
    found = ", ".join([*there[:SHOWN], *(["..."] if there[SHOWN:] else [])]) or "nothing"
    raise InputError(
        f"{published.name} is neither in {root} nor in {root / published.folder}, which should "
        f"hold {', '.join(published.contents)} ({nearest} holds {found}); its owners give it out "
        f"on request ({published.source}), and `python -m misc.synthetic --help` draws "
        "pictures in the same layout"
    )


def _renumbered(pictures: Sequence[ReIDPicture]) -> list[ReIDPicture]:
    written = sorted({picture.identity for picture in pictures})
    numbers = {identity: number for number, identity in enumerate(written)}
    return [replace(picture, identity=numbers[picture.identity]) for picture in pictures]


def _report_left_out(left_out: Sequence[LeftOut]) -> None:
    faults: dict[tuple[Path, bool], list[Path]] = defaultdict(list)
    for one in left_out:
        faults[one.file, one.is_there].append(one.path)
    for (file, is_there), paths in faults.items():
        fault = "stand there again" if is_there else "are not there"
        _warn(file, [str(path) for path in paths], f"pictures {fault} and are left out")


def _check_test(dataset: ReIDDataset, folder: Path) -> None:
    """Say in the log which queries nothing in the gallery matches.

    Raises:
        InputError: if nothing matches any of them.
    """
    lost = unmatched_queries(dataset.query, dataset.gallery, dataset.tells_cameras)
    elsewhere = " under another camera" if dataset.tells_cameras else ""
    if len(lost) == len(dataset.query):
        raise InputError(
            f"{folder}: no query shows anyone whom the gallery shows{elsewhere}; take both from "
            "the same dataset"
        )
    _warn(folder, [q.path for q in lost], f"queries have no match in the gallery{elsewhere}")
    both = pictures_in_both(dataset.train, (*dataset.query, *dataset.gallery))
    _warn(folder, [p.path for p in both], "pictures are both trained on and tested with")


def _warn(place: Path, paths: Sequence[str], fault: str) -> None:
    if paths:
        log.warning("%s: %d %s, %s first", place, len(paths), fault, paths[0])
