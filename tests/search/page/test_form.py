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
    assert (both.kind, both.weight) == ("both 0.2", 0.2)


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


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ("1 = 1; DROP TABLE people", "has ; or a comment"),
        ("1 = 1 --", "has ; or a comment"),
        ("1 = 1 /* */", "has ; or a comment"),
        ("camera = 1) OR (1 = 1", "has a bracket that is not closed or not opened"),
        ("(camera = 1", "has a bracket"),
        ("repeat('x', 1000000000) = path", "calls repeat, which is not among abs, and"),
        ("\"repeat\"('x', 1000000000) = path", "calls "),
        ("`repeat`('x', 1000000000) = path", "calls "),
        ("path = '" + "x" * 1000 + "'", "is longer than 1000 characters"),
    ],
)
def test_conditions_that_reach_too_far_are_refused(condition, fault):
    with pytest.raises(InputError, match="the condition") as caught:
        EMPTY._replace(condition=condition, cameras=[1]).where()
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    "condition",
    ["path LIKE '%;--(repeat(%'", "camera IN (1, 2) AND NOT (lower(path) = 'a')", "camera=1"],
)
def test_other_conditions_are_kept(condition):
    assert EMPTY._replace(condition=condition).where() == condition
