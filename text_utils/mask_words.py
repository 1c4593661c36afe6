"""Random masking of words, for masked language modelling."""

import torch
from numpy.random import Generator
from torch import Tensor

IGNORED = -100  # the label of a word that was not masked
MASK_ID = 49405  # the last regular id of CLIP's vocabulary, unused in captions
ORDINARY = MASK_ID  # smaller ids are words and subwords


def mask_words(
    tokens: Tensor, length: int, rng: Generator, p: float = 0.15
) -> tuple[Tensor, Tensor]:
    """Mask words as BERT does (Devlin et al. 2019, section 3.1).

    Each token between the start and end tokens is chosen with probability `p`; 80 % of the chosen
    ones become the mask, 10 % a random word, and 10 % are kept. If none was chosen, the first word
    is masked, as in IRRA's code; an empty caption stays as it is.

    Args:
        tokens: (L,), int64.
        length: number of tokens of the caption, start and end included.

    Returns:
        The masked tokens (L,), and labels (L,): the original token where one was chosen, else -100.
    """
    masked, labels = tokens.clone(), torch.full_like(tokens, IGNORED)
    for position in range(1, length - 1):
        if rng.random() >= p:
            continue
        labels[position] = tokens[position]
        fate = rng.random()
        if fate < 0.8:
            masked[position] = MASK_ID
        elif fate < 0.9:
            masked[position] = int(rng.integers(ORDINARY))
    if length > 2 and bool((labels == IGNORED).all()):
        labels[1], masked[1] = tokens[1], MASK_ID
    return masked, labels
