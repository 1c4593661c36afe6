"""What is wrong with a re-identification dataset, as far as names and lists tell.

Reading a dataset to train with it says so in the log, a check of it says more.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from misc.datasets.reid_published import ReIDPicture, ReIDSplits


def training_remarks(train: Iterable[ReIDPicture], tells_cameras: bool) -> list[str]:
    """Sentences on who is hard to learn from, which is no fault."""
    members: dict[int, list[ReIDPicture]] = defaultdict(list)
    for picture in train:
        members[picture.identity].append(picture)
    alone = [own[0] for own in members.values() if len(own) == 1]
    near = [own[0] for own in members.values() if len({p.camera for p in own}) == 1 < len(own)]
    return [
        f"{len(first)} training identities {fault}, {first[0].path} first"
        for first, fault in (
            (alone, "have one picture"),
            (near if tells_cameras else [], "are seen by one camera"),
        )
        if first
    ]


def unmatched_queries(
    query: Iterable[ReIDPicture], gallery: Iterable[ReIDPicture], tells_cameras: bool
) -> list[ReIDPicture]:
    """Those whose identity the gallery does not show, under another camera if there are cameras."""
    cameras: dict[int, set[int]] = defaultdict(set)
    for picture in gallery:
        cameras[picture.identity].add(picture.camera)
    return [q for q in query if not cameras[q.identity] - ({q.camera} if tells_cameras else set())]


def pictures_in_both(
    train: Iterable[ReIDPicture], test: Iterable[ReIDPicture]
) -> list[ReIDPicture]:
    """The test pictures that are trained on, too."""
    trained = {picture.path for picture in train}
    return [picture for picture in test if picture.path in trained]


def identities_in_both(splits: ReIDSplits) -> list[tuple[ReIDPicture, ReIDPicture]]:
    """A training picture and a test picture of each, the first ones; for splits that are numbered
    together.
    """
    trained, tested = _first(splits.train), _first((*splits.query, *splits.gallery))
    return [(trained[identity], tested[identity]) for identity in trained if identity in tested]


def _first(pictures: Sequence[ReIDPicture]) -> dict[int, ReIDPicture]:
    return {picture.identity: picture for picture in reversed(pictures)}
