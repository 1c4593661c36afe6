# ruff: noqa: RUF001, Chinese and full-width letters
import json
import pickle
import shutil

import pytest
import torch
from transformers import AutoTokenizer

from errors import InputError
from tests.altclip_folders import write_altclip_folder
from text_utils.tokenizer import AltCLIPTokenizer

CAPTIONS = [
    "A slim woman in a red shirt & blue jeans, walking away.",
    "一名身穿红色上衣和黑色裤子的男子，背着双肩包。",
    "red 红色 \u3000 ＲＥＤ",
    "",
    "emoji 🧥 and \u200b zero width",
    "x" * 300,
]
SPECIAL = [0, 1, 2, 3]  # start, padding, end, unknown


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_altclip_folder(tmp_path_factory.mktemp("altclip"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AltCLIPTokenizer(folder)


@pytest.mark.parametrize("context_length", [77, 12])
def test_equals_transformers(folder, tokenizer, context_length):
    expected = AutoTokenizer.from_pretrained(folder)(
        CAPTIONS,
        padding="max_length",
        truncation=True,
        max_length=context_length,
        return_tensors="pt",
    )
    tokens = tokenizer(CAPTIONS, context_length)
    assert tokens.dtype == torch.long
    assert torch.equal(tokens, expected["input_ids"])
    assert torch.equal(tokens != tokenizer.pad_id, expected["attention_mask"].bool())
    assert torch.equal(tokenizer.lengths(tokens), expected["attention_mask"].sum(dim=1))
    assert torch.equal(tokenizer(CAPTIONS[0], context_length), tokens[:1])


def test_vocabulary(tokenizer):
    pieces = tokenizer.pieces.convert_ids_to_tokens(SPECIAL)
    assert pieces == ["<s>", "<pad>", "</s>", "<unk>"]
    assert tokenizer.pad_id == 1
    assert tokenizer.pieces.convert_tokens_to_ids("<mask>") == tokenizer.vocab_size - 1


def test_a_long_caption_keeps_its_end(tokenizer):
    tokens = tokenizer(["红色 red " * 100], context_length=16)
    assert tokens[0, [0, -1]].tolist() == [0, 2]
    assert tokenizer.lengths(tokens).tolist() == [16]


@pytest.mark.parametrize(
    "token", ["</s>", "<s>", "<pad>", "<mask>", "<unk>", "＜/s＞", "＜ｐａｄ>"]
)
@pytest.mark.parametrize("caption", ["{}", "a man {} in red", "a{}b", "红色{}上衣"])
def test_special_tokens_in_a_caption_are_plain_text(tokenizer, token, caption):
    (row,) = tokenizer([caption.format(token)])
    ids = row[: int(tokenizer.lengths(row[None]))].tolist()
    assert (ids[0], ids[-1]) == (0, 2)
    assert not {*SPECIAL, tokenizer.vocab_size - 1} & set(ids[1:-1])
    plain = token.translate(str.maketrans("＜＞ｐａｄ", "<>pad"))
    text = tokenizer.pieces.decode(ids[1:-1]).replace(" ", "")
    assert text == caption.format(plain).replace(" ", "")


def test_unpaired_surrogates_are_survived(tokenizer):
    assert torch.equal(tokenizer("a \ud83d man"), tokenizer("a ? man"))


def test_trim(tokenizer):
    tokens = tokenizer(["red", "红" * 14, "!" * 3], context_length=77)
    longest = int(tokenizer.lengths(tokens).max())
    trimmed = tokenizer.trim(tokens)
    assert trimmed.shape == (3, -(-longest // 8) * 8)
    assert torch.equal(trimmed, tokens[:, : trimmed.shape[1]])
    assert (tokens[:, longest:] == tokenizer.pad_id).all()


def test_pickles_small_and_tokenises_the_same(tokenizer):
    packed = pickle.dumps(tokenizer)
    assert len(packed) < 300
    assert torch.equal(pickle.loads(packed)(CAPTIONS), tokenizer(CAPTIONS))


@pytest.mark.parametrize("kept", ["tokenizer.json", "sentencepiece.bpe.model"])
def test_either_file_is_enough(folder, tokenizer, tmp_path, kept):
    for name in (kept, "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path)
    tokens = AltCLIPTokenizer("BAAI/AltCLIP", cache_dir=tmp_path)(CAPTIONS)
    assert torch.equal(tokens, tokenizer(CAPTIONS))


@pytest.mark.parametrize("damage", ["{", None])
def test_files_that_are_no_tokenizer(folder, tmp_path, damage):
    shutil.copy(folder / "tokenizer.json", tmp_path)  # alone it does not tell the padding
    if damage is not None:
        (tmp_path / "tokenizer.json").write_text(damage)
    with pytest.raises(
        InputError, match=r"the tokenizer in .* cannot be read: download all its files"
    ):
        AltCLIPTokenizer(tmp_path)


def test_code_of_a_folder_is_not_run(tmp_path, monkeypatch):
    """Nor is anybody asked whether to run it."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = write_altclip_folder(tmp_path / "AltCLIP")
    mark, file = tmp_path / "mark", folder / "tokenizer_config.json"
    own = {"auto_map": {"AutoTokenizer": [None, "own.Own"]}, "tokenizer_class": "Own"}
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\n\n\nclass Own: ...\n")
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be read"):
        AltCLIPTokenizer(folder)
    assert not mark.exists()
