import json
import multiprocessing
import pickle

import open_clip
import pytest
import torch

from tests import GOLDEN_FILES
from text_utils.captions import clean_caption
from text_utils.tokenizer import ClipTokenizer

GOLDEN = json.loads((GOLDEN_FILES / "tokens.json").read_text(encoding="utf-8"))
CAPTIONS = [
    *GOLDEN["captions"],
    "Ein Mann trägt eine grüne Jacke & weiße Schuhe.",
    "la dame porte un sac à main; elle n'a pas de chapeau",
    "emoji 🧥👖👟 in a row, and \u200b zero width",
    "x" * 300,
    "a\u00a0b\u3000c",
    "CamelCaseAnd_underscores __ ___",
    "http://example.com/?q=1&r=2#top",
]


@pytest.fixture(scope="module")
def tokenizer():
    return ClipTokenizer()


def used(row):
    """The ids of a row up to the last that is not 0, as the golden file has them."""
    return row[: int(row.nonzero().max()) + 1].tolist()


def test_golden_ids(tokenizer):
    captions = GOLDEN["captions"]
    assert [used(row) for row in tokenizer(captions)] == GOLDEN["tokenize77_nonzero_prefix"]
    cleaned = [clean_caption(caption) for caption in captions]
    assert [used(row) for row in tokenizer(cleaned)] == GOLDEN["pre_caption_77_tokenized"]


@pytest.mark.parametrize("context_length", [77, 12, 128])
def test_equals_open_clip(tokenizer, context_length):
    expected = open_clip.tokenizer.SimpleTokenizer()(CAPTIONS, context_length=context_length)
    tokens = tokenizer(CAPTIONS, context_length=context_length)
    assert tokens.dtype == torch.long
    assert torch.equal(tokens, expected)


def test_one_caption_is_a_batch_of_one(tokenizer):
    assert torch.equal(tokenizer("a man"), tokenizer(["a man"]))


def test_vocabulary(tokenizer):
    assert (tokenizer.vocab_size, tokenizer.eot_id, tokenizer.pad_id) == (49408, 49407, 0)


def test_a_long_caption_keeps_its_end(tokenizer):
    (row,) = tokenizer(["word " * 200], context_length=16)
    assert row[0] == 49406
    assert row[-1] == 49407
    assert tokenizer.lengths(row[None]).tolist() == [16]


@pytest.mark.parametrize("token", ["<end_of_text>", "<START_OF_TEXT>", "<End_Of_Text>"])
def test_special_tokens_in_a_caption_are_plain_text(tokenizer, token):
    (row,) = tokenizer([f"a man {token} in red"])
    ids = used(row)
    assert [ids.count(special) for special in (49406, 49407)] == [1, 1]
    assert (ids[0], ids[-1]) == (49406, 49407)
    assert tokenizer.bpe.decode(ids[1:-1]).replace(" ", "") == f"aman{token.lower()}inred"


def test_unpaired_surrogates_are_survived(tokenizer):
    assert tokenizer.lengths(tokenizer(["a \ud83d man"])).item() > 3


def test_lengths_see_exclamation_marks(tokenizer):
    tokens = tokenizer(["", "!", "a man !", "a man"])
    assert tokens[1, 1] == 256  # "!" at the end of a word
    tokens[1, 1] = tokenizer.pad_id  # "!" within a word has the id of the padding
    assert tokenizer.lengths(tokens).tolist() == [2, 3, 5, 4]


@pytest.mark.parametrize(
    ("words", "context_length", "expected"),
    [(3, 77, 8), (6, 77, 8), (7, 77, 16), (75, 77, 77), (100, 77, 77), (100, 20, 20)],
)
def test_trim_rounds_up_to_eight(tokenizer, words, context_length, expected):
    tokens = tokenizer(["a", "man " * words], context_length)
    trimmed = tokenizer.trim(tokens)
    assert trimmed.shape == (2, expected)
    assert not tokens[:, expected:].any()
    assert torch.equal(tokenizer.lengths(trimmed), tokenizer.lengths(tokens))


def test_pickles_small_and_tokenises_the_same(tokenizer):
    packed = pickle.dumps(tokenizer)
    assert len(packed) < 200
    assert torch.equal(pickle.loads(packed)(CAPTIONS), tokenizer(CAPTIONS))


def test_works_in_a_spawned_process(tokenizer):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert torch.equal(pool.apply(tokenizer, (CAPTIONS[:3],)), tokenizer(CAPTIONS[:3]))
