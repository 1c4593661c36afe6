"""Random changes of captions: the four operations of EDA (Wei and Zou, EMNLP 2019, arXiv
1901.11196).

Deletion takes `p` as the probability of each word; the others are done `max(1, int(p * words))`
times, and not at all when `p` is 0. A caption without a word comes back as it is.
"""

import string
from collections.abc import Sequence
from typing import TypeVar

from numpy.random import Generator

from text_utils.synonyms import Lookup
from text_utils.words import split_words

Item = TypeVar("Item")


def random_deletion(text: str, p: float, rng: Generator) -> str:
    """Drop each word with probability `p`; one word always survives.

    A caption of one word, or of none, comes back as it is.
    """
    words, join = split_words(text)
    if len(words) < 2:
        return text
    kept = [word for word in words if rng.random() > p]
    return join(kept or [_choice(words, rng)])


def random_swap(text: str, p: float, rng: Generator) -> str:
    """Let two words change places.

    A caption of one word, or of none, comes back as it is.
    """
    words, join = split_words(text)
    if len(words) < 2:
        return text
    for _ in range(_operations(words, p)):
        first, second = _draw_two(len(words), rng)
        words[first], words[second] = words[second], words[first]
    return join(words)


def random_insertion(text: str, p: float, rng: Generator, synonyms: Lookup) -> str:
    """Put a synonym of one of the caption's words at any place.

    Args:
        synonyms: those of a word, none for a stop word; `Synonyms()` asks WordNet.
    """
    words, join = split_words(text)
    sources = [found for word in words if (found := synonyms(_bare(word)))]
    if not sources:
        return text
    for _ in range(_operations(words, p)):
        synonym = _choice(_choice(sources, rng), rng)
        words.insert(int(rng.random() * (len(words) + 1)), synonym)
    return join(words)


def synonym_replacement(text: str, p: float, rng: Generator, synonyms: Lookup) -> str:
    """Replace different words by one of their synonyms each, wherever they stand.

    Args:
        synonyms: those of a word, none for a stop word; `Synonyms()` asks WordNet.
    """
    words, join = split_words(text)
    candidates = [word for word in dict.fromkeys(map(_bare, words)) if synonyms(word)]
    if not candidates:
        return text
    replaced: dict[str, str] = {}
    for _ in range(min(_operations(words, p), len(candidates))):
        word = candidates.pop(int(rng.random() * len(candidates)))
        replaced[word] = _choice(synonyms(word), rng)
    return join(
        [
            word.replace(bare, replaced[bare]) if (bare := _bare(word)) in replaced else word
            for word in words
        ]
    )


def _operations(words: Sequence[str], p: float) -> int:
    return max(1, int(p * len(words))) if p > 0 else 0


def _choice(items: Sequence[Item], rng: Generator) -> Item:
    return items[int(rng.random() * len(items))]


def _draw_two(number: int, rng: Generator) -> tuple[int, int]:
    """Two different ones of 0, ..., number - 1."""
    first, second = int(rng.random() * number), int(rng.random() * (number - 1))
    return first, second + (second >= first)


def _bare(word: str) -> str:
    """The word without the commas and the like around it, which a dictionary does not know."""
    return word.strip(string.punctuation + string.whitespace)
