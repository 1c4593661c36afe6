import json
from pathlib import Path

import pytest

import main
import options
from errors import InputError
from misc.datasets.text_annotations import TextPicture, read_annotations
from misc.datasets.text_person import (
    TextPersonDataset,
    drop_missing_folders,
    find_image_root,
    join_training,
    read_text_person,
)
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.synthetic.writing import write_dataset
from misc.tasks.text.data import read_text_data
from tests.command_line import parse
from tests.conftest import SMALL


def test_images_are_located_and_counts_logged(pedestrians, caplog):
    caplog.set_level("INFO")
    dataset = read_text_person(str(pedestrians.annotation_file), str(pedestrians.root))
    assert dataset.name == "CUHK-PEDES"
    for split, count in pedestrians.counts.items():
        assert len(dataset.splits[split]) == count.images
        assert all(Path(picture.path).is_file() for picture in dataset.splits[split])
    assert f"train {pedestrians.counts['train'].images} images" in caplog.text
    assert "Sizes differ from published CUHK-PEDES: train " in caplog.text
    assert " images (34,054), 20 identities (11,003), " in caplog.text


def dataset_of(*identities: int) -> TextPersonDataset:
    pictures = [TextPicture("a.jpg", identity, ("a",), (None,)) for identity in identities]
    return TextPersonDataset("mine", {"train": pictures})


def test_training_identities_are_numbered_over_all_datasets():
    joined = join_training([dataset_of(9, 4, 9), dataset_of(4, 7), TextPersonDataset("no", {})])
    assert [picture.identity for picture in joined] == [0, 1, 0, 2, 3]


def test_a_run_trains_and_tests_on_several_datasets(places, tmp_path, capsys):
    written = write_dataset(
        "icfg-pedes", tmp_path, identities={"train": 4, "test": 3}, height=(40, 48), seed=5
    )
    other = (
        f"{{name: ICFG, annotation_file: {written.annotation_file}, image_root: {written.root}}}"
    )
    demo = ["--config", str(options.RECIPES / "demo.yaml"), *SMALL, *places, "schedule.epoch=1"]
    sets = [f"data.train_sets=[{other}]", f"data.test_sets=[{other}]"]
    main.run(parse([*demo, *sets, "experiment.id=true", "--output", str(tmp_path / "run")]))
    printed = capsys.readouterr().out
    assert "CUHK-PEDES test split: epoch 1, the best on val" in printed
    assert "ICFG test split: epoch 1, the best on val" in printed
    table = (tmp_path / "run" / "results.md").read_text()
    assert "| ICFG test | text to image |" in table
    results = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    assert results.keys() == {"CUHK-PEDES test", "ICFG test"}
    saved = open_checkpoint(tmp_path / "run" / LAST)
    assert saved.architecture.num_identities == 20 + 4


@pytest.mark.parametrize("names", [("CUHK-PEDES",), ("X", "X")])
def test_each_dataset_has_a_name_of_its_own(places, names):
    """Else the results of one would stand for those of the other."""
    file, root = (place.partition("=")[2] for place in places)
    sets = [f"{{name: {name}, annotation_file: {file}, image_root: {root}}}" for name in names]
    demo = ["--config", str(options.RECIPES / "demo.yaml"), *SMALL, *places]
    settings = parse([*demo, f"data.test_sets=[{', '.join(sets)}]"]).configure()
    with pytest.raises(InputError, match=f"two datasets are named {names[0]}: give one another"):
        read_text_data(settings)


@pytest.fixture
def write(tmp_path):
    """Writes a file of records (path, id, caption), and an empty picture for each."""

    def write(name: str, *records: tuple[str, int, str]) -> None:
        content = [{"file_path": p, "id": i, "captions": [text]} for p, i, text in records]
        (tmp_path / name).write_text(json.dumps(content))
        for path, _, _ in records:
            if not path.startswith("gone/"):
                (tmp_path / path).parent.mkdir(exist_ok=True)
                (tmp_path / path).touch()

    return write


ENGLISH = (("a/1", 7, "one"), ("gone/2", 7, "two"), ("a/3", 4, "three"), ("a/1", 7, "again"))


def read(folder: Path, *languages: str) -> TextPersonDataset:
    return read_text_person(str(folder), str(folder), languages)


