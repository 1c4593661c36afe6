"""The words of a caption, in any language."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import regex

from text_utils.scripts import UNSPACED, main_script

Join = Callable[[Sequence[str]], str]

_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_SPACED = regex.compile(rf"[[\p{{L}}\p{{N}}]--{_UNSPACED}]", regex.V1)
_WORD = regex.compile(
    rf"""
    ( (?: ^ [^\p{{L}}\p{{N}}]* )? )  # what stands before the first word
    (
        (?P<chinese> \p{{Han}}+ )
      | \p{{Latin}} \p{{Han}}        # a T-shirt and a V-neck are a letter and a character
      | [\p{{Katakana}}\u30fc]+      # foreign words in Japanese
      | {_SPACED.pattern} [[\p{{L}}\p{{N}}\p{{M}}\p{{ASCII}}]--[\s{_UNSPACED}]]*
      | \X                           # otherwise a character, with its accents and vowel signs
    )
    ( [^\p{{L}}\p{{N}}]* )
    """,
    regex.V1 | regex.VERBOSE,
)


def split_words(text: str) -> tuple[list[str], Join]:
    """The words of a caption, and what joins them again, changed or not.

    White space parts words, and one space joins them. In a caption mainly of a script without
    spaces between words, Chinese is parted by jieba and the rest at least into characters;
    punctuation and white space belong to the word before them; joining gives back the caption,
    but for white space at its ends, and keeps words that do need a space apart.
    """
    if main_script(text) in UNSPACED:
        return _segment(text), _join
    return text.split(), " ".join


def _segment(text: str) -> list[str]:
    words: list[str] = []
    for match in _WORD.finditer(text):
        before, word, _, after = match.groups()
        parts = _jieba().lcut(word) if match["chinese"] else [word]
        parts[0] = before + parts[0]
        parts[-1] += after
        words += parts
    return words


def _join(words: Sequence[str]) -> str:
    text = "".join(words[:1])
    for left, right in pairwise(words):
        apart = _SPACED.match(left[-1]) and _SPACED.match(right)
        text += f" {right}" if apart else right
    return text.strip()


@cache
def _jieba() -> Any:
    """A segmenter that has read its dictionary, in a second.

    Its own way of doing so writes to stderr and keeps a file for all users in the temporary folder,
    over which workers would race and which saves little.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package is older than this Python
        import jieba

    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return segmenter
