# ruff: noqa: RUF001, Chinese commas are wide
"""The synthetic pedestrians: published layouts, the same bytes twice, true captions."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from errors import InputError
from misc.runtime.outputs import SHEET
from misc.runtime.picture_writing import write_picture
from misc.synthetic.__main__ import main
from misc.synthetic.pedestrians import (
    CHINESE,
    ENGLISH,
    LANGUAGES,
    Facts,
    Language,
    Person,
    choose_facts,
    describe,
    draw_camera,
    draw_identity,
    draw_picture,
    draw_shot,
)
from misc.synthetic.pedestrians.attributes import look_alike
from misc.synthetic.pedestrians.captions import LISTS
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.facts import CARRIED, EXTRAS, MAIN
from misc.synthetic.pedestrians.palette import CLOTH, Colour, tone
from misc.synthetic.writing import WrittenDataset, write_dataset

IDENTITIES = {"train": 5, "val": 2, "test": 3}
SMALL = {"images": (2, 4), "height": (40, 72), "seed": 3}


def write(layout: str, output: Path, **changes: object) -> WrittenDataset:
    without_val = layout in ("icfg-pedes", "ufine6926")
    identities = {k: v for k, v in IDENTITIES.items() if not without_val or k != "val"}
    return write_dataset(layout, output, **{"identities": identities, **SMALL, **changes})


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def witness(seed: int, difficulty: float) -> Facts:
    person = draw_identity(seed, 0, difficulty)
    shot = draw_shot(
        generator(seed, Stream.PICTURE, 0), draw_camera(seed, 0, difficulty), difficulty
    )
    return choose_facts(person, shot, difficulty, generator(seed, Stream.CAPTION, 0))


LAYOUTS = {
    "cuhk-pedes": ("CUHK-PEDES", "reid_raw.json", ("train", "val", "test"), 2, 1),
    "icfg-pedes": ("ICFG-PEDES", "ICFG-PEDES.json", ("train", "test"), 1, 0),
    "rstpreid": ("RSTPReid", "data_captions.json", ("train", "val", "test"), 2, 0),
    "ufine6926": ("UFine6926", "UFine6926.json", ("train", "test"), 2, 1),
}
FIELDS = {
    "cuhk-pedes": {"split", "captions", "file_path", "processed_tokens", "id"},
    "icfg-pedes": {"split", "captions", "file_path", "id"},
    "rstpreid": {"split", "captions", "img_path", "id"},
    "ufine6926": {"split", "captions", "file_path", "id"},
}


@pytest.fixture(scope="module", params=LAYOUTS)
def dataset(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, WrittenDataset]:
    return request.param, write(request.param, tmp_path_factory.mktemp("synthetic"))


def test_raw_annotations_are_as_published(dataset: tuple[str, WrittenDataset]) -> None:
    layout, written = dataset
    folder, annotation_file, splits, captions, first_id = LAYOUTS[layout]
    assert written.root.name == folder
    assert written.annotation_file == written.root / annotation_file
    assert written.image_root == written.root / "imgs"
    records = json.loads(written.annotation_file.read_text())
    assert {record["split"] for record in records} == set(splits)
    ids = {split: {r["id"] for r in records if r["split"] == split} for split in splits}
    assert sorted(set.union(*ids.values())) == list(
        range(first_id, first_id + sum(len(members) for members in ids.values()))
    )
    for record in records:
        assert set(record) == FIELDS[layout]
        assert len(record["captions"]) == captions
        assert len(set(record["captions"])) == captions
    for split, count in written.counts.items():
        chosen = [record for record in records if record["split"] == split]
        assert count.identities == len(ids[split]) == IDENTITIES[split]
        assert count.images == len(chosen)
        assert count.captions == captions * len(chosen)


def test_pictures_exist_and_vary_in_size(dataset: tuple[str, WrittenDataset]) -> None:
    layout, written = dataset
    records = json.loads(written.annotation_file.read_text())
    key = "img_path" if layout == "rstpreid" else "file_path"
    named = {record[key] for record in records}
    assert named == {
        str(file.relative_to(written.image_root)) for file in written.image_root.rglob("*.jpg")
    }
    sizes = set()
    for name in named:
        with Image.open(written.image_root / name) as picture:
            picture.load()
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert 40 <= picture.height <= 72
            assert 1.9 < picture.height / picture.width < 3.0
            sizes.add(picture.size)
    assert len(sizes) > 10


def test_folders_are_those_of_the_datasets(dataset: tuple[str, WrittenDataset]) -> None:
    layout, written = dataset
    folders = {folder.name for folder in written.image_root.iterdir() if folder.is_dir()}
    cuhk = {"cam_a", "cam_b", "CUHK01", "CUHK03", "Market", "train_query", "test_query"}
    known = {
        "cuhk-pedes": cuhk,
        "icfg-pedes": {"train", "test"},
        "rstpreid": set(),
        "ufine6926": {"images"},
    }
    assert folders <= known[layout]


def test_processed_form_adds_back_translations(dataset: tuple[str, WrittenDataset]) -> None:
    layout, written = dataset
    splits = LAYOUTS[layout][2]
    found = {file.name for file in written.processed.iterdir()}
    assert found == {f"{split}_reid.json" for split in splits}
    raw = json.loads(written.annotation_file.read_text())
    key = "img_path" if layout == "rstpreid" else "file_path"
    for split in splits:
        records = json.loads((written.processed / f"{split}_reid.json").read_text())
        expected = [record for record in raw if record["split"] == split]
        for record, source in zip(records, expected, strict=True):
            assert set(record) == {"file_path", "id", "captions", "captions_bt"}
            assert record["file_path"] == source[key]
            assert record["id"] == source["id"]
            assert record["captions"] == source["captions"]
            assert len(record["captions_bt"]) == len(record["captions"])
            pairs = zip(record["captions"], record["captions_bt"], strict=True)
            assert all(caption != second for caption, second in pairs)


def test_ufine_captions_are_as_long_as_published(tmp_path: Path) -> None:
    identities = {"train": 20, "test": 10}
    written = write("ufine6926", tmp_path, identities=identities, difficulty=0.5)
    records = json.loads(written.annotation_file.read_text())
    lengths = [len(caption.split()) for record in records for caption in record["captions"]]
    assert 70 < sum(lengths) / len(lengths) < 92  # 80.8


def test_cuhk_tokens_are_the_words_of_the_captions(tmp_path: Path) -> None:
    written = write("cuhk-pedes", tmp_path, identities={"train": 1})
    record = json.loads(written.annotation_file.read_text())[0]
    for caption, tokens in zip(record["captions"], record["processed_tokens"], strict=True):
        assert tokens == re.sub(r"[.,]", "", caption.lower()).split()


def test_the_same_bytes_twice_and_with_any_number_of_workers(tmp_path: Path) -> None:
    first, second = (write("rstpreid", tmp_path / name) for name in "ab")
    parallel = write("rstpreid", tmp_path / "c", workers=2)
    assert files(first.root) == files(second.root) == files(parallel.root)
    assert files(first.root) != files(write("rstpreid", tmp_path / "d", seed=4).root)


def test_an_identity_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few = files(write("rstpreid", tmp_path / "few", identities={"train": 2}).image_root)
    more = files(write("rstpreid", tmp_path / "more", identities={"train": 4}).image_root)
    assert few.items() <= more.items()
    assert len(more) > len(few)


def test_pictures_of_an_identity_share_its_colours() -> None:
    """The chest shows the garment's colour to every camera, from the front and from behind."""
    person = replace(draw_identity(0, 0, 0.0), scarf=None, bag=None, carried=None, inner=None)
    red = replace(
        person.upper,
        kind="t-shirt",
        pattern="plain",
        colour=Colour("red", CLOTH["red"]),
        accent=None,
    )
    person = replace(person, upper=red, hair=replace(person.hair, kind="short"))
    for number in range(6):
        rng = generator(0, Stream.PICTURE, number)
        shot = replace(draw_shot(rng, draw_camera(0, number, 0.5), 0.0), occluder=None)
        pixels = np.asarray(draw_picture(person, shot, (80, 192), rng), dtype=float)
        chest = pixels[60:85, 36:44].reshape(-1, 3).mean(axis=0)
        assert chest[0] > 1.8 * chest[1:].max(), (number, chest)


