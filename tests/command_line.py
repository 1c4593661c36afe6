"""Configurations and error messages of command lines."""

from collections.abc import Sequence

import pytest

import options
from errors import InputError


def latest(words: Sequence[str]) -> list[str]:
    """A command line with the last setting of each key alone: tests change what all have."""
    settings = {word.partition("=")[0]: word for word in words if not word.startswith("-")}
    return [word for word in words if settings.get(word.partition("=")[0], word) is word]


def parse(words: Sequence[str]) -> options.Command:
    """A command line whose settings replace earlier ones of the same key."""
    return options.parse(latest(words))


def configure(*words: str) -> options.Config:
    """The configuration of a command line."""
    return options.parse(words).configure()


def refusal(*words: str) -> str:
    """The message that a command line is refused with."""
    with pytest.raises(InputError) as caught:
        configure(*words)
    return str(caught.value)
