"""The form of the page: its query and its conditions, and the writing system of its words."""

import pytest
from PIL import Image

from errors import InputError
from misc.search.page.form import Form
from misc.search.page.writing_system import writing_system

EMPTY = Form(None, None, 0.5, 10, [], None, None, None, False, False, 0.5)


def test_a_form_without_words_or_a_picture_is_empty():
    for text in (None, "", " \n"):
        with pytest.raises(InputError, match="the query is empty"):
            EMPTY._replace(text=text).query()
    assert EMPTY._replace(text=" a man ").query().text == "a man"
    both = EMPTY._replace(text="a man", image=Image.new("RGB", (2, 4)), weight=0.2).query()
    assert (both.kind, both.weight) == (None, 0.2)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, None),
        ({"cameras": [3, 1]}, "camera IN (3, 1)"),
        ({"start": "20260131_080000"}, "time >= '2026-01-31 08:00:00'"),
        ({"start": "2026-01-31"}, "time >= '2026-01-31 00:00:00'"),
        ({"end": "2026-01-31"}, "time <= '2026-01-31 23:59:59.999999'"),
        ({"condition": " frame > 3 "}, "frame > 3"),
        (
            {"cameras": [2], "condition": "frame > 3 or track = 1"},
            "camera IN (2) AND (frame > 3 or track = 1)",
        ),
    ],
)
def test_conditions_are_joined(fields, where):
    assert EMPTY._replace(**fields).where() == where


@pytest.mark.parametrize("time", ["noon", "2026-13-01", "08:00", "2026-01-31' OR 'a' = 'a"])
def test_a_time_that_is_none_is_refused(time):
    with pytest.raises(InputError, match="is not a time; write it as 2026-01-31 08:00"):
        EMPTY._replace(start=time).where()


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("A man in a café, wearing 2 hats", None),
        ("12:30", None),
        ("", None),
        ("穿红色外套的女人", "Chinese"),
        ("一个穿T恤的男人", "Chinese"),
        ("赤いコートを着た女性", "Japanese"),
        ("빨간 코트를 입은 여자", "Korean"),
        ("женщина в красном пальто", "Cyrillic"),
    ],
)
def test_writing_systems(sentence, name):
    assert writing_system(sentence) == name
