"""YAML 1.2: scalars of the core schema, and broken files."""

import pytest

from errors import InputError
from misc.settings.yaml12 import read_yaml, write_yaml
from tests.command_line import refusal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("-7", -7),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        *((word, word) for word in ("no", "yes", "on", "Off", "y", "1_000", "0b1", "1:30", "<<")),
        ("2020-01-01", "2020-01-01"),
        ("'4'", "4"),
        ("-.inf", float("-inf")),
    ],
)
def test_scalars_of_the_core_schema(text, value):
    read = read_yaml(text, "here")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["a: [1", "a: 1\nb:\n  a: 1\n  a: 2", "{1: 2}", "&a [*a]", "!x 1"])
def test_broken_yaml_names_its_line(write, text):
    path = write("broken.yaml", text)
    assert f"{path}, line " in refusal("--config", path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n\tb: 1", "line 2: a tab stands here: indent with spaces"),
        ("a: @x", "line 1: a text cannot begin with @: put it in quotes"),
        ("a: *.weight", "line 1: a text cannot begin with * or &: put it in quotes"),
        ("a: b: c", "line 1: a second colon: put a text with a colon in quotes"),
        ("a: 1\nb\nc: 2", "line 3: a colon is missing: write `key: value`"),
        ("a: 'b", "line 1: a quote is not closed"),
        ('a: "C:\\data"', "line 1: `\\` in double quotes: use single quotes"),
        ("a: [1, 2\nb: 3", "line 2: a comma or the closing ] is missing"),
        ("a: {b: 1\nc: 3", "line 2: a comma or the closing } is missing"),
        ("a: 1\n b: 2", "line 2: a second colon: put a text with a colon in quotes"),
        ("a:\n  b: 1\n c: 2", "line 3: it does not fit the lines above: check indentation"),
        ("a: 1\n---\nb: 1", "line 2: a second document begins"),
        ("a: 1\nb: \x07", "line 2: the character U+0007 is not allowed in text: take it out"),
        ('a: "\\0"', "line 1: the character U+0000 is not allowed in text"),
        ('a: "\\ud800"', "line 1: the character U+D800 is not allowed in text"),
        ("a: " + "1" * 5000, "line 1: a number of 5000 digits is too large"),
        ("a: 0x" + "f" * 5000, "line 1: a number of 5002 digits is too large"),
        ("{[a]: 1}", "line 1: key is not a word"),
        ("a: " + "[" * 10_000, "line 1: more than 40 sections or lists are within one another"),
        ("x" * 100_001, ": too long, at most 100,000 characters are read"),
    ],
)
def test_broken_yaml_in_plain_words(text, words):
    with pytest.raises(InputError) as caught:
        read_yaml(text, "here")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        *("!!python/object/apply:os.mkdir [marker]", "!!python/name:os.system x", "!x 1"),
        *("!!set {a}", "!!binary aGk=", "!!timestamp 2020-01-01", "!!omap [a: 1]", "!!int x"),
        *("!!bool x", "!!map [1]", "!!str 1"),
    ],
)
def test_tags_are_refused(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"here, line 2: the tag \S+ is not allowed: leave it out"):
        read_yaml(f"a:\n  {value}", "here")
    assert [*tmp_path.iterdir()] == []


def test_aliases_are_refused():
    laughs = ["a0: &a0 [ha]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    for text in ("\n".join(laughs), "a: &a [1]\nb: *a"):
        with pytest.raises(InputError, match=r"here, line 2: \*a0? repeats a value"):
            read_yaml(text, "here")


def test_what_is_written_repeats_values():
    shared = ["x"]
    assert read_yaml(write_yaml({"a": shared, "b": shared}), "here") == {"a": ["x"], "b": ["x"]}


def test_duplicate_key_names_key_and_line(write):
    path = write("twice.yaml", "data:\n  batch_size: 1\n  batch_size: 2\n")
    assert refusal("--config", path) == f"{path}, line 3: key batch_size comes twice"
