from dataclasses import replace

import pytest
import torch

from errors import InputError
from model.clip import TextShape, TextTransformer
from model.identity_prompts import IdentityPrompts, read_sentence
from text_utils.tokenizer import ClipTokenizer

SHAPE = TextShape(64, 2, 2, context_length=20, vocab_size=49408)
TOKENIZER = ClipTokenizer()


def tower() -> TextTransformer:
    torch.manual_seed(0)
    return TextTransformer(SHAPE, embed_dim=32)


@pytest.mark.parametrize("noun", ["person", "vehicle"])
def test_features_are_those_of_the_sentence_with_words_of_its_own(noun):
    """By hand: the sentence through a tower with all of CLIP's words, the X replaced one by one."""
    whole, prompts = tower(), IdentityPrompts(read_sentence(tower(), TOKENIZER, noun), 5)
    tokens = TOKENIZER(f"A photo of a X X X X {noun}.", 20)[0].tolist()
    (x,) = TOKENIZER("X", 20)[0, 1:2].tolist()
    features = []
    for identity in (3, 0, 3):
        embeddings, words = [], iter(prompts.words[identity])
        for place, token in enumerate(tokens):
            word = next(words) if token == x else whole.token_embedding.weight[token]
            embeddings.append(word + whole.positional_embedding[place])
        assert next(words, None) is None
        after = whole.transformer(torch.stack(embeddings)[None])
        features.append(whole.project(after[0, tokens.index(TOKENIZER.eot_id)]))
    torch.testing.assert_close(prompts(torch.tensor([3, 0, 3])), torch.stack(features))


def test_initialisation():
    torch.manual_seed(0)
    prompts = IdentityPrompts(read_sentence(tower(), TOKENIZER, "person"), 200)
    assert prompts.words.shape == (200, 4, 64)
    assert prompts.words.std().item() == pytest.approx(0.02, rel=0.02)
    assert prompts.words.mean().item() == pytest.approx(0, abs=5e-4)
    assert not prompts.text.token_embedding.weight.requires_grad


def test_only_the_words_of_those_asked_for_have_a_gradient():
    prompts = IdentityPrompts(read_sentence(tower(), TOKENIZER, "person"), 4)
    prompts(torch.tensor([1, 2])).square().sum().backward()
    learnt = prompts.words.grad.flatten(1).abs().sum(dim=1) > 0
    assert learnt.tolist() == [False, True, True, False]


def test_a_tower_is_rebuilt_from_its_shape():
    """As from a checkpoint: nothing is asked of a tokenizer."""
    prompts = IdentityPrompts(read_sentence(tower(), TOKENIZER, "vehicle"), 3)
    again = IdentityPrompts(TextTransformer(prompts.text.shape, embed_dim=32), 3)
    again.load_state_dict(prompts.state_dict())
    ids = torch.arange(3)
    assert torch.equal(again(ids), prompts(ids))


def test_a_context_too_short_is_refused():
    short = TextTransformer(replace(SHAPE, context_length=11), embed_dim=32)
    with pytest.raises(InputError, match=r"experiment.text_length=11 .* at least 12"):
        read_sentence(short, TOKENIZER, "person")
    exact = TextTransformer(replace(SHAPE, context_length=12), embed_dim=32)
    assert IdentityPrompts(read_sentence(exact, TOKENIZER, "person"), 1)(torch.tensor([0])).any()
