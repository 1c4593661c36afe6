import pytest

from text_utils.scripts import main_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("a man in a café", "LATIN"),
        ("一个穿红色外套的男人 (man)", "CJK"),
        ("赤いコートを着た男の人", "CJK"),
        ("man 男", "LATIN"),
        ("\uff4d\uff41\uff4e", "LATIN"),
        ("мужчина", "CYRILLIC"),
        ("12, 34!", None),
        ("", None),
    ],
)
def test_the_script_of_most_letters(text, script):
    assert main_script(text) == script
