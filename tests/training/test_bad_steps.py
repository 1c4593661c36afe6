"""Steps that are not finite, and settings that a run goes on with."""

import logging
from random import Random
from types import SimpleNamespace

import pytest

from errors import InputError
from misc.runtime.recorder import log
from misc.training.bad_steps import BadSteps
from tests.fuzz import injections


@pytest.mark.parametrize("seed", range(6))
def test_no_weight_that_is_not_finite_is_saved(tmp_path, seed):
    try:
        injections.case(Random(seed), tmp_path)
    except InputError as error:
        assert "not finite" in str(error)  # noqa: PT017


class NineSteps:
    """A loader of nine steps of one batch."""

    def __len__(self) -> int:
        return 9

    def global_batches(self, epoch: int, steps: list[int]) -> list[list[int]]:
        return [[5, 1, 2, 3, 4, 0, 1] for _ in steps]


def test_the_log_names_some_pictures_of_a_skipped_step_and_the_record_all(caplog):
    rows: list[dict[str, object]] = []
    files = [f"{number}.jpg" for number in range(6)]
    stage = SimpleNamespace(name="train", pictures=files, loader=NineSteps())
    recorder = SimpleNamespace(active=True, write=rows.append)
    bad_steps = BadSteps(stage, recorder, limit=3)
    with caplog.at_level(logging.WARNING, log.name):
        bad_steps.read([False, True, False], epoch=1, epoch_step=9, done=5)
    assert [record.getMessage() for record in caplog.records] == [
        "epoch 2  step 4/9  skipped: the loss or a gradient is not finite; pictures: "
        "5.jpg, 1.jpg, 2.jpg, 3.jpg and 2 more"
    ]
    skipped = ["5.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "0.jpg"]
    assert rows == [{"step": 13, "epoch": 2, "stage": "train", "skipped": skipped}]
