"""Synonyms from WordNet (Miller 1995)."""

from collections.abc import Callable
from functools import cache
from typing import Any

from errors import InputError

Lookup = Callable[[str], tuple[str, ...]]

# EDA neither replaces these words nor inserts synonyms of them.
_STOP_WORDS = """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she
    her hers herself it its itself they them their theirs themselves what which who whom this that
    these those am is are was were be been being have has had having do does did doing a an the and
    but if or because as until while of at by for with about against between into through during
    before after above below to from up down in out on off over under again further then once here
    there when where why how all any both each few more most other some such no nor not only own
    same so than too very s t can will just don should now
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


class Synonyms:
    """Lookup of the synonyms of an English word, in alphabetical order for reproducibility.

    Raises:
        InputError: nltk or its WordNet data is not installed.
    """

    def __init__(self) -> None:
        try:
            _wordnet().ensure_loaded()
        except (ImportError, LookupError):
            raise InputError(
                "WordNet, which synonyms are taken from, is not installed: run `pip install nltk` "
                "and `python -m nltk.downloader wordnet omw-1.4`, or choose a text operation "
                "without synonyms (deletion, swap)"
            ) from None

    def __call__(self, word: str) -> tuple[str, ...]:
        return _synonyms(word.lower())


def _wordnet() -> Any:
    # Imported here, because nltk is optional and takes a second to import.
    from nltk.corpus import wordnet

    return wordnet


@cache
def _synonyms(word: str) -> tuple[str, ...]:
    """Synonyms of letters and spaces only, as in EDA; WordNet has `T-shirt` and `human_being`."""
    if word in STOP_WORDS:
        return ()
    found = set()
    for meaning in _wordnet().synsets(word):
        for name in meaning.lemma_names():
            spaced = name.lower().replace("_", " ").replace("-", " ")
            found.add("".join(letter for letter in spaced if letter.isalpha() or letter == " "))
    return tuple(sorted(found - {word, ""}))
