"""Random masking and changing of words in tokens of CLIP's vocabulary."""

import torch
from numpy.random import Generator
from torch import Tensor

IGNORED = -100  # the label of a word that was not masked
MASK_ID = 49405  # the last regular id of CLIP's vocabulary, unused in captions
ORDINARY = MASK_ID  # smaller ids are words and subwords; 0 is also the padding and never drawn


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
            masked[position] = int(rng.integers(1, ORDINARY))
    if length > 2 and bool((labels == IGNORED).all()):
        labels[1], masked[1] = tokens[1], MASK_ID
    return masked, labels


def change_tokens(tokens: Tensor, length: int, rng: Generator, p: float = 0.2) -> Tensor:
    """Mask, replace or remove words, as RDE augments captions (Qin et al. 2024, arXiv 2308.09911).

    Each token between the start and end tokens is changed with probability `p`: 60 % of these
    become the mask, 20 % a random word, and 20 % are removed, so that what follows moves up.

    Args:
        tokens: (L,), int64, padded with 0.
        length: number of tokens of the caption, start and end included.

    Returns:
        (L,).
    """
    changed = []
    for token in tokens[1 : length - 1].tolist():
        fate = rng.random() / p if p else 1.0
        if fate >= 1:
            changed.append(token)
        elif fate < 0.6:
            changed.append(MASK_ID)
        elif fate < 0.8:
            changed.append(int(rng.integers(1, ORDINARY)))
    moved = torch.zeros_like(tokens)
    moved[: len(changed) + 2] = torch.tensor([int(tokens[0]), *changed, int(tokens[length - 1])])
    return moved
