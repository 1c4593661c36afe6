# ruff: noqa: RUF001 - Chinese has full-width punctuation
import string
from collections import Counter
from functools import partial

import numpy as np
import pytest

from text_utils.augment import (
    random_deletion,
    random_insertion,
    random_swap,
    synonym_replacement,
)
from text_utils.captions import clean_caption
from text_utils.words import split_words

WORDS = {"man": ("adult male", "bloke"), "red": ("crimson",), "bag": ("pouch", "sack", "tote")}


def synonyms(word: str) -> tuple[str, ...]:
    return WORDS.get(word.lower(), ())


insert = partial(random_insertion, synonyms=synonyms)
replace = partial(synonym_replacement, synonyms=synonyms)


class Draws:
    """A generator whose draws are given."""

    def __init__(self, *values):
        self.values = list(values)

    def random(self):
        return self.values.pop(0)


def test_a_word_is_kept_when_its_draw_is_above_p():
    assert random_deletion("a b  c\td", 0.5, Draws(0.6, 0.5, 0.4, 0.9)) == "a d"


def test_one_random_word_is_left():
    assert random_deletion("a b c d", 1.0, Draws(0.1, 0.2, 0.3, 0.4, 0.6)) == "c"


@pytest.mark.parametrize("text", ["", "   ", "word"])
def test_a_caption_of_at_most_one_word_survives(text):
    assert random_deletion(text, 1.0, np.random.default_rng(0)) == text


def test_frequency_and_determinism():
    text = " ".join(map(str, range(10_000)))
    kept = random_deletion(text, 0.05, np.random.default_rng(1))
    assert len(kept.split()) == pytest.approx(9_500, abs=100)
    assert kept == random_deletion(text, 0.05, np.random.default_rng(1))
    assert random_deletion("a b c", 0.0, np.random.default_rng(0)) == "a b c"


def test_two_words_change_places():
    assert random_swap("a b c d", 0.25, Draws(0.0, 0.0)) == "b a c d"
    assert random_swap("a b c d", 0.25, Draws(0.99, 0.99)) == "a b d c"
    assert random_swap("a b c d", 0.5, Draws(0.0, 0.0, 0.5, 0.9)) == "b a d c"


def test_swaps_keep_the_words_and_choose_all_pairs_alike():
    rng = np.random.default_rng(0)
    swapped = Counter(random_swap("a b c", 0.1, rng) for _ in range(3000))
    assert swapped.keys() == {"b a c", "c b a", "a c b"}
    assert min(swapped.values()) > 900


def test_a_synonym_of_a_word_is_inserted_anywhere():
    # the word (man, red), its synonym, the place before 0, 1, 2 or after all
    assert insert("the man, red", 0.1, Draws(0.0, 0.9, 0.0)) == "bloke the man, red"
    assert insert("the man, red", 0.1, Draws(0.9, 0.9, 0.99)) == "the man, red crimson"
    rng = np.random.default_rng(0)
    text = " ".join(["bag", *string.ascii_lowercase[:19]])
    longer = [insert(text, 0.1, rng).split() for _ in range(200)]
    assert all(len(words) == 22 for words in longer)
    added = Counter(word for words in longer for word in words if len(word) > 3)
    assert added.keys() == {"pouch", "sack", "tote"}


def test_words_are_replaced_wherever_they_stand():
    # one of man, red, bag; then its synonym
    text = "A man, red bag, red!"
    assert replace(text, 0.1, Draws(0.5, 0.0)) == "A man, crimson bag, crimson!"
    assert replace(text, 0.1, Draws(0.0, 0.0)) == "A adult male, red bag, red!"
    assert replace(text, 0.4, Draws(0.0, 0.9, 0.9, 0.5)) == "A bloke, red sack, red!"
    everything = replace(text, 1.0, np.random.default_rng(0))
    assert not {"man", "red", "bag"} & set(everything.replace(",", "").split())


@pytest.mark.parametrize("operation", [random_deletion, random_swap, insert, replace])
def test_operations_survive_short_captions_and_repeat_themselves(operation):
    for text in ("", "  ", "word", "the a"):
        assert len(operation(text, 0.1, np.random.default_rng(0)).split()) == len(text.split())
    text = "the man carries a red bag , the red bag of a man"
    assert operation(text, 0.0, np.random.default_rng(0)) == text
    results = [operation(text, 0.3, np.random.default_rng(seed)) for seed in range(20)]
    assert results[3] == operation(text, 0.3, np.random.default_rng(3))
    assert len(set(results)) > 5


def test_operations_work_on_the_words_of_chinese():
    text = "红色 外套，的男人"
    assert random_deletion(text, 0.5, Draws(0.6, 0.4, 0.4, 0.9)) == "红色 男人"
    assert random_deletion(text, 1.0, Draws(0.1, 0.2, 0.3, 0.4, 0.3)) == "外套，"
    assert random_swap(text, 0.25, Draws(0.0, 0.99)) == "男人外套，的红色"
    rng = np.random.default_rng(0)
    assert insert(text, 1.0, rng) == replace(text, 1.0, rng) == text, "it has no synonyms"


def test_english_words_in_chinese_have_synonyms():
    text = "背红色的 bag 和包的男人"  # bag: its synonym, the place
    assert insert(text, 0.1, Draws(0.0, 0.0, 0.35)) == "背红色的 pouch bag 和包的男人"
    assert insert(text, 0.1, Draws(0.0, 0.0, 0.99)) == "背红色的 bag 和包的男人pouch"
    assert replace(text, 0.1, Draws(0.0, 0.99)) == "背红色的 tote 和包的男人"


@pytest.mark.parametrize("operation", [random_deletion, random_swap, insert, replace])
@pytest.mark.parametrize(
    "text",
    [
        "穿nike鞋的男人",
        "一个穿着红色外套的男人，背着黑色的双肩包。",
        "红色的外套，" * 100,
        "包",
        "“红色”",
        "男人👨‍👩‍👧‍👦和👜",
        "👨‍👩‍👧‍👦 👜",
        "，、？",
        "行人 wearing 白色 shirt",
        "赤いコートを着た男の人",
        "ผู้ชายใส่เสื้อสีแดง",
        "행인은 빨간 옷을 입고 있다",
        "прохожий в красном пальто",
        "رجل يرتدي معطفا أحمر",
        "red bag " * 150,
    ],
)
def test_a_sentence_in_any_language_survives(operation, text):
    for seed in range(5):
        changed = operation(text, 1.0, np.random.default_rng(seed))
        assert clean_caption(changed)
        assert changed == operation(text, 1.0, np.random.default_rng(seed))
        if operation is random_swap:
            assert sorted(changed.replace(" ", "")) == sorted(text.replace(" ", ""))
        if operation is random_deletion and len(split_words(text)[0]) > 1:
            assert len(changed) < len(text)
            assert changed in text
