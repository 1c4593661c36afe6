import numpy as np
import pytest

from text_utils.augment import random_deletion


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