def test_a_picture_depends_on_its_generator_alone() -> None:
    person, camera = draw_identity(1, 2, 0.5), draw_camera(1, 0, 0.5)
    pictures = []
    for _ in range(2):
        rng = generator(1, Stream.PICTURE, 2, 0)
        pictures.append(draw_picture(person, draw_shot(rng, camera, 0.5), (40, 96), rng))
    assert pictures[0].size == (40, 96)
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_every_attribute_and_view_can_be_drawn() -> None:
    seen: set[str] = set()
    for number in range(150):
        person = draw_identity(11, number, 0.0)
        rng = generator(11, Stream.PICTURE, number)
        shot = draw_shot(rng, draw_camera(11, number % 6, 1.0), 1.0)
        draw_picture(person, shot, (16, 40), rng)
        worn = (getattr(person, name) for name in ("hair", *MAIN, *EXTRAS, *CARRIED))
        seen |= {item.kind for item in worn if item is not None}
        seen |= {shot.facing, str(shot.occluder)}
    assert set(ENGLISH.nouns) <= seen
    assert {"front", "back", "left", "right", "bush", "wall", "car", "pole", "passer-by"} <= seen


def test_look_alikes_differ_but_keep_most() -> None:
    person = draw_identity(5, 0, 0.0)
    for number in range(20):
        other = look_alike(person, np.random.default_rng(number), changes=2)
        parts = ("hair", "hat", "scarf", "upper", "lower", "shoes", "bag", "carried")
        changed = [part for part in parts if getattr(person, part) != getattr(other, part)]
        assert len(changed) == 2
        assert other.gender == person.gender
        assert (other.lower is None) == (other.upper.kind == "dress")


