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
    ( (?: ^ [^\p{{L}}\p{{N}}]* )? )  # anything before the first word
    (
        (?P<chinese> \p{{Han}}+ )
      | \p{{Latin}} \p{{Han}}        # Chinese for T-shirt and V-neck: a letter and a character
      | [\p{{Katakana}}\u30fc]+      # foreign words in Japanese
      | {_SPACED.pattern} [[\p{{L}}\p{{N}}\p{{M}}\p{{ASCII}}]--[\s{_UNSPACED}]]*
      | \X                           # any other character, with its combining marks
    )
    ( [^\p{{L}}\p{{N}}]* )
    """,
    regex.V1 | regex.VERBOSE,
)


def split_words(text: str) -> tuple[list[str], Join]:
    """Split a caption into words; return them with a function that joins words to a caption.

    Words are split at white space and joined by a space. If the caption's main script has no spaces
    between words, Chinese is segmented by jieba and other such scripts into characters; punctuation
    and white space are part of the preceding word. Joining unchanged words restores the caption,
    except for white space at both ends; a space is inserted where two words need one.
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
    """A segmenter with its dictionary loaded, which takes a second.

    jieba's own `initialize` writes to stderr, and caches to a file in the temporary folder that all
    processes share: they would race for it, and it saves little.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba uses syntax that this Python deprecates
        import jieba

    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return segmenter
