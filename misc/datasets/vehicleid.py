"""VehicleID (Liu et al., CVPR 2016): vehicles without camera labels, and random galleries.

The test lists have 800, 1600 and 2400 vehicles. One image of each vehicle, drawn at random, is the
gallery, the others are the queries; results are averaged over ten draws.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from misc.datasets.counts import Count
from misc.datasets.msmt17 import Listed, read_lists
from misc.datasets.reid_published import PublishedReIDDataset, ReIDPicture, ReIDSplits
from misc.runtime.seeding import Purpose, generator


def read_vehicleid(folder: Path, size: int) -> ReIDSplits:
    """Read the splits, with the first gallery of seed 0.

    Args:
        size: of the test list: 800, 1600 or 2400.
    """

    def read(name: str) -> Listed:
        file = folder / "train_test_split" / name
        return read_lists((file,), lambda name: folder / "image" / f"{name}.jpg")

    listed = read("train_list.txt"), read(f"test_list_{size}.txt")
    train, test = (
        [ReIDPicture(str(path), identity) for path, identity in part.identities.items()]
        for part in listed
    )
    left_out = [one for part in listed for one in part.left_out]
    return ReIDSplits(train, *draw_gallery(test, seed=0, draw=0), left_out=left_out)


def draw_gallery(
    pictures: Iterable[ReIDPicture], seed: int, draw: int
) -> tuple[list[ReIDPicture], list[ReIDPicture]]:
    """Draw a gallery of one image per identity; the other images are the queries.

    The result does not depend on the order of the images.
    """
    members: dict[int, list[ReIDPicture]] = defaultdict(list)
    for picture in sorted(pictures, key=lambda picture: picture.path):
        members[picture.identity].append(picture)
    rng = generator(seed, Purpose.GALLERY, draw)
    gallery = [own.pop(int(rng.integers(len(own)))) for _, own in sorted(members.items())]
    return [picture for own in members.values() for picture in own], gallery


def _published(size: int) -> PublishedReIDDataset:
    lists = ("train_list.txt", f"test_list_{size}.txt")
    return PublishedReIDDataset(
        name=f"VehicleID ({size})",
        folder="VehicleID_V1.0",
        contents=("image", *(f"train_test_split/{name}" for name in lists)),
        source=(
            "Liu et al., Deep Relative Distance Learning: Tell the Difference Between Similar "
            "Vehicles, CVPR 2016"
        ),
        num_cameras=1,
        counts={"train": Count(113346, 13164), "gallery": Count(size, size)},
        read=partial(read_vehicleid, size=size),
        num_draws=10,
    )


VEHICLEID, VEHICLEID_1600, VEHICLEID_2400 = map(_published, (800, 1600, 2400))