def true_words(person: Person, language: Language) -> set[str]:
    """Every colour word that a caption may use of this person."""
    words: set[str] = set()
    items = [getattr(person, name) for name in (*MAIN, *EXTRAS, *CARRIED, "inner")]
    colours = [c for item in items if item is not None for c in (item.colour, item.accent) if c]
    for colour in colours:
        words.update(language.colours[colour.name])
    words.update(language.hair_colours[person.hair.colour.name])
    for colour in [*colours, person.hair.colour]:
        words.update(language.tones[tone(colour.name)])
    return words


def mentioned(text: str, words: set[str]) -> set[str]:
    """The words that occur in the text, the longest first: `dark blue` is not `blue`."""
    found = set()
    for word in sorted(words, key=len, reverse=True):
        pattern = rf"(?<![a-z-]){re.escape(word)}(?![a-z-])"
        if re.search(pattern, text):
            found.add(word)
            text = re.sub(pattern, "_", text)
    return found


def test_captions_tell_only_true_colours_and_things() -> None:
    colours = {word for words in ENGLISH.colours.values() for word in words}
    things = {
        noun.replace("{} ", "").removeprefix("a pair of ").removeprefix("an ").removeprefix("a ")
        for nouns in ENGLISH.nouns.values()
        for noun in nouns
        if noun.count(" ") <= 2 and "hair" not in noun and "head" not in noun
    } - {"glasses", "pair of glasses", "dark glasses", "dress shoes"}
    for seed in range(300):
        facts = witness(seed, 0.4)
        person = facts.person
        kinds = {facts.item(name).kind for name in facts.names - {"gender", "build"}}
        nouns = " ".join(noun for kind in kinds for noun in ENGLISH.nouns[kind])
        nouns += " ".join(noun for kind in kinds for noun in ENGLISH.vague_nouns[kind])
        for text in describe(facts, ENGLISH, generator(seed, Stream.CAPTION, 1)):
            text = text.lower().replace("dark glasses", "").replace("dress shoes", "")
            assert mentioned(text, colours) <= true_words(person, ENGLISH), (text, person)
            assert all(thing in nouns for thing in mentioned(text, things)), (text, kinds)
            other = {"man": "woman", "woman": "man"}[person.gender]
            assert not re.search(rf"\b{other}\b", text)


