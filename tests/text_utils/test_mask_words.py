from itertools import cycle

import numpy as np
import pytest
import torch

from text_utils.mask_words import IGNORED, MASK_ID, change_tokens, mask_words
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


@pytest.mark.parametrize(("change", "fate"), [(mask_words, 0.85), (change_tokens, 0.14)])
def test_the_padding_is_no_random_word(change, fate):
    """As in the published codes: the least word that they draw is 1."""

    class Lowest:
        """A generator whose every whole number is the least one."""

        def __init__(self) -> None:
            self.fates = cycle([0.0, fate] if change is mask_words else [fate])

        def random(self) -> float:
            return next(self.fates)

        def integers(self, low: int, high: int | None = None) -> int:
            return 0 if high is None else low

    row = torch.tensor([49406, 5, 6, 49407, 0])
    changed = change(row, 4, Lowest())
    changed = changed[0] if change is mask_words else changed
    assert changed.tolist() == [49406, 1, 1, 49407, 0]


def test_tokens_are_changed_as_often_as_published():
    tokens = torch.arange(100, 20_102)
    tokens[0], tokens[-1] = 49406, 49407
    changed = change_tokens(tokens, len(tokens), np.random.default_rng(0))
    length = int(changed.argmax()) + 1
    assert (changed[0], changed[length - 1]) == (49406, 49407)
    assert not changed[length:].any()
    assert 1 - length / len(tokens) == pytest.approx(0.2 * 0.2, abs=0.004)
    masked = (changed == MASK_ID).sum().item()
    assert masked / len(tokens) == pytest.approx(0.2 * 0.6, abs=0.006)
    kept = set(changed.tolist()) & set(tokens.tolist())
    assert len(kept) / len(tokens) == pytest.approx(0.8, abs=0.02)


def test_what_follows_a_removed_token_moves_up():
    row = torch.tensor([49406, 5, 6, 7, 8, 9, 49407, 0, 0])
    for seed in range(50):
        changed = change_tokens(row, 7, np.random.default_rng(seed), p=0.5)
        end = int(changed.argmax())
        rest = [token for token in changed[1:end].tolist() if token in (5, 6, 7, 8, 9)]
        assert rest == sorted(rest)
        assert not changed[end + 1 :].any()
    assert torch.equal(change_tokens(row, 7, np.random.default_rng(0), p=0.0), row)
