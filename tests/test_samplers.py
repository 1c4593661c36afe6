import pytest

from errors import InputError
from misc.samplers import GlobalBatchSampler


def batches(epoch: int, size: int = 50, **arguments: int) -> list[list[tuple[int, int]]]:
    sampler = GlobalBatchSampler(size, seed=3, **arguments)
    sampler.start(epoch)
    return list(sampler)


def test_ranks_take_disjoint_slices_of_the_same_global_batches():
    alone = batches(1, batch_size=12)
    first, second = (batches(1, batch_size=6, rank=rank, world_size=2) for rank in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    four = [batches(1, batch_size=3, rank=rank, world_size=4) for rank in range(4)]
    assert [
        [place for part in parts for place in part] for parts in zip(*four, strict=True)
    ] == alone


def test_an_epoch_has_every_sample_at_most_once_and_drops_the_rest():
    flat = [place for batch in batches(0, batch_size=12) for place in batch]
    assert len(flat) == len(set(flat)) == 48
    assert {epoch for epoch, _ in flat} == {0}


def test_epochs_differ_and_repeat_themselves():
    assert batches(0, batch_size=12) == batches(0, batch_size=12)
    orders = [[index for batch in batches(e, batch_size=12) for _, index in batch] for e in (0, 1)]
    assert orders[0] != orders[1]


def test_an_epoch_goes_on_where_it_stopped():
    sampler = GlobalBatchSampler(50, 12, seed=3)
    sampler.start(2, first_step=1)
    assert list(sampler) == batches(2, batch_size=12)[1:]
    assert len(sampler) == 4


def test_a_batch_larger_than_the_training_set_is_refused():
    with pytest.raises(
        InputError, match=r"data.batch_size .*: a batch of 30 in each of 2 processes"
    ):
        GlobalBatchSampler(50, 30, world_size=2)
