"""Text-to-person datasets: annotated images that exist, by split and language."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from errors import InputError
from misc.datasets.containment import refuse_outside
from misc.datasets.counts import counted
from misc.datasets.json_lines import SUFFIX, JsonLines
from misc.datasets.pairs import ListedAndPairs, Pairs, read_pair
from misc.datasets.text_annotations import (
    Record,
    Splits,
    TextPicture,
    has_identities,
    read_records,
    refuse_languages,
    split_records,
)
from misc.datasets.text_published import count_captioned
from misc.datasets.text_recognition import identify

log = logging.getLogger(__name__)


# The same images by the language of their captions; "" if no languages were asked for.
PicturesByLanguage = dict[str, Sequence[TextPicture]]
FIRST = 100  # pairs, some of which must be in the image root


@dataclass(frozen=True)
class TextPersonDataset:
    """Images by split, with full paths.

    Args:
        splits: captions are in the first language, if any were asked for.
        translations: by language: the same images in the same order, with captions in it.
        has_identities: whether the identities were annotated; else each image has its own.
    """

    name: str
    splits: Splits
    translations: Mapping[str, Splits] = field(default_factory=dict)
    has_identities: bool = True

    def pictures_by_language(self, split: str) -> PicturesByLanguage:
        """The images of a split, with captions in each language that was asked for."""
        if not self.translations:
            return {"": self.splits[split]}
        return {language: splits[split] for language, splits in self.translations.items()}

    def describe(self) -> str:
        """The sizes of the splits, in one line."""
        return "; ".join(
            f"{split} {pictures if isinstance(pictures, Pairs) else count_captioned(pictures)}"
            for split, pictures in self.splits.items()
        )


def read_text_person(
    annotation_file: str,
    image_root: str,
    languages: Sequence[str] = (),
    *,
    allow_outside: bool = False,
) -> TextPersonDataset:
    """Read a dataset, and log its sizes and how they differ from the published ones.

    Of pairs (`.jsonl`), only the first lines and the last are checked here; `Pairs` checks the
    others, and their images, when they are met.

    Args:
        languages: of the captions, if `annotation_file` is a folder of `{split}_reid_{lang}.json`.
        allow_outside: whether images may lie outside `image_root`.

    Raises:
        InputError: annotations or images are missing, a record is malformed, the languages
            annotate different images, or images lie outside `image_root`.
    """
    if Path(annotation_file).suffix.lower() == SUFFIX:
        return _read_pairs(Path(annotation_file), image_root, languages, allow_outside)
    readings = {language: read_records(annotation_file, language) for language in languages}
    records = readings[languages[0]] if languages else read_records(annotation_file)
    splits, published = split_records(records), identify(records)
    name = published.name if published else Path(annotation_file).stem
    dataset = TextPersonDataset(name, splits, has_identities=has_identities(records))
    log.info("%s (%s): %s", dataset.name, annotation_file, dataset.describe())
    if published and (differences := published.compare_counts(splits)):
        log.info(differences)
    pictures = [picture for split in splits.values() for picture in split]
    root = find_image_root(Path(image_root), pictures)
    if not allow_outside:
        refuse_outside((picture.path for picture in pictures), root)
    kept = drop_missing_folders(splits, root)
    translations = {
        language: _located(_align(readings, languages[0], language), kept, root)
        for language in languages
    }
    return replace(dataset, splits=_located(splits, kept, root), translations=translations)


def join_training(
    datasets: Sequence[TextPersonDataset], language: str | None = None
) -> Sequence[TextPicture]:
    """The training images of all datasets, with identities renumbered 0, 1, ... by appearance.

    Datasets share no identities. Order and numbers are the same in every language. Pairs come last,
    and are read when they are asked for.

    Args:
        language: of the captions, one in which the datasets were read; None for `splits`.
    """
    sources = [
        dataset.translations[language] if language else dataset.splits for dataset in datasets
    ]
    training = [splits.get("train", ()) for splits in sources]
    numbers: dict[tuple[int, int], int] = {}
    listed = [
        replace(picture, identity=numbers.setdefault((index, picture.identity), len(numbers)))
        for index, pictures in enumerate(training)
        if not isinstance(pictures, Pairs)
        for picture in pictures
    ]
    pairs = [pictures for pictures in training if isinstance(pictures, Pairs)]
    return ListedAndPairs(listed, pairs) if pairs else listed


def _read_pairs(
    file: Path, image_root: str, languages: Sequence[str], allow_outside: bool
) -> TextPersonDataset:
    """The dataset of a file of JSON lines."""
    if languages:
        refuse_languages(file, languages[0])
    lines = JsonLines(file)
    first = [read_pair(lines, index) for index in range(min(FIRST, len(lines)))]
    read_pair(lines, len(lines) - 1)  # cut off, if the file was not copied whole
    root = find_image_root(Path(image_root), first)
    pairs = Pairs(lines, root, allow_outside=allow_outside)
    dataset = TextPersonDataset(file.stem, {"train": pairs}, has_identities=False)
    log.info("%s (%s): %s", dataset.name, file, dataset.describe())
    return dataset


def find_image_root(image_root: Path, pictures: Sequence[TextPicture]) -> Path:
    """The folder to which image paths are relative: `image_root` or `image_root/imgs`.

    Raises:
        InputError: none of the images is in either.
    """
    for root in (image_root, image_root / "imgs"):
        if any((root / picture.path).exists() for picture in pictures):
            return root
    raise InputError(
        f"data.image_root: none of the annotated images, such as {pictures[0].path}, is in "
        f"{image_root} or {image_root / 'imgs'}; give the folder to which their paths are relative"
    )


def drop_missing_folders(splits: Splits, image_root: Path) -> Splits:
    """Drop the images whose folder is missing, as it is in some archives; log a line per folder."""
    missing: Counter[Path] = Counter()
    kept: Splits = {}
    for split, pictures in splits.items():
        folders = {Path(picture.path).parent for picture in pictures}
        absent = {folder for folder in folders if not (image_root / folder).is_dir()}
        missing.update(Path(p.path).parent for p in pictures if Path(p.path).parent in absent)
        kept[split] = [p for p in pictures if Path(p.path).parent not in absent]
    for folder, number in sorted(missing.items()):
        images = counted(number, "image")
        log.warning("%s is missing: skipping its %s", image_root / folder, images)
    return {split: pictures for split, pictures in kept.items() if pictures}


def _align(readings: Mapping[str, Sequence[Record]], first: str, other: str) -> Splits:
    """The images in another language, in the order of the first.

    Raises:
        InputError: a split has different images, or different identities, in the two languages.
    """
    one, two = _by_mention(readings[first]), _by_mention(readings[other])
    for mention, record in (two | one).items():
        if mention not in one or mention not in two:
            raise InputError(
                f"data.languages: {record.location} lists {record.picture.path}, which is missing "
                f"from the {record.split} split in {other if mention in one else first}; all "
                "languages must list the same images"
            )
        if record.person != two[mention].person:
            raise InputError(
                f"data.languages: {record.picture.path} has id {two[mention].person} in "
                f"{two[mention].location} and {record.person} in {record.location}; ids "
                "must agree in all languages"
            )
    return split_records([two[mention] for mention in one])


def _by_mention(records: Sequence[Record]) -> dict[tuple[str, str, int], Record]:
    """Records by split, path and number of earlier records with both: a few are repeated."""
    before: Counter[tuple[str, str]] = Counter()
    mentions = {}
    for record in records:
        name = record.split, record.picture.path
        mentions[*name, before[name]] = record
        before[name] += 1
    return mentions


def _located(splits: Splits, kept: Splits, root: Path) -> Splits:
    """The images that are in `kept`, with full paths."""
    names = {picture.path for pictures in kept.values() for picture in pictures}
    return {
        split: [
            replace(picture, path=str(root / picture.path))
            for picture in splits[split]
            if picture.path in names
        ]
        for split in kept
    }
