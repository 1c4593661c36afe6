"""The comparison of a run's settings with those that it is resumed with."""

import pytest

from errors import InputError
from misc.settings.resumption import check_resumption
from model.trees import Tree


@pytest.mark.parametrize("begun_with_null", [True, False])
def test_a_section_that_is_null_differs_from_one_that_is_not(begun_with_null):
    trees: list[Tree] = [{"experiment": {"mixture": one}} for one in (None, {"max_iter": 10})]
    saved, now = trees if begun_with_null else trees[::-1]
    words = ("None", "10") if begun_with_null else ("10", "None")
    with pytest.raises(InputError, match=r"mixture\.max_iter was {} and is {};".format(*words)):
        check_resumption(now, saved, {}, None, allow_changes=False)
    assert check_resumption(saved, saved, {}, None, allow_changes=False)
    assert check_resumption({"experiment": {}}, saved, {}, None, allow_changes=False)


@pytest.mark.parametrize(
    "key", [("reid", "unlabelled_views"), ("reid", "flip"), ("data", "test_resampling")]
)
def test_scores_of_another_test_do_not_compare(key):
    section, name = key
    saved, now = ({section: {name: value}} for value in ("one", "other"))
    assert not check_resumption(now, saved, {}, None, allow_changes=True)
    assert check_resumption(now, now, {}, None, allow_changes=True)
