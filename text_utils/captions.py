"""Cleaning of captions."""

import re

_PUNCTUATION = re.compile(r"[.!\"()*#:;~]")
_SPACES = re.compile(r"\s{2,}")


def clean_caption(text: str, max_words: int = 77) -> str:
    """Lower-case, without . ! " ( ) * # : ; ~ and doubled white space, cut to `max_words` words.

    As TBPS-CLIP does (`pre_caption` of BLIP, Li et al., 2022): a lone tab or newline inside stays,
    and only spaces part words.
    """
    text = _PUNCTUATION.sub(" ", text.lower())
    text = _SPACES.sub(" ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])
