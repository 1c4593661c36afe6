"""Drawn composed queries: the same bytes twice, one change each, words that are true of it."""

import json
from collections import defaultdict
from dataclasses import fields

import pytest

from misc.datasets.composed import read_composed
from misc.synthetic.__main__ import main
from misc.synthetic.composed import UNMATCHED, WrittenComposed, write_composed_dataset
from misc.synthetic.pedestrians.attributes import draw_identity
from misc.synthetic.pedestrians.cameras import draw_camera
from misc.synthetic.pedestrians.chance import Stream, generator
from misc.synthetic.pedestrians.changes import (
    PARTS,
    TEMPLATES,
    describe_change,
    draw_changes,
    draw_stranger,
)
from misc.synthetic.pedestrians.english import ENGLISH
from misc.synthetic.pedestrians.shots import draw_shot, visible_attributes
from tests.synthetic.test_pedestrians import files

SMALL = {"identities": {"train": 3, "val": 1, "test": 2}, "height": (32, 40), "seed": 3}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> WrittenComposed:
    return write_composed_dataset(tmp_path_factory.mktemp("composed"), **SMALL)


def read(written: WrittenComposed, name: str) -> list[dict]:
    return json.loads((written.root / name).read_text(encoding="utf-8"))


def test_the_same_arguments_give_the_same_bytes(written, tmp_path):
    again = write_composed_dataset(tmp_path, **SMALL, workers=2)
    assert files(again.root) == files(written.root)
    assert again.counts == written.counts


def test_the_gallery_has_targets_and_both_kinds_of_hard_negatives(written):
    gallery, queries = read(written, "gallery.json"), read(written, "query.json")
    shown = defaultdict(set)
    for picture in gallery:
        shown[picture["person_id"]].add(picture["instance_id"])
    for query in queries:
        person, instance = query["person_id"], query["instance_id"]
        assert {instance, UNMATCHED} < shown[person]
        assert query["file_path"] not in {picture["file_path"] for picture in gallery}
    strangers = [person for person, instances in shown.items() if instances == {UNMATCHED}]
    assert len(strangers) == len({query["instance_id"] for query in queries})


def test_splits_share_no_people(written):
    splits = defaultdict(set)
    for record in read(written, "gallery.json") + read(written, "query.json"):
        splits[record["person_id"]].add(record["split"])
    assert all(len(own) == 1 for own in splits.values())
    assert {split: len(read_composed(written.root)[split].queries) for split in written.counts} == {
        split: count.captions for split, count in written.counts.items()
    }


def changes(number: int = 150):
    for identity in range(number):
        person = draw_identity(0, identity, 0.3)
        rng = generator(0, Stream.CHANGE, identity)
        for change in draw_changes(person, rng, 2):
            yield person, change, rng


def test_a_change_is_of_one_part():
    for person, change, _ in changes():
        own = {"upper", "inner"} if change.part == "upper" else {change.part}
        other = {field.name for field in fields(person)} - own
        assert all(getattr(person, name) == getattr(change.person, name) for name in other)
        assert getattr(person, change.part) != getattr(change.person, change.part)
        assert change.person.lower is not None or change.person.upper.kind == "dress"


def test_every_part_and_kind_of_change_is_drawn():
    drawn = [(change.part, change.kind) for _, change, _ in changes()]
    assert {part for part, _ in drawn} == {*PARTS}
    assert {kind for _, kind in drawn} == {*TEMPLATES}
    assert {"added", "removed"} <= {kind for part, kind in drawn if part == "upper"}  # a coat


def test_the_words_name_what_comes_and_what_goes():
    for _, change, rng in changes():
        words = describe_change(change, rng).lower()
        assert "the an " not in words
        assert "the a " not in words
        if change.after is not None:
            names = ENGLISH.colours[change.after.colour.name]
            assert any(name in words for name in names)
        else:
            nouns = [noun.format("").removeprefix("a ").split()[-1] for noun in nouns_of(change)]
            assert any(noun in words for noun in (*nouns, change.before.kind))


def nouns_of(change) -> tuple[str, ...]:
    return ENGLISH.nouns[change.before.kind]


def test_a_stranger_has_the_change_and_another_outfit():
    for _, change, rng in changes():
        stranger = draw_stranger(change, rng, changes=3)
        assert getattr(stranger, change.part) == getattr(change.person, change.part)
        assert stranger != change.person


def test_a_picture_shows_whether_the_change_was_made():
    shots = hidden = 0
    for person, change, rng in changes():
        shot = draw_shot(rng, draw_camera(0, 0, 0.5), 0.5)
        shots += 1
        hidden += not change.is_visible(person, shot)
        worn = [p for p in (person, change.person) if getattr(p, change.part) is not None]
        seen = [change.part in visible_attributes(p, shot) for p in worn]
        assert change.is_visible(person, shot) == all(seen)
    assert 0 < hidden < shots / 2


def test_the_command_draws_it(tmp_path, capsys):
    words = "--layout composed --train 1 --val 0 --test 1 --images 2 2 --height 32 32 --output"
    assert main([*words.split(), str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "train            1 identities, 8 images, " in out
    assert len(list((tmp_path / "composed" / "train").glob("*.jpg"))) == 8
    status = main([*words.replace("2 2", "1 2").split(), str(tmp_path / "few")])
    assert status == 2
    assert "give a range of at least 2" in capsys.readouterr().err