def tails(nouns: tuple[str, ...]) -> set[str]:
    """Chinese nouns without what stands before them."""
    return {noun.rpartition("{}")[2].removeprefix("的") for noun in nouns if "{}" in noun}


def test_chinese_captions_tell_all_and_only_true_colours_and_things() -> None:
    tables = (CHINESE.colours, CHINESE.hair_colours, CHINESE.tones)
    colours = {word for table in tables for words in table.values() for word in words}
    things = {thing for nouns in CHINESE.nouns.values() for thing in tails(nouns)}
    things.remove("眼镜")  # also said, vaguely, of sunglasses
    for seed in range(300):
        facts = witness(seed, 0.4)
        items = {name: facts.item(name) for name in facts.names - {"gender", "build"}}
        true = {
            thing
            for item in items.values()
            for thing in tails(CHINESE.nouns[item.kind] + CHINESE.vague_nouns[item.kind])
        }
        for text in describe(facts, CHINESE, generator(seed, Stream.CAPTION, 1)):
            told = mentioned(text, colours)
            assert told <= true_words(facts.person, CHINESE), (text, facts.person)
            assert mentioned(text, things) <= true, (text, items)
            assert ("女" if facts.person.gender == "man" else "男") not in text
            for name in items.keys() - facts.vague:
                item = items[name]
                words = CHINESE.hair_colours if name == "hair" else CHINESE.colours
                if item.kind not in ("bald", "glasses", "sunglasses"):
                    assert told & set(words[item.colour.name]), (text, item)


def test_captions_do_not_tell_what_the_picture_hides() -> None:
    for seed in range(200):
        person = draw_identity(seed, 0, 0.0)
        rng = generator(seed, Stream.PICTURE, 0)
        shot = replace(draw_shot(rng, draw_camera(seed, 0, 0.0), 0.0), facing="back", yaw=np.pi)
        facts = choose_facts(person, replace(shot, occluder="wall"), 0.0, rng)
        assert not facts.names & {"eyewear", "inner", "shoes"}
        assert facts.item("upper").pattern != "print"
        if person.upper.kind == "coat" and person.lower and person.lower.kind == "shorts":
            assert "lower" not in facts.names
        if person.carried is not None and person.carried.kind == "phone":
            assert "carried" not in facts.names


def test_two_wordings_of_the_same_facts() -> None:
    lengths = []
    for seed in range(200):
        facts = witness(seed, 0.3)
        wordings = describe(facts, ENGLISH, generator(seed, Stream.CAPTION, 1))
        assert wordings[0] != wordings[1]
        for text in wordings:
            assert re.fullmatch(r"[A-Z][a-z ,.'A-Z-]*\.", text), text
            assert not re.search(r"  |,,|\.\.| [.,]|\ba [aeiou]", text), text
            lengths.append(len(text.split()))
    assert np.mean([15 <= length <= 45 for length in lengths]) > 0.85


def test_two_chinese_wordings_of_the_same_facts() -> None:
    lengths = []
    for seed in range(200):
        facts = witness(seed, 0.3)
        wordings = describe(facts, CHINESE, generator(seed, Stream.CAPTION, 1))
        assert wordings[0] != wordings[1]
        for text in wordings:
            assert re.fullmatch(r"([\u4e00-\u9fffT]+[，。])+", text), text
            assert not re.search("的的|，。|[^。]$|(.)色\\1色", text), text
            lengths.append(len(text))
    assert np.mean([25 <= length <= 110 for length in lengths]) > 0.9


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_a_language_has_words_for_everything(language: Language) -> None:
    for name in (field.name for field in fields(Language)):
        table = getattr(language, name)
        if isinstance(table, Mapping) and name not in ("places", "verbs"):
            assert table.keys() == getattr(ENGLISH, name).keys(), name
            assert all(table.values()), name
    assert language.places.keys() <= language.nouns.keys()
    assert language.nouns.keys() == language.vague_nouns.keys()
    slots = {
        slot
        for frame in language.frames
        for piece in frame
        for slot in re.findall(r"{(\w+)}", piece)
    }
    assert slots - language.verbs.keys() <= {*LISTS, "person", "they", "acts", "moves"}
    always = [frame for frame in language.frames if not re.search("{(have|carry|moves)}", frame[0])]
    assert len(always) >= 2, "two frames fit whatever is told"


