# ruff: noqa: RUF001 - Chinese has full-width punctuation
import json
import time

import pytest

from tests import GOLDEN_FILES
from text_utils.captions import MOST_CHARACTERS, clean_caption
from text_utils.tokenizer import ClipTokenizer

GOLDEN = json.loads((GOLDEN_FILES / "tokens.json").read_text(encoding="utf-8"))


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
        ("🙂(👜)", "🙂 👜"),
        ("a “red” coat。", "a “red” coat。"),
        ("她穿红色上衣。黑色（Nike）裤子！", "她穿红色上衣 黑色 nike 裤子"),
        ("上衣：红色；“黑色”裤子……", "上衣 红色 黑色 裤子"),
        ("红色的(Nike)(Adidas)”运动鞋和外套 的", "红色的 nike adidas 运动鞋和外套 的"),
        ("红色*上衣，3~5个\u3000黑色的 「包」？", "红色 上衣，3 5个 黑色的 包 ？"),
        ("赤いコート。黒い（靴）。", "赤いコート 黒い 靴"),
        ("เสื้อ (แดง).", "เสื้อ แดง"),
        ("。！“”（）：；～＃", ""),
    ],
)
def test_by_hand(text, cleaned):
    assert clean_caption(text) == cleaned


def test_words_are_parted_by_spaces_alone():
    assert clean_caption("a\tb c d", max_words=2) == "a\tb c"
    assert clean_caption("word " * 100).count(" ") == 76


def test_long_captions_are_cut_before_they_take_long():
    marks = "a" + "\u0301\u0316" * 10**6  # the time to normalise them grows with its square
    start = time.monotonic()
    assert len(clean_caption(marks)) <= MOST_CHARACTERS
    assert ClipTokenizer()([marks]).shape == (1, 77)
    assert time.monotonic() - start < 10
    assert clean_caption("man " * 10**6) == " ".join(["man"] * 77)
