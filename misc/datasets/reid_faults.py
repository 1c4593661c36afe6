"""Faults of re-identification datasets that can be found without reading the images."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from misc.datasets.reid_published import ReIDPicture, ReIDSplits


def training_remarks(train: Iterable[ReIDPicture], has_cameras: bool) -> list[str]:
    """Sentences on training identities that are hard to learn from."""
    members: dict[int, list[ReIDPicture]] = defaultdict(list)
    for picture in train:
        members[picture.identity].append(picture)
    alone = [own[0] for own in members.values() if len(own) == 1]
    near = [own[0] for own in members.values() if len({p.camera for p in own}) == 1 < len(own)]
    return [
        f"training identities with {fault}: {len(first)} (first: {first[0].path})"
        for first, fault in (
            (alone, "a single image"),
            (near if has_cameras else [], "images of one camera only"),
        )
        if first
    ]


def unmatched_queries(
    query: Iterable[ReIDPicture], gallery: Iterable[ReIDPicture], has_cameras: bool
) -> list[ReIDPicture]:
    """Queries without their identity in the gallery, under another camera if there are cameras."""
    cameras: dict[int, set[int]] = defaultdict(set)
    for picture in gallery:
        cameras[picture.identity].add(picture.camera)
    return [q for q in query if not cameras[q.identity] - ({q.camera} if has_cameras else set())]


def pictures_in_both(
    train: Iterable[ReIDPicture], test: Iterable[ReIDPicture]
) -> list[ReIDPicture]:
    """Test images that are also training images."""
    trained = {picture.path for picture in train}
    return [picture for picture in test if picture.path in trained]


def identities_in_both(splits: ReIDSplits) -> list[tuple[ReIDPicture, ReIDPicture]]:
    """The first training image and the first test image of each identity in both.

    Only meaningful if train and test number their identities together.
    """
    trained, tested = _first(splits.train), _first((*splits.query, *splits.gallery))
    return [(trained[identity], tested[identity]) for identity in trained if identity in tested]


def _first(pictures: Sequence[ReIDPicture]) -> dict[int, ReIDPicture]:
    return {picture.identity: picture for picture in reversed(pictures)}
