"""Cleaning of captions."""
# ruff: noqa: RUF001 - Chinese has full-width punctuation

import re

from text_utils.scripts import UNSPACED, main_script

MOST_WORDS = 77  # of a caption that is cleaned as TBPS-CLIP does
MOST_CHARACTERS = 10_000  # of a caption; a model reads some 77 words

_PUNCTUATION = re.compile(r"[.!\"()*#:;~]")
_WIDE = re.compile(r"[。．｡！…：；“”＂「」『』（）＊＃～〜\u3000]")
_SPACES = re.compile(r"\s{2,}")


def clean_caption(text: str, max_words: int = MOST_WORDS) -> str:
    """Lower-case a caption, remove . ! " ( ) * # : ; ~ and repeated white space, and keep the first
    `max_words` words, of at most `MOST_CHARACTERS` characters.

    As in TBPS-CLIP (`pre_caption` of BLIP, Li et al., 2022): words are separated by spaces only,
    and single tabs and newlines are kept. In scripts without spaces between words, full-width
    punctuation is removed, too, which TBPS-CLIP does not do.
    """
    text = text[:MOST_CHARACTERS].lower()
    if main_script(text) in (None, *UNSPACED):
        text = _WIDE.sub(" ", text)
    text = _PUNCTUATION.sub(" ", text)
    text = _SPACES.sub(" ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])
