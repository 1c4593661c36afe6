"""YAML 1.2: scalars of the core schema, and broken files."""

import pytest

from misc.settings.yaml12 import read_yaml
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


def test_duplicate_key_names_key_and_line(write):
    path = write("twice.yaml", "data:\n  batch_size: 1\n  batch_size: 2\n")
    assert refusal("--config", path) == f"{path}, line 3: key batch_size comes twice"
