import json
from pathlib import Path

import pytest

from text_utils.captions import clean_caption

GOLDEN = json.loads((Path(__file__).parent / "golden" / "tokens.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("max_words", [77, 5])
def test_golden(max_words):
    cleaned = [clean_caption(caption, max_words) for caption in GOLDEN["captions"]]
    assert cleaned == GOLDEN[f"pre_caption_{max_words}"]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ('.!"()*#:;~', ""),
        ("A. b!c", "a b c"),
        ("commas, stay - as 'these' do?", "commas, stay - as 'these' do?"),
        ("a\tb", "a\tb"),
        ("a \t\n b", "a b"),
        ("a\n", "a"),
        ("a\n\n", "a"),
        ("\na", "\na"),
        ("", ""),
    ],
)
def test_by_hand(text, cleaned):
    assert clean_caption(text) == cleaned


def test_words_are_parted_by_spaces_alone():
    assert clean_caption("a\tb c d", max_words=2) == "a\tb c"
    assert clean_caption("word " * 100).count(" ") == 76
