"""A text-to-person dataset on this machine: its splits, with pictures that are there."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from errors import InputError
from misc.datasets.annotations import Picture, Splits, read_records, split_records
from misc.datasets.recognition import identify

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextPersonDataset:
    """Pictures by split; their paths are whole, their identities as written."""

    name: str
    splits: Splits

    def describe(self) -> str:
        """Pictures, captions and identities of every split, in one line."""
        return "; ".join(
            f"{split} {len(pictures)} pictures, {sum(len(p.captions) for p in pictures)} captions, "
            f"{len({p.identity for p in pictures})} identities"
            for split, pictures in self.splits.items()
        )


def read_text_person(annotation_file: str, image_root: str) -> TextPersonDataset:
    """Read a dataset, and say in the log what it holds and where that is not what was published.

    Raises:
        InputError: if annotations or pictures are not there, or are not what they should be.
    """
    records = read_records(annotation_file)
    splits, published = split_records(records), identify(records)
    dataset = TextPersonDataset(published.name if published else Path(annotation_file).stem, splits)
    log.info("%s (%s): %s", dataset.name, annotation_file, dataset.describe())
    if published and (differences := published.compare_counts(splits)):
        log.info("not as %s was published: %s", dataset.name, "; ".join(differences))
    every = [picture for pictures in splits.values() for picture in pictures]
    root = find_image_root(Path(image_root), every)
    return replace(dataset, splits=_located(drop_missing_folders(splits, root), root))


def join_training(datasets: Sequence[TextPersonDataset]) -> list[Picture]:
    """The training pictures of all datasets; people 0, 1, ... in the order they first appear in.

    Nobody of one dataset is somebody of another.
    """
    numbers: dict[tuple[int, int], int] = {}
    return [
        replace(picture, identity=numbers.setdefault((index, picture.identity), len(numbers)))
        for index, dataset in enumerate(datasets)
        for picture in dataset.splits.get("train", ())
    ]


def find_image_root(image_root: Path, pictures: Sequence[Picture]) -> Path:
    """The folder that the annotations' paths start from: `image_root`, or its `imgs`.

    Raises:
        InputError: if neither holds any of the pictures.
    """
    for root in (image_root, image_root / "imgs"):
        if any((root / picture.path).exists() for picture in pictures):
            return root
    raise InputError(
        f"data.image_root: neither {image_root} nor its folder imgs holds {pictures[0].path} or "
        "any other picture that the annotations name; give the folder that their paths start from"
    )


def drop_missing_folders(splits: Splits, image_root: Path) -> Splits:
    """The pictures whose folder is there; archives may lack some that the annotations name.

    What is left out is said in the log, a line for each folder.
    """
    missing: Counter[Path] = Counter()
    kept: Splits = {}
    for split, pictures in splits.items():
        folders = {Path(picture.path).parent for picture in pictures}
        absent = {folder for folder in folders if not (image_root / folder).is_dir()}
        missing.update(Path(p.path).parent for p in pictures if Path(p.path).parent in absent)
        kept[split] = [p for p in pictures if Path(p.path).parent not in absent]
    for folder, number in sorted(missing.items()):
        log.warning("%s is missing: its %d pictures are left out", image_root / folder, number)
    return {split: pictures for split, pictures in kept.items() if pictures}


def _located(splits: Splits, root: Path) -> Splits:
    return {
        split: [replace(picture, path=str(root / picture.path)) for picture in pictures]
        for split, pictures in splits.items()
    }
