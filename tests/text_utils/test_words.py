# ruff: noqa: RUF001 - Chinese has full-width punctuation
import os
import subprocess
import sys

import numpy as np
import pytest

from tests import ROOT
from text_utils.scripts import UNSPACED, main_script
from text_utils.words import split_words


@pytest.mark.parametrize(
    "text", ["a man, in  red\tshoes ", "행인은 빨간 옷을 입고 있다", "", "👜 ！"]
)
def test_white_space_parts_words(text):
    words, join = split_words(text)
    assert words == text.split()
    assert join(words) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("一个穿着红色外套的男人", "一个|穿着|红色|外套|的|男人"),
        ("穿nike鞋的男人", "穿|nike|鞋|的|男人"),
        ("“红色”上衣，黑色 裤子。", "“红色”|上衣，|黑色 |裤子。"),
        ("白色t恤衫，v领，3.5米", "白色|t恤|衫，|v领，|3.5|米"),
        ("红色 t-shirt 和黑色长裤子", "红色 |t-shirt |和|黑色|长|裤子"),
        ("男人👨‍👩‍👧‍👦背着背包", "男人👨‍👩‍👧‍👦|背着|背包"),
        ("赤いコートを着た人", "赤|い|コート|を|着|た|人"),
        ("เสื้อสีแดง น้ำ", "เ|สื้|อ|สี|แ|ด|ง |น้ำ"),
        ("㈱", "㈱"),
    ],
)
def test_words_of_scripts_without_spaces(text, words):
    assert split_words(text)[0] == words.split("|")


def test_any_text_is_joined_again():
    pieces = "红色 的 男人 𠮷 葛\U000e0100 々 コ ー ｺ が \u3099 เสื้อ 옷 nike a é e\u0301 я 3 ３ ㈱"
    choices = [*pieces.split(), *"-_.，”\u200d👩 ", "红", "外套", "的"]
    rng = np.random.default_rng(0)
    unspaced = 0
    for _ in range(3000):
        text = "".join(rng.choice(choices, rng.integers(1, 12))).strip()
        words, join = split_words(text)
        assert all(words)
        if main_script(text) in UNSPACED:
            assert join(words) == text
            unspaced += 1
        else:
            assert join(words) == " ".join(text.split())
    assert 1000 < unspaced < 2900


def test_words_that_need_a_space_are_kept_apart():
    words, join = split_words("红色nike鞋和adidas手提包的男人t恤")
    assert words == ["红色", "nike", "鞋", "和", "adidas", "手提包", "的", "男人", "t恤"]
    assert join(["鞋", "nike", "adidas", "包"]) == "鞋nike adidas包"
    assert join(["nike", "t恤", "42"]) == "nike t恤42"
    assert join(["包", "nike ", "鞋 "]) == "包nike 鞋"
    assert join([]) == ""


def test_workers_that_start_together_load_the_segmenter_in_silence(tmp_path):
    """They write nothing, and leave and trust no file in a folder that users share."""
    (tmp_path / "jieba.cache").write_bytes(b"somebody else's")
    code = "from text_utils.words import split_words; print(ascii(split_words('黑色的双肩包')[0]))"
    command = [sys.executable, "-W", "always::UserWarning", "-c", code]
    workers = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    words = ascii(["黑色", "的", "双肩包"]) + os.linesep
    outcomes = {worker.communicate(timeout=60) for worker in workers}
    assert outcomes == {(words.encode(), b"")}
    assert [path.name for path in tmp_path.iterdir()] == ["jieba.cache"]
    assert (tmp_path / "jieba.cache").read_bytes() == b"somebody else's"
