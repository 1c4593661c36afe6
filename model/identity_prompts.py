"""Learned prompts: a sentence with four word vectors per identity."""

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import InputError
from model.clip import TextTransformer
from text_utils.tokenizer import Tokenizer

Noun = Literal["person", "vehicle"]
SENTENCE = "A photo of a X X X X {noun}."
LENGTH = 12  # tokens of the sentence, start and end included
FIRST, WORDS = 5, 4  # position of the first X, number of X


class IdentityPrompts(nn.Module):
    """Text features of identities, from learned word vectors (Li et al. 2023, arXiv 2211.13977,
    section 3.2), drawn from N(0, 0.02).

    Args:
        text: the text tower, with the vocabulary that `read_sentence` gives it.
    """

    def __init__(self, text: TextTransformer, num_identities: int) -> None:
        super().__init__()
        self.text = text
        self.words = nn.Parameter(0.02 * torch.randn(num_identities, WORDS, text.shape.width))

    def forward(self, ids: Tensor) -> Tensor:
        """Identities (B,), int64, from 0 -> their text features (B, D), not normalised.

        The padding is left out: attention is causal, so no token of the sentence sees it.
        """
        sentence = torch.arange(LENGTH, device=ids.device)[None]
        words = F.pad(self.words[ids], (0, 0, FIRST, LENGTH - FIRST - WORDS))  # (B, 12, width)
        tokens = self.text.transformer(self.text.embed(sentence) + words)
        return self.text.project(tokens[:, -1])


def read_sentence(text: TextTransformer, tokenizer: Tokenizer, noun: Noun) -> TextTransformer:
    """Reduce the vocabulary of a text tower to the sentence: token i is its i-th word.

    The embeddings of the X are zeros, to which the vectors of an identity are added.

    Raises:
        InputError: the tower's context is shorter than the sentence.
    """
    length = text.shape.context_length
    if length < LENGTH:
        raise InputError(
            f"experiment.text_length={length} is too short for identity prompts: set at least "
            f"{LENGTH}"
        )
    tokens = tokenizer(SENTENCE.format(noun=noun), length)
    assert tokenizer.lengths(tokens).tolist() == [LENGTH]
    embeddings = text.token_embedding.weight.detach()[tokens[0]]  # (context length, width)
    embeddings[FIRST : FIRST + WORDS] = 0
    text.token_embedding = nn.Embedding.from_pretrained(embeddings)
    text.shape = replace(text.shape, vocab_size=length)
    return text
