"""Cleaning of captions."""
# ruff: noqa: RUF001 - Chinese has full-width punctuation

import re

from text_utils.scripts import UNSPACED, main_script

_PUNCTUATION = re.compile(r"[.!\"()*#:;~]")
_WIDE = re.compile(r"[。．｡！…：；“”＂「」『』（）＊＃～〜\u3000]")
_SPACES = re.compile(r"\s{2,}")


def clean_caption(text: str, max_words: int = 77) -> str:
    """Lower-case, without . ! " ( ) * # : ; ~ and doubled white space, cut to `max_words` words.

    As TBPS-CLIP does (`pre_caption` of BLIP, Li et al., 2022): a lone tab or newline inside stays,
    and only spaces part words. Ours: where a script has no spaces between words, its wide marks go,
    too.
    """
    text = text.lower()
    if main_script(text) in (None, *UNSPACED):
        text = _WIDE.sub(" ", text)
    text = _PUNCTUATION.sub(" ", text)
    text = _SPACES.sub(" ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])
