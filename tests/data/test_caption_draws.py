"""Shares and probabilities of the augmentations of captions, by statistics over many draws."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from misc.data.text import Sample, TextAugmentation
from misc.data.text_collate import Mixing, TextCollate
from tests.data.draws import assert_alike, assert_share, assert_uniform
from text_utils.augment import (
    random_deletion,
    random_insertion,
    random_swap,
    synonym_replacement,
)
from text_utils.mask_words import IGNORED, MASK_ID, ORDINARY, mask_words
from text_utils.tokenizer import ClipTokenizer


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def caption(length: int) -> str:
    """Words `w0 w1 ...`."""
    return " ".join(f"w{i}" for i in range(length))


def synonyms(word: str) -> tuple[str, ...]:
    """Three of each word: `w0a w0b w0c`."""
    return tuple(word + letter for letter in "abc")


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_each_word_is_deleted_with_probability_p(rng, p):
    words = caption(40).split()
    kept = [set(random_deletion(caption(40), p, rng).split()) for _ in range(200)]
    assert_share([word not in of_caption for of_caption in kept for word in words], p)
    for word in words[:1] + words[-1:]:
        assert_share([word not in of_caption for of_caption in kept], p)


OPERATIONS = pytest.mark.parametrize(
    ("length", "p", "number"), [(5, 0.1, 1), (19, 0.1, 1), (20, 0.1, 2), (39, 0.1, 3), (10, 0.5, 5)]
)


@OPERATIONS
def test_as_many_synonyms_are_inserted_as_published(rng, length, p, number):
    changed = [random_insertion(caption(length), p, rng, synonyms).split() for _ in range(30)]
    assert {len(words) for words in changed} == {length + number}


@OPERATIONS
def test_as_many_words_are_replaced_as_published(rng, length, p, number):
    own = set(caption(length).split())
    changed = [synonym_replacement(caption(length), p, rng, synonyms).split() for _ in range(30)]
    assert {len(own - set(words)) for words in changed} == {number}
    assert {len(words) for words in changed} == {length}


@OPERATIONS
def test_as_many_words_are_swapped_as_published(rng, length, p, number):
    """The swap of two changes the parity of the order, so it tells one, two and three apart."""
    for _ in range(30):
        order = [int(word[1:]) for word in random_swap(caption(length), p, rng).split()]
        moved = sum(a != b for a, b in enumerate(order))
        inversions = sum(order[i] > order[j] for j in range(length) for i in range(j))
        assert moved <= 2 * number
        assert inversions % 2 == number % 2


def test_words_places_and_synonyms_are_drawn_alike(rng):
    places, inserted = [], []
    for _ in range(1500):
        words = random_insertion(caption(4), 0.1, rng, synonyms).split()
        (place,) = [i for i, word in enumerate(words) if word[-1] in "abc"]
        places.append(place)
        inserted.append(words[place])
    assert_alike(places, range(5))
    assert_alike(inserted, [word for i in range(4) for word in synonyms(f"w{i}")])
    replaced = [synonym_replacement(caption(4), 0.1, rng, synonyms) for _ in range(1500)]
    drawn = [next(word for word in text.split() if word[-1] in "abc") for text in replaced]
    assert_alike(drawn, [word for i in range(4) for word in synonyms(f"w{i}")])
    pairs = [
        tuple(
            i for i, word in enumerate(random_swap(caption(4), 0.1, rng).split()) if word != f"w{i}"
        )
        for _ in range(1500)
    ]
    assert_alike(pairs, [(i, j) for j in range(4) for i in range(j)])


def test_the_only_word_left_is_any(rng):
    assert_alike([random_deletion("a b c", 1.0, rng) for _ in range(600)], ["a", "b", "c"])


@pytest.mark.parametrize("p", [0.1, 0.8])
def test_captions_are_replaced_by_their_back_translations_with_their_probability(rng, p):
    augment = TextAugmentation(p, random_deletion, strength=0.0)
    assert_share([augment("one", "two", rng) == "two" for _ in range(2000)], p)


def test_words_are_masked_and_replaced_with_the_probabilities_of_bert(rng):
    tokens = torch.full((20_002,), 777)
    masked, labels = mask_words(tokens, len(tokens), rng)
    chosen = (labels != IGNORED)[1:-1]
    assert_share(chosen.tolist(), 0.15)
    first, second = zip(*pairwise(chosen.tolist()), strict=True)
    assert_share([a and b for a, b in zip(first, second, strict=True)], 0.15**2)
    fates = masked[labels != IGNORED]
    assert_share((fates == MASK_ID).tolist(), 0.8)
    assert_share((fates == 777).tolist(), 0.1)
    random_words = fates[(fates != MASK_ID) & (fates != 777)]
    assert_share([fate not in (MASK_ID, 777) for fate in fates.tolist()], 0.1)
    assert_uniform(random_words.tolist(), 1, ORDINARY - 1)


def test_groups_of_a_batch_are_mixed_with_their_probability():
    """Each by itself; half of a group's captions are then joined ones."""
    samples = [
        Sample((0, i), torch.full((1, 3, 2, 2), float(i)), None, f"w{i}", i) for i in range(1600)
    ]
    collate = TextCollate(ClipTokenizer(), mixing=Mixing("ori", p=0.3, ratio=0.5, rows=2), seed=3)
    first_views = collate(samples).images[0, :, 0, 0, 0]
    mixed = (first_views[::2] != torch.arange(0, 1600, 2)).tolist()
    assert_share(mixed, 0.3)
    first, second = zip(*pairwise(mixed), strict=True)
    assert_share([a and b for a, b in zip(first, second, strict=True)], 0.3**2)
    assert torch.equal(first_views[1::2], torch.arange(1.0, 1600, 2))