def test_captions_tell_less_the_higher_the_difficulty() -> None:
    numbers, exact = [], []
    for difficulty in (0.0, 0.25, 0.5, 0.75, 1.0):
        told = [witness(seed, difficulty) for seed in range(300)]
        numbers.append(np.mean([len(facts.names) for facts in told]))
        exact.append(np.mean([len(facts.names - facts.vague) for facts in told]))
        assert all(facts.names & set(MAIN) for facts in told)
    assert numbers == sorted(numbers, reverse=True)
    assert exact == sorted(exact, reverse=True)
    assert numbers[0] > 1.7 * numbers[-1]


def test_named_colours_are_told_apart() -> None:
    shades = np.array(list(CLOTH.values()), dtype=float)
    distances = np.linalg.norm(shades[:, None] - shades[None], axis=-1)
    assert distances[~np.eye(len(shades), dtype=bool)].min() > 45


@pytest.mark.parametrize(
    ("layout", "changes", "said"),
    [
        ("cuhk", {}, "did you mean cuhk-pedes"),
        ("rstpreid", {"identities": {"train": 0}}, "no identities: give"),
        ("rstpreid", {"identities": {"train": -1}}, "-1 identities"),
        ("icfg-pedes", {"identities": {"train": 1, "val": 1}}, "has no val split: use"),
        ("rstpreid", {"images": (3, 2)}, "images per identity"),
        ("rstpreid", {"height": (8, 96)}, "image height"),
        ("rstpreid", {"difficulty": float("nan")}, "difficulty nan"),
        ("rstpreid", {"seed": -1}, "seed -1"),
        ("rstpreid", {"workers": 0}, "0 workers"),
        ("rstpreid", {"languages": ("en", "fr")}, "languages 'en fr': give one or more of en, ch"),
        ("rstpreid", {"languages": ("en", "en")}, "each once"),
        ("rstpreid", {"languages": ()}, "languages '': give one or more of en, ch"),
    ],
)
def test_refuses_bad_arguments(
    tmp_path: Path, layout: str, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        write(layout, tmp_path / "data", **changes)
    assert not (tmp_path / "data").exists()


def test_finds_what_is_there_and_refuses_what_is_another(tmp_path: Path) -> None:
    written = write("rstpreid", tmp_path)
    before = {file: file.stat().st_mtime_ns for file in written.root.rglob("*")}
    assert write("rstpreid", tmp_path) == written
    with pytest.raises(InputError, match=r"different arguments \(seed\)"):
        write("rstpreid", tmp_path, seed=9)
    assert before == {file: file.stat().st_mtime_ns for file in written.root.rglob("*")}


def test_other_languages_stand_beside_english(tmp_path: Path) -> None:
    english = write("cuhk-pedes", tmp_path / "en")
    both = write("cuhk-pedes", tmp_path / "both", languages=("en", "ch"))
    assert both.counts == english.counts
    before, after = files(english.root), files(both.root)
    assert before.keys() <= after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"synthetic.json"}
    added = {f"processed/{s}_reid_{lang}.json" for s in IDENTITIES for lang in ("en", "ch")}
    assert after.keys() - before.keys() == added
    for split in IDENTITIES:
        assert after[f"processed/{split}_reid_en.json"] == after[f"processed/{split}_reid.json"]
        pairs = [json.loads(after[f"processed/{split}_reid_{lang}.json"]) for lang in ("en", "ch")]
        for one, other in zip(*pairs, strict=True):
            for key in ("captions", "captions_bt"):
                assert len(one[key]) == len(set(one[key])) == len(set(other[key])) == 2
                for text, translation in zip(one[key], other[key], strict=True):
                    assert ("umbrella" in text) == ("伞" in translation)
                    women = re.search(r"\b([Ss]he|woman|female|[Ll]ady)\b", text)
                    assert bool(women) == ("女" in translation)
    chinese = write("cuhk-pedes", tmp_path / "ch", languages=("ch",))
    assert (chinese.processed / "val_reid.json").read_bytes() == after["processed/val_reid_ch.json"]