def test_languages_are_aligned_to_the_first(write, tmp_path, caplog):
    write("train_reid_en.json", *ENGLISH)
    chinese = (("a/3", 4, "三"), ("a/1", 7, "一"), ("gone/2", 7, "二"), ("a/1", 7, "再"))
    write("train_reid_ch.json", *chinese)
    write("test_reid_en.json", ("b/9", 1, "nine"))
    write("test_reid_ch.json", ("b/9", 1, "九"))
    dataset = read(tmp_path, "en", "ch")
    assert list(dataset.translations) == ["en", "ch"]
    assert dataset.splits == dataset.translations["en"]
    captions = {
        language: {split: [p.captions[0] for p in pictures] for split, pictures in splits.items()}
        for language, splits in dataset.translations.items()
    }
    assert captions["en"] == {"train": ["one", "three", "again"], "test": ["nine"]}
    assert captions["ch"] == {"train": ["一", "三", "再"], "test": ["九"]}
    paths = [[p.path for p in splits["train"]] for splits in dataset.translations.values()]
    assert paths[0] == paths[1] == [str(tmp_path / path) for path in ("a/1", "a/3", "a/1")]
    assert caplog.text.count("gone is missing") == 1
    turned = read(tmp_path, "ch", "en")
    assert [p.captions[0] for p in turned.splits["train"]] == ["三", "一", "再"]
    assert [p.captions[0] for p in turned.translations["en"]["train"]] == ["three", "one", "again"]
    assert read(tmp_path, "ch").translations.keys() == {"ch"}


def test_without_languages_there_are_no_translations(pedestrians):
    dataset = read_text_person(str(pedestrians.processed), str(pedestrians.image_root))
    assert dataset.translations == {}


@pytest.mark.parametrize(
    ("chinese", "sentence"),
    [
        (
            ENGLISH[:3],
            r"_en\.json, record 3 lists a/1, which is missing from the train .* ch;",
        ),
        (
            (*ENGLISH, ("a/5", 4, "?")),
            r"_ch\.json, record 4 lists a/5, which is missing from the train .* en;",
        ),
        (
            (("a/1", 8, "?"), *ENGLISH[1:]),
            r"a/1 has id 8 in .*_ch\.json, record 0 and 7 in .*_en\.json, record 0;",
        ),
    ],
)
def test_languages_that_tell_of_other_pictures_are_refused(write, tmp_path, chinese, sentence):
    write("train_reid_en.json", *ENGLISH)
    write("train_reid_ch.json", *chinese)
    with pytest.raises(InputError, match=sentence) as caught:
        read(tmp_path, "en", "ch")
    assert "\n" not in str(caught.value)


def test_a_split_that_one_language_lacks_is_refused(write, tmp_path):
    for name in ("train_reid_en", "train_reid_ch", "test_reid_en"):
        write(f"{name}.json", *ENGLISH)
    with pytest.raises(InputError, match=r"test_reid_en\.json, record 0 lists a/1, .* in ch;"):
        read(tmp_path, "en", "ch")


def test_training_sets_are_joined_alike_in_every_language(write, tmp_path):
    write("train_reid_en.json", *ENGLISH)
    write("train_reid_ch.json", *reversed(ENGLISH))
    sets = [read(tmp_path, "en", "ch"), TextPersonDataset("no", {}, {"en": {}, "ch": {}})] * 2
    assert join_training(sets, "en") == join_training(sets)
    english, chinese = (join_training(sets, language) for language in ("en", "ch"))
    assert [p.identity for p in english] == [p.identity for p in chinese] == [0, 1, 0, 2, 3, 2]
    assert [p.path for p in english] == [p.path for p in chinese]
    assert [p.captions for p in english] != [p.captions for p in chinese]


def test_synthetic_languages_are_read(tmp_path):
    written = write_dataset(
        "cuhk-pedes",
        tmp_path,
        identities={"train": 3, "test": 2},
        height=(40, 48),
        languages=("en", "ch"),
    )
    dataset = read_text_person(str(written.processed), str(written.image_root), ("ch", "en"))
    assert dataset.name == "CUHK-PEDES"
    for split, pictures in dataset.splits.items():
        assert len(pictures) == written.counts[split].images
        for one, two in zip(pictures, dataset.translations["en"][split], strict=True):
            assert (one.path, one.identity) == (two.path, two.identity)
            assert len(one.captions) == len(two.captions) == 2
            assert all(one.back_translations)


def test_the_image_root_may_be_the_folder_above_imgs(pedestrians):
    pictures = read_annotations(pedestrians.processed)["train"]
    assert find_image_root(pedestrians.root, pictures) == pedestrians.image_root
    assert find_image_root(pedestrians.image_root, pictures) == pedestrians.image_root


def test_a_wrong_image_root_is_refused():
    said = r"data.image_root: none of .* a\.jpg, is in /nowhere or /nowhere/imgs;"
    with pytest.raises(InputError, match=said):
        find_image_root(Path("/nowhere"), [TextPicture("a.jpg", 0, ("a",), (None,))])


def test_pictures_of_missing_folders_are_left_out_and_said(tmp_path, caplog):
    (tmp_path / "here").mkdir()
    pictures = [TextPicture(f"{folder}/a.jpg", 0, ("a",), (None,)) for folder in ("here", "gone")]
    splits = drop_missing_folders({"train": pictures, "val": pictures[1:]}, tmp_path)
    assert splits == {"train": pictures[:1]}
    assert f"{tmp_path}/gone is missing: skipping its 2 images" in caplog.text
