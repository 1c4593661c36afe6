import numpy as np
import pytest

from errors import InputError
from misc.data.samplers import GlobalBatchSampler, IdentitySampler


def batches(epoch: int, size: int = 50, **arguments: int) -> list[list[tuple[int, int]]]:
    sampler = GlobalBatchSampler(size, seed=3, **arguments)
    sampler.start(epoch)
    return list(sampler)


def test_ranks_take_disjoint_slices_of_the_same_global_batches():
    alone = batches(1, batch_size=12)
    first, second = (batches(1, batch_size=6, rank=rank, world_size=2) for rank in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    four = [batches(1, batch_size=3, rank=rank, world_size=4) for rank in range(4)]
    assert [[key for part in parts for key in part] for parts in zip(*four, strict=True)] == alone


def test_an_epoch_has_every_sample_at_most_once_and_drops_the_rest():
    flat = [key for batch in batches(0, batch_size=12) for key in batch]
    assert len(flat) == len(set(flat)) == 48
    assert {epoch for epoch, _ in flat} == {0}


def test_epochs_differ_and_repeat_themselves():
    assert batches(0, batch_size=12) == batches(0, batch_size=12)
    orders = [[index for batch in batches(e, batch_size=12) for _, index in batch] for e in (0, 1)]
    assert orders[0] != orders[1]


def test_the_global_batches_of_some_steps_are_those_of_all_ranks():
    sampler = GlobalBatchSampler(50, batch_size=6, rank=1, world_size=2, seed=3)
    alone = [[index for _, index in batch] for batch in batches(1, batch_size=12)]
    assert sampler.global_batches(1, [2, 0]) == [alone[2], alone[0]]


def test_all_samples_are_dealt_in_whole_global_batches():
    """10 samples in batches of 6 are two batches; a third rank without one has the first."""

    def dealt(rank: int) -> list[list[tuple[int, int]]]:
        sampler = GlobalBatchSampler(10, batch_size=2, rank=rank, world_size=3, seed=3)
        sampler.deal(1)
        return list(sampler)

    (first,), (second,) = dealt(0), dealt(1)
    assert (len(first), len(second)) == (6, 4)
    assert {*first, *second} == {(1, index) for index in range(10)}
    assert dealt(2) == [first]


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


COUNTS = [2, 4, 5, 8, 9, 1, 4, 13, 4, 6]
IDENTITIES = [10 * identity for identity, count in enumerate(COUNTS) for _ in range(count)]


def identity_batches(epoch: int, **arguments: int) -> list[list[tuple[int, int]]]:
    settings = {"identities_per_batch": 4, "images_per_identity": 4, "seed": 3, **arguments}
    sampler = IdentitySampler(IDENTITIES, **settings)
    sampler.start(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


@pytest.mark.parametrize("epoch", range(5))
def test_every_batch_has_a_group_of_each_of_its_identities(epoch):
    for batch in identity_batches(epoch):
        groups = [[IDENTITIES[i] for _, i in batch[first : first + 4]] for first in (0, 4, 8, 12)]
        assert all(len(set(group)) == 1 for group in groups)
        assert len({group[0] for group in groups}) == 4
        assert {e for e, _ in batch} == {epoch}


def test_pictures_repeat_only_to_fill_a_group():
    for epoch in range(10):
        flat = [index for batch in identity_batches(epoch) for _, index in batch]
        for identity, count in enumerate(COUNTS):
            own = [index for index in flat if IDENTITIES[index] == 10 * identity]
            if count >= 4:
                assert len(own) == len(set(own)) <= count // 4 * 4
            elif own:
                assert (len(own), len(set(own))) == (4, count), "every picture, and some again"


def most_batches(groups: list[int], identities_per_batch: int) -> int:
    """The longest epoch, by always taking the identities with the most groups left."""
    steps = 0
    while True:
        groups = sorted((g for g in groups if g), reverse=True)
        if len(groups) < identities_per_batch:
            return steps
        groups = [g - (i < identities_per_batch) for i, g in enumerate(groups)]
        steps += 1


def test_every_epoch_is_as_long_as_any_can_be():
    rng = np.random.default_rng(0)
    for _ in range(100):
        counts = rng.integers(1, rng.integers(2, 30), size=rng.integers(3, 12))
        identities = np.repeat(np.arange(len(counts)), counts)
        per_batch, images = int(rng.integers(1, 4)), int(rng.integers(1, 5))
        sampler = IdentitySampler(
            rng.permutation(identities), identities_per_batch=per_batch, images_per_identity=images
        )
        groups = [max(1, count // images) for count in counts]
        assert len(sampler) == most_batches(groups, per_batch)
        sampler.start(int(rng.integers(9)))
        assert [len(batch) for batch in sampler] == [per_batch * images] * len(sampler)


def test_ranks_take_whole_identities_of_the_same_global_batches():
    alone = identity_batches(1)
    first, second = (identity_batches(1, rank=rank, world_size=2) for rank in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    assert all(len({IDENTITIES[i] for _, i in batch}) == 2 for batch in (*first, *second))


def test_epochs_of_identities_differ_repeat_themselves_and_go_on():
    assert identity_batches(0) == identity_batches(0)
    orders = [[i for batch in identity_batches(epoch) for _, i in batch] for epoch in (0, 1)]
    assert orders[0] != orders[1]
    sampler = IdentitySampler(IDENTITIES, identities_per_batch=4, images_per_identity=4, seed=3)
    sampler.start(2, first_step=1)
    assert list(sampler) == identity_batches(2)[1:]


def test_every_identity_is_drawn_as_often_as_every_other():
    """Nine with a group each, of which a batch takes five, and the epoch has no other."""
    sampler = IdentitySampler(
        [i // 4 for i in range(36)], identities_per_batch=5, images_per_identity=4
    )
    drawn = np.zeros(9)
    for epoch in range(450):
        sampler.start(epoch)
        (batch,) = sampler
        for _, index in batch[::4]:
            drawn[index // 4] += 1
    assert drawn == pytest.approx(np.full(9, 250), abs=40)


def test_batches_of_identities_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"4 identities .* divided among 3 processes; .* of 12,"):
        IdentitySampler(IDENTITIES, identities_per_batch=4, images_per_identity=4, world_size=3)
    with pytest.raises(
        InputError, match=r"16 identities, the training set only 10; .* to 40 at most"
    ):
        IdentitySampler(IDENTITIES, identities_per_batch=16, images_per_identity=4)
