"""A folder of people: one subfolder of images per person, whose name is the person's.

Such a folder has no splits: some people are drawn for the test, the others train. One image under
each of half of a test person's cameras is a query, so that all queries have a match under another
camera; without cameras, half of the images are. The other images are the gallery.
"""

import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from numpy.random import Generator

from errors import InputError
from misc.datasets.counts import counted
from misc.datasets.pictures import SUFFIXES
from misc.datasets.reid_published import ReIDPicture, ReIDSplits
from misc.runtime.seeding import Purpose, generator

log = logging.getLogger(__name__)

FOLDER = "folder"  # its name among the datasets


@dataclass(frozen=True)
class PeopleDivision:
    """The division of people into training and test, and the place of the camera in a path.

    Args:
        test_share: of the people; at least one trains and one tests.
        camera_pattern: a regular expression, searched in the path below the folder; its first
            group, or else the whole match, is the camera. None: no cameras.
        seed: of the draws of test people and queries.
    """

    test_share: float = 0.3
    camera_pattern: str | None = None
    seed: int = 1


DIVISION = PeopleDivision()


def read_people(folder: Path, division: PeopleDivision) -> ReIDSplits:
    """Read and divide a folder of people, who are numbered in the order of their names.

    People who cannot be queried train: those with a single image, or under a single camera.

    Raises:
        InputError: there are fewer than two people, nobody can be queried, or an image has no
            camera.
    """
    people = read_pictures(folder)
    if division.camera_pattern:
        people = _with_cameras(people, folder, division.camera_pattern)
    has_cameras = len({picture.camera for own in people for picture in own}) > 1
    groups = [_groups(own, has_cameras) for own in people]
    queried = [person for person, own in enumerate(groups) if len(own) > 1]
    if not queried:
        reason = "seen by two cameras" if has_cameras else "in two images"
        raise InputError(f"reid.root: nobody in {folder} is {reason}, so no search can be tested")
    share = round(division.test_share * len(people))
    number = min(max(1, share), len(people) - 1, len(queried))
    rng = generator(division.seed, Purpose.PEOPLE)
    tested = sorted(rng.permutation(queried)[:number].tolist())
    query = dict.fromkeys(p for person in tested for p in _draw_queries(groups[person], rng))
    gallery = [p for person in tested for p in people[person] if p not in query]
    train = [p for person, own in enumerate(people) if person not in tested for p in own]
    return ReIDSplits(train, [*query], gallery)


def read_pictures(folder: Path) -> list[list[ReIDPicture]]:
    """The images of each person, by name, whatever the order of the file system.

    Raises:
        InputError: the folder shows fewer than two people.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one with a folder per person")
    people: list[list[ReIDPicture]] = []
    for person in _visible(folder.iterdir(), folder):
        if not person.is_dir():
            if person.suffix.lower() in SUFFIXES:
                log.warning("%s is in no person's folder and is skipped", person)
            continue
        files = [f for f in _visible(person.rglob("*"), person) if f.suffix.lower() in SUFFIXES]
        if own := [ReIDPicture(str(f), identity=len(people)) for f in files if f.is_file()]:
            people.append(own)
        else:
            log.warning("%s has no images (%s) and is skipped", person, ", ".join(SUFFIXES))
    if len(people) < 2:
        raise InputError(
            f"{folder} has folders of images of {counted(len(people), 'person')}; at least 2 are "
            "needed, one to train and one to test"
        )
    return people


def _visible(files: Iterable[Path], folder: Path) -> list[Path]:
    """The files below a folder, sorted, without hidden ones and those in hidden folders."""
    return sorted(
        file
        for file in files
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _with_cameras(
    people: Sequence[Sequence[ReIDPicture]], folder: Path, pattern: str
) -> list[list[ReIDPicture]]:
    """The images with their cameras, numbered in the order of their numbers or words."""
    paths = {p.path: Path(p.path).relative_to(folder).as_posix() for own in people for p in own}
    cameras = {path: camera for path, shown in paths.items() if (camera := _camera(shown, pattern))}
    lost = [shown for path, shown in paths.items() if path not in cameras]
    if lost:
        raise InputError(
            f"reid.camera_pattern: {pattern!r} finds no camera in {len(lost)} of "
            f"{counted(len(paths), 'image')} below {folder}, such as {lost[0]}; give a pattern "
            "that fits all paths"
        )
    known = sorted({*cameras.values()})
    log.info("%s: cameras %s", folder, ", ".join(word or str(number) for number, word in known))
    numbers = {camera: number for number, camera in enumerate(known)}
    return [[replace(p, camera=numbers[cameras[p.path]]) for p in own] for own in people]


def _camera(path: str, pattern: str) -> tuple[float, str] | None:
    """Number and word of the camera in a path, of which one counts; numbers sort before words."""
    match = re.search(pattern, path)
    camera = match and match[min(1, len(match.groups()))]
    if not camera:
        return None
    return (int(camera), "") if camera.isdecimal() else (math.inf, camera)


def _groups(own: Sequence[ReIDPicture], has_cameras: bool) -> list[list[ReIDPicture]]:
    """The images of a person by camera; without cameras, each on its own."""
    groups: dict[int | str, list[ReIDPicture]] = defaultdict(list)
    for picture in own:
        groups[picture.camera if has_cameras else picture.path].append(picture)
    return list(groups.values())


def _draw_queries(groups: Sequence[Sequence[ReIDPicture]], rng: Generator) -> list[ReIDPicture]:
    """An image of each of half of the groups."""
    drawn = [groups[index] for index in rng.permutation(len(groups))[: len(groups) // 2]]
    return [group[int(rng.integers(len(group)))] for group in drawn]
