import numpy as np
import pytest
import torch

from text_utils.mask_words import IGNORED, MASK_ID, mask_words
from text_utils.tokenizer import ClipTokenizer


def test_words_are_masked_as_often_as_published():
    tokens = torch.arange(100, 20_102)
    tokens[0], tokens[-1] = 49406, 49407
    masked, labels = mask_words(tokens, len(tokens), np.random.default_rng(0))
    chosen = labels != IGNORED
    assert chosen.float().mean() == pytest.approx(0.15, abs=0.01)
    assert torch.equal(labels[chosen], tokens[chosen])
    assert torch.equal(masked[~chosen], tokens[~chosen])
    fates = masked[chosen]
    assert (fates == MASK_ID).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (fates == tokens[chosen]).float().mean() == pytest.approx(0.1, abs=0.02)


def test_the_ends_of_the_text_stay_where_they_are():
    tokenizer, rng = ClipTokenizer(), np.random.default_rng(0)
    tokens = tokenizer(["a man in a red coat", "", "!"])
    for row, length in zip(tokens, tokenizer.lengths(tokens).tolist(), strict=True):
        for _ in range(300):
            masked, labels = mask_words(row, length, rng, p=0.9)
            assert masked.argmax() == length - 1
            assert masked[0] == row[0]
            assert torch.equal(masked[length:], row[length:])
            assert (labels[[0, length - 1]] == IGNORED).all()


def test_a_word_at_least_is_masked():
    tokenizer, rng = ClipTokenizer(), np.random.default_rng(0)
    row, empty = tokenizer(["a man in a red coat", ""])
    masked, labels = mask_words(row, 8, rng, p=0.0)
    assert (labels[1], masked[1]) == (row[1], MASK_ID)
    assert ((labels != IGNORED).sum(), (masked != row).sum()) == (1, 1)
    masked, labels = mask_words(empty, 2, rng, p=0.0)
    assert torch.equal(masked, empty)
    assert (labels == IGNORED).all()
