"""Steps that are not finite, and settings that a run goes on with."""

from random import Random

import pytest

from errors import InputError
from tests.fuzz import injections


@pytest.mark.parametrize("seed", range(6))
def test_no_weight_that_is_not_finite_is_saved(tmp_path, seed):
    try:
        injections.case(Random(seed), tmp_path)
    except InputError as error:
        assert "not finite" in str(error)  # noqa: PT017
