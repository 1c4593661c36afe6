"""Cleaning of captions."""
# ruff: noqa: RUF001 - Chinese has full-width punctuation

import re

from text_utils.scripts import UNSPACED, main_script
from text_utils.words import split_words

_PUNCTUATION = re.compile(r"[.!\"()*#:;~]")
_SPACES = re.compile(r"\s{2,}")

# Where words are not parted by spaces, the same marks are wide, and those around words leave none.
_WIDE = re.compile(r"[。．｡…！：；“”＂「」『』（）＊＃～〜\u3000]")
_MARKS = r"\"“”＂「」『』()（）*＊#＃~～〜"
_AROUND_WORDS = re.compile(rf"(?<![a-z0-9{_MARKS}])[{_MARKS}]+|[{_MARKS}]++(?![a-z0-9])")


def clean_caption(text: str, max_words: int = 77) -> str:
    """Lower-case, without . ! " ( ) * # : ; ~ and doubled white space, cut to `max_words` words.

    As TBPS-CLIP does (`pre_caption` of BLIP, Li et al., 2022): a lone tab or newline inside stays,
    and only spaces part words. Ours, for scripts without spaces between words: the full-width marks
    go, too, those around words leave a space only where words need it, and `split_words` counts.
    """
    text, script = text.lower(), main_script(text)
    if script in UNSPACED:
        text = _AROUND_WORDS.sub("", text)
    if script is None or script in UNSPACED:
        text = _WIDE.sub(" ", text)
    text = _PUNCTUATION.sub(" ", text)
    text = _SPACES.sub(" ", text).rstrip("\n").strip(" ")
    if script in UNSPACED and len(text) > max_words:  # as many words need as many characters
        words, join = split_words(text)
        return join(words[:max_words])
    return " ".join(text.split(" ")[:max_words])
