"""The datasets of a text-to-image task."""

from dataclasses import dataclass

from errors import InputError
from misc.datasets.text_person import PicturesByLanguage, join_training, read_text_person
from misc.settings.sections import Config


@dataclass(frozen=True)
class TextData:
    """Pictures by the language of their captions, of each split and of each further test set."""

    name: str
    splits: dict[str, PicturesByLanguage]
    test_sets: dict[str, PicturesByLanguage]

    @property
    def num_identities(self) -> int:
        """People in the training set."""
        pictures = self.splits.get("train", {}).values()
        return len({picture.identity for one in pictures for picture in one})


def read_text_data(config: Config) -> TextData:
    """Read the datasets that the configuration names.

    Raises:
        InputError: a path is not set, missing or not what it should be.
    """
    data = config.data
    if data.annotation_file is None or data.image_root is None:
        key = "annotation_file" if data.annotation_file is None else "image_root"
        raise InputError(
            f"data.{key} is not set: give data.annotation_file=FILE data.image_root=FOLDER, or try "
            "--config config/demo.yaml after `make demo`"
        )
    languages = data.languages
    main = read_text_person(data.annotation_file, data.image_root, languages)
    more = [read_text_person(s.annotation_file, s.image_root, languages) for s in data.train_sets]
    splits = {split: main.pictures_by_language(split) for split in main.splits}
    if any("train" in dataset.splits for dataset in (main, *more)):
        splits["train"] = {
            language or "": join_training([main, *more], language)
            for language in languages or (None,)
        }
    test_sets = {}
    for source in data.test_sets:
        own = languages if source.languages is None else source.languages
        dataset = read_text_person(source.annotation_file, source.image_root, own)
        if "test" not in dataset.splits:
            raise InputError(f"data.test_sets: {source.annotation_file} has no test split")
        test_sets[source.name] = dataset.pictures_by_language("test")
    return TextData(main.name, splits, test_sets)
