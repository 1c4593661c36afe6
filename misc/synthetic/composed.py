"""A synthetic dataset of composed queries: a picture of a person, and words that change the outfit.

Its files are those of ITCPR (Liu et al. 2023, arXiv 2311.16515), `query.json` and `gallery.json`,
with a `split` in each record. The gallery has pictures of the changed outfits, which are searched
for, of the same people without the change, and of other people with the same change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import ClassVar, NamedTuple

from numpy.random import Generator
from tqdm import tqdm

from misc.runtime.picture_writing import write_picture
from misc.synthetic.drawing_plan import DiskLayout, DrawingPlan
from misc.synthetic.pedestrians.attributes import Person, draw_identity
from misc.synthetic.pedestrians.cameras import Camera, draw_camera
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.changes import (
    Change,
    describe_change,
    draw_changes,
    draw_stranger,
)
from misc.synthetic.pedestrians.drawing import draw_picture
from misc.synthetic.pedestrians.shots import Shot, draw_shot, draw_size
from misc.synthetic.writing import Count, map_jobs, write_json, write_once

COMPOSED_LAYOUTS = {
    "composed": DiskLayout("composed", splits=("train", "val", "test"), first_id=1, cameras=6)
}
CHANGES = 2  # of each person, one at a time
CAPTIONS = 2  # of each change
UNMATCHED = -1  # the instance of pictures that no query searches for
# Increase it when the same arguments give different files; existing datasets are checked for it.
VERSION = 1

Record = dict[str, str | int]
Job = tuple[Path, "ComposedPlan", str, int]


@dataclass(frozen=True)
class ComposedPlan(DrawingPlan):
    """Arguments of a dataset; `images` is of each outfit of a person."""

    layouts: ClassVar[Mapping[str, DiskLayout]] = COMPOSED_LAYOUTS
    fewest_images: ClassVar[int] = 2

    version: int = VERSION


class Records(NamedTuple):
    """Queries and gallery of a person or of all."""

    queries: list[Record]
    gallery: list[Record]


@dataclass(frozen=True)
class WrittenComposed:
    """Folder and sizes, by split: people, images, and `captions`, which is the queries."""

    root: Path
    counts: Mapping[str, Count]


def write_composed_dataset(
    output: Path,
    *,
    identities: Mapping[str, int],
    images: tuple[int, int] = (2, 4),
    seed: int = 0,
    height: tuple[int, int] = (96, 256),
    difficulty: float = 0.5,
    workers: int = 1,
    progress: bool = False,
) -> WrittenComposed:
    """Write a dataset to `output/composed`, or reuse it, as `write_dataset` does.

    Args:
        identities: number in `train`, `val` and `test`, which share none.
        images: range of images of each outfit of a person, at least 2: the person as in the query,
            of which the first image is the query's and not in the gallery, and after each change.
        difficulty: 0 to 1: look-alikes, camera differences, occlusion.

    Raises:
        InputError: as `write_dataset` does.
    """
    plan = ComposedPlan("composed", dict(identities), images, seed, height, difficulty)
    return draw_composed_dataset(plan, output, workers, progress)


def draw_composed_dataset(
    plan: ComposedPlan, output: Path, workers: int, progress: bool
) -> WrittenComposed:
    """Write the dataset of a plan, as `write_composed_dataset` does."""
    return WrittenComposed(*write_once(plan, output, _write, workers, progress))


def _write(root: Path, plan: ComposedPlan, workers: int, progress: bool) -> dict[str, Count]:
    jobs = [(root, plan, split, identity) for split, identity in plan.owners()]
    drawn = map_jobs(_write_person, jobs, workers)
    bar = tqdm(drawn, total=len(jobs), unit=" identities", disable=None if progress else True)
    people = list(bar)
    queries = [record for own in people for record in own.queries]
    gallery = [record for own in people for record in own.gallery]
    write_json(queries, root / "query.json")
    write_json(gallery, root / "gallery.json")
    return {
        split: Count(
            identities=plan.identities[split],
            images=plan.identities[split] + _number(gallery, split),
            captions=_number(queries, split),
        )
        for split in dict.fromkeys(split for split, _ in plan.owners())
    }


def _number(records: list[Record], split: str) -> int:
    return sum(record["split"] == split for record in records)


def _write_person(job: Job) -> Records:
    """Draw a person as in the query, after each change, and a stranger with the same change."""
    root, plan, split, identity = job
    rng = generator(plan.seed, Stream.CHANGE, identity)
    person = draw_identity(plan.seed, identity, plan.difficulty)
    changes = draw_changes(person, rng, CHANGES)
    images = int(rng.integers(plan.images[0], plan.images[1] + 1))
    cameras = cycle(int(camera) for camera in rng.permutation(plan.published.cameras))
    serials = count()

    def picture(shown: Person, person_id: int, instance: int, *told: Change) -> Record:
        """Draw an image from which it can be told whether changes were made; its record."""
        camera = draw_camera(plan.seed, next(cameras), plan.difficulty)
        serial = next(serials)
        own = generator(plan.seed, Stream.PICTURE, identity, serial)
        shot = _draw_shot(own, camera, plan.difficulty, person, told)
        image = draw_picture(shown, shot, draw_size(own, shown, plan.height), own)
        path = f"{split}/{identity:05d}_{serial:02d}.jpg"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_picture(root / path, image, quality=camera.quality)
        ids = {"person_id": person_id, "instance_id": instance}
        return {"split": split, "file_path": path, **ids}

    reference = picture(person, identity, UNMATCHED, *changes)
    queries: list[Record] = []
    gallery = [picture(person, identity, UNMATCHED, *changes) for _ in range(images - 1)]
    for number, change in enumerate(changes):
        instance = CHANGES * identity + number
        gallery += [picture(change.person, identity, instance, change) for _ in range(images)]
        other = draw_stranger(change, rng, changes=round(5 - 3 * plan.difficulty))
        stranger = sum(plan.identities.values()) + instance  # no other person's number
        gallery.append(picture(other, stranger, UNMATCHED, change))
        captions = {describe_change(change, rng): None for _ in range(CAPTIONS)}
        queries += [{**reference, "instance_id": instance, "caption": one} for one in captions]
    return Records(queries, gallery)


def _draw_shot(
    rng: Generator, camera: Camera, difficulty: float, person: Person, changes: tuple[Change, ...]
) -> Shot:
    """A shot in which all changes of the person can be seen."""
    while True:
        shot = draw_shot(rng, camera, difficulty)
        if all(change.is_visible(person, shot) for change in changes):
            return shot