@pytest.mark.parametrize(
    ("made", "asked"),
    [(["en"], ["en", "ch"]), (["en", "ch"], ["en"]), (["en", "ch"], ["ch", "en"])],
)
def test_languages_are_part_of_the_arguments(
    tmp_path: Path, made: list[str], asked: list[str]
) -> None:
    written = write("rstpreid", tmp_path, identities={"train": 1}, languages=made)
    assert write("rstpreid", tmp_path, identities={"train": 1}, languages=made) == written
    with pytest.raises(InputError, match=r"different arguments \(languages\)"):
        write("rstpreid", tmp_path, identities={"train": 1}, languages=asked)


def test_a_receipt_from_before_there_were_languages_is_one_of_english(tmp_path: Path) -> None:
    written = write("rstpreid", tmp_path, identities={"train": 1})
    arguments = json.loads((written.root / "synthetic.json").read_text())["arguments"]
    assert arguments.keys() == {
        "layout",
        "identities",
        "images",
        "seed",
        "height",
        "difficulty",
        "version",
    }
    assert write("rstpreid", tmp_path, identities={"train": 1}, languages=["en"]) == written


def test_refuses_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "RSTPReid").mkdir()
    (tmp_path / "RSTPReid" / "data_captions.json").write_text("[]")
    with pytest.raises(InputError, match="was not written by this program"):
        write("rstpreid", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write("rstpreid", tmp_path / "file")


def test_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("misc.synthetic.writing.write_json", fail)
    with pytest.raises(InputError, match="No space left on device"):
        write("rstpreid", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--layout", "icfg-pedes", "--output", str(tmp_path), "--train", "2", "--test", "1"]
    arguments += ["--images", "1", "2", "--height", "40", "40", "--languages", "en", "ch"]
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert (tmp_path / "ICFG-PEDES" / "processed" / "test_reid_ch.json").is_file()
    printed = capsys.readouterr().out
    assert "2 identities" in printed
    assert str(tmp_path / "ICFG-PEDES" / "ICFG-PEDES.json") in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to do"),
        (["--layout", "rstp", "--output", "x"], "did you mean rstpreid"),
        (["--layout", "rstpreid"], "give both --layout and --output"),
        (["--layout", "rstpreid", "--output", ""], "argument --output: it is empty"),
        (["--contact-sheet", "sheet.nothing"], "cannot write sheet.nothing"),
        (["--contact-sheet", "sheet.psd"], "cannot write sheet.psd"),  # Pillow only reads it
        (["--layout", "rstpreid", "--output", "x", "--contact-sheet", "sheet"], "write sheet (unk"),
        (
            ["--layout", "cuhk-pedes", "market1501", "--output", "x", "--images", "2", "2"],
            "images per identity (2, 2): give a range of at least 4",
        ),
    ],
)
def test_command_line_refuses(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_contact_sheet(tmp_path: Path) -> None:
    assert main(["--contact-sheet", str(tmp_path / "docs" / "sheet.jpg"), "--seed", "5"]) == 0
    with Image.open(tmp_path / "docs" / "sheet.jpg") as sheet:
        assert sheet.size == (1204, 1084)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_contact_sheet_replaces_contact_sheets_alone(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"sheet.{suffix}"
    Image.new("RGB", (4, 4)).save(file)
    assert main(["--contact-sheet", str(file)]) == 2
    write_picture(file, Image.new("RGB", (400, 400)), description=SHEET.mark.decode())
    assert SHEET(str(file)) == file
