"""Configurations and error messages of command lines."""

import pytest

import options
from errors import InputError


def configure(*words: str) -> options.Config:
    """The configuration of a command line."""
    return options.parse(words).configure()


def refusal(*words: str) -> str:
    """The message that a command line is refused with."""
    with pytest.raises(InputError) as caught:
        configure(*words)
    return str(caught.value)
