"""Masking of words, for a model that has to find them again."""

import torch
from numpy.random import Generator
from torch import Tensor

IGNORED = -100  # the label of a word that was not masked
MASK_ID = 49405  # the last ordinary id of CLIP's vocabulary, which no caption has
ORDINARY = MASK_ID  # ids below it are words and their pieces


def mask_words(
    tokens: Tensor, length: int, rng: Generator, p: float = 0.15
) -> tuple[Tensor, Tensor]:
    """Hide words as BERT does (Devlin et al. 2019, section 3.1).

    Each token between start and end of the text is chosen with probability `p`; of the chosen ones
    80 % become the mask, 10 % another word, never an end of the text, and 10 % stay.

    Args:
        tokens: (L,), int64.
        length: tokens of the caption, start and end included.

    Returns:
        The masked tokens (L,), and labels (L,): the word that stood there, or -100.
    """
    masked, labels = tokens.clone(), torch.full_like(tokens, IGNORED)
    for place in range(1, length - 1):
        if rng.random() >= p:
            continue
        labels[place] = tokens[place]
        fate = rng.random()
        if fate < 0.8:
            masked[place] = MASK_ID
        elif fate < 0.9:
            masked[place] = int(rng.integers(ORDINARY))
    return masked, labels
