"""The four text augmentations of EDA (Wei and Zou, EMNLP 2019, arXiv 1901.11196).

Deletion drops each word with probability `p`; the other operations are repeated
`max(1, int(p * num_words))` times, or not at all if `p` is 0.
"""

import string
from collections.abc import Sequence
from typing import TypeVar

from numpy.random import Generator

from text_utils.synonyms import Lookup
from text_utils.words import split_words

Item = TypeVar("Item")


def random_deletion(text: str, p: float, rng: Generator) -> str:
    """Drop each word with probability `p`, but keep at least one.

    Captions of fewer than two words are unchanged.
    """
    words, join = split_words(text)
    if len(words) < 2:
        return text
    kept = [word for word in words if rng.random() > p]
    return join(kept or [_choice(words, rng)])


def random_swap(text: str, p: float, rng: Generator) -> str:
    """Swap two random words.

    Captions of fewer than two words are unchanged.
    """
    words, join = split_words(text)
    if len(words) < 2:
        return text
    for _ in range(_operations(words, p)):
        first, second = _draw_two(len(words), rng)
        words[first], words[second] = words[second], words[first]
    return join(words)


def random_insertion(text: str, p: float, rng: Generator, synonyms: Lookup) -> str:
    """Insert a synonym of a random word at a random position.

    Args:
        synonyms: of a word, empty for a stop word; `Synonyms()` looks them up in WordNet.
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
    """Replace random distinct words, each by one of its synonyms, wherever they occur.

    Args:
        synonyms: of a word, empty for a stop word; `Synonyms()` looks them up in WordNet.
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
    """Two different numbers from 0, ..., number - 1."""
    first, second = int(rng.random() * number), int(rng.random() * (number - 1))
    return first, second + (second >= first)


def _bare(word: str) -> str:
    """The word without surrounding punctuation, for the dictionary."""
    return word.strip(string.punctuation + string.whitespace)
