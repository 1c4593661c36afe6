"""What the text tower is told of an identity: a sentence with four words that are its own."""

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
LENGTH = 12  # of its tokens, start and end among them
FIRST, WORDS = 5, 4  # where the X stand


class IdentityPrompts(nn.Module):
    """Text features of identities, by words that are learnt (Li et al. 2023, arXiv 2211.13977,
    section 3.2); N(0, 0.02).

    Args:
        text: the text tower, whose vocabulary is the sentence: see `read_sentence`.
    """

    def __init__(self, text: TextTransformer, identities: int) -> None:
        super().__init__()
        self.text = text
        self.words = nn.Parameter(0.02 * torch.randn(identities, WORDS, text.shape.width))

    def forward(self, ids: Tensor) -> Tensor:
        """Identities (B,), int64, from 0 -> their text features (B, D), not normalised.

        What follows the end of the sentence is not computed: no word sees it.
        """
        sentence = torch.arange(LENGTH, device=ids.device)[None]
        words = F.pad(self.words[ids], (0, 0, FIRST, LENGTH - FIRST - WORDS))  # (B, 12, width)
        tokens = self.text.transformer(self.text.embed(sentence) + words)
        return self.text.project(tokens[:, -1])


def read_sentence(text: TextTransformer, tokenizer: Tokenizer, noun: Noun) -> TextTransformer:
    """The text tower, changed to know nothing but the sentence: its token i is the word i.

    The words that every identity has of its own are zeros, to which these are added.

    Raises:
        InputError: the sentence is longer than the tower's captions.
    """
    length = text.shape.context_length
    if length < LENGTH:
        raise InputError(
            f"experiment.text_length={length} is too short for identity prompts: give at least "
            f"{LENGTH}"
        )
    tokens = tokenizer(SENTENCE.format(noun=noun), length)
    assert tokenizer.lengths(tokens).tolist() == [LENGTH]
    embeddings = text.token_embedding.weight.detach()[tokens[0]]  # (context length, width)
    embeddings[FIRST : FIRST + WORDS] = 0
    text.token_embedding = nn.Embedding.from_pretrained(embeddings)
    text.shape = replace(text.shape, vocab_size=length)
    return text
