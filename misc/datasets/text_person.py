"""A text-to-person dataset on this machine: its splits, with pictures that are there."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from errors import InputError
from misc.datasets.text_annotations import Record, Splits, TextPicture, read_records, split_records
from misc.datasets.text_recognition import identify

log = logging.getLogger(__name__)


# The same pictures by the language of their captions; "" where no languages were asked for.
Told = dict[str, list[TextPicture]]


@dataclass(frozen=True)
class TextPersonDataset:
    """Pictures by split; their paths are whole, their identities as written.

    Args:
        translations: by language, if any was asked for: the same pictures in the same order, each
            with its captions in that language. `splits` are those of the first.
    """

    name: str
    splits: Splits
    translations: Mapping[str, Splits] = field(default_factory=dict)

    def told(self, split: str) -> Told:
        """The pictures of a split in every language that was asked for."""
        if not self.translations:
            return {"": self.splits[split]}
        return {language: splits[split] for language, splits in self.translations.items()}

    def describe(self) -> str:
        """Pictures, captions and identities of every split, in one line."""
        return "; ".join(
            f"{split} {len(pictures)} pictures, {sum(len(p.captions) for p in pictures)} captions, "
            f"{len({p.identity for p in pictures})} identities"
            for split, pictures in self.splits.items()
        )


def read_text_person(
    annotation_file: str, image_root: str, languages: Sequence[str] = ()
) -> TextPersonDataset:
    """Read a dataset, and say in the log what it holds and where that is not what was published.

    Args:
        languages: of the captions, where `annotation_file` is a folder of
            `{split}_reid_{lang}.json`.

    Raises:
        InputError: if annotations or pictures are not there, or are not what they should be, or
            the languages do not tell of the same pictures.
    """
    readings = {language: read_records(annotation_file, language) for language in languages}
    records = readings[languages[0]] if languages else read_records(annotation_file)
    splits, published = split_records(records), identify(records)
    dataset = TextPersonDataset(published.name if published else Path(annotation_file).stem, splits)
    log.info("%s (%s): %s", dataset.name, annotation_file, dataset.describe())
    if published and (differences := published.compare_counts(splits)):
        log.info("not as %s was published: %s", dataset.name, "; ".join(differences))
    every = [picture for pictures in splits.values() for picture in pictures]
    root = find_image_root(Path(image_root), every)
    kept = drop_missing_folders(splits, root)
    translations = {
        language: _located(_align(readings, languages[0], language), kept, root)
        for language in languages
    }
    return replace(dataset, splits=_located(splits, kept, root), translations=translations)


def join_training(
    datasets: Sequence[TextPersonDataset], language: str | None = None
) -> list[TextPicture]:
    """The training pictures of all datasets; people 0, 1, ... in the order they first appear in.

    Nobody of one dataset is somebody of another. Every language has the same pictures and people in
    the same places.

    Args:
        language: of the captions, one that the datasets were read in; None: those of `splits`.
    """
    sources = [
        dataset.translations[language] if language else dataset.splits for dataset in datasets
    ]
    numbers: dict[tuple[int, int], int] = {}
    return [
        replace(picture, identity=numbers.setdefault((index, picture.identity), len(numbers)))
        for index, splits in enumerate(sources)
        for picture in splits.get("train", ())
    ]


def find_image_root(image_root: Path, pictures: Sequence[TextPicture]) -> Path:
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


def _align(readings: Mapping[str, Sequence[Record]], first: str, other: str) -> Splits:
    """The pictures in another language, in the order of the first's.

    Raises:
        InputError: if a split does not list the same pictures in both, or not of the same people.
    """
    one, two = _by_mention(readings[first]), _by_mention(readings[other])
    for mention, record in (two | one).items():
        if mention not in one or mention not in two:
            raise InputError(
                f"data.languages: {record.place} lists {record.picture.path}, which the "
                f"{record.split} split in {other if mention in one else first} does not; give "
                "every language the same pictures"
            )
        if record.picture.identity != two[mention].picture.identity:
            raise InputError(
                f"data.languages: {two[mention].place} gives {record.picture.path} the id "
                f"{two[mention].picture.identity}, and {record.place} the id "
                f"{record.picture.identity}; give it one id in every language"
            )
    return split_records([two[mention] for mention in one])


def _by_mention(records: Sequence[Record]) -> dict[tuple[str, str, int], Record]:
    """Records by split, path, and how often the split had listed it before: a few are repeated."""
    before: Counter[tuple[str, str]] = Counter()
    mentions = {}
    for record in records:
        name = record.split, record.picture.path
        mentions[*name, before[name]] = record
        before[name] += 1
    return mentions


def _located(splits: Splits, kept: Splits, root: Path) -> Splits:
    """Those of the pictures that are kept, with whole paths."""
    names = {picture.path for pictures in kept.values() for picture in pictures}
    return {
        split: [
            replace(picture, path=str(root / picture.path))
            for picture in splits[split]
            if picture.path in names
        ]
        for split in kept
    }
