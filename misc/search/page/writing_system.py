"""The writing system of a sentence."""

import unicodedata
from collections import Counter

NAMES = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}


def writing_system(sentence: str) -> str | None:
    """The name of the writing system of most letters, such as `Chinese` or `Cyrillic`; None: Latin,
    or no letters.
    """
    found = Counter(
        unicodedata.name(letter, "?").split()[0] for letter in sentence if letter.isalpha()
    )
    if not found:
        return None
    # Japanese has Chinese letters as well, Chinese has no others.
    kana = {"HIRAGANA", "KATAKANA"} & found.keys()
    name = kana.pop() if kana else found.most_common(1)[0][0]
    return None if name == "LATIN" else NAMES.get(name, name.capitalize())
