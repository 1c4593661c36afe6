"""The script of a text."""

import unicodedata
from collections import Counter
from functools import cache

EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA"}  # mixed in Japanese sentences
UNSPACED = {"CJK", "THAI", "LAO", "KHMER", "MYANMAR"}  # without spaces between words


def main_script(text: str) -> str | None:
    """The most frequent script among the letters, such as `LATIN`, `CJK` or `CYRILLIC`; None if
    there are no letters. Japanese counts as `CJK`.
    """
    letters: Counter[str] = Counter()
    for letter, number in Counter(unicodedata.normalize("NFKC", text)).items():
        script = _script(letter)
        if script:
            letters[script] += number
    return letters.most_common(1)[0][0] if letters else None


@cache
def _script(letter: str) -> str | None:
    if not letter.isalpha():
        return None
    script = unicodedata.name(letter, "UNKNOWN").split()[0]
    return "CJK" if script in EAST_ASIAN else script
