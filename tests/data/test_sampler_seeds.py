"""The order of samples by seed: 0 unless given, and each seed has one of its own."""

import numpy as np
import pytest

from misc.data.samplers import EpochSampler, GlobalBatchSampler, IdentitySampler


def global_batches(**seed: int) -> GlobalBatchSampler:
    return GlobalBatchSampler(40, 8, **seed)


def identity_batches(**seed: int) -> IdentitySampler:
    identities = [i // 4 for i in range(40)]
    return IdentitySampler(identities, identities_per_batch=2, images_per_identity=4, **seed)


@pytest.mark.parametrize("build", [global_batches, identity_batches])
def test_the_seed_is_0_unless_given(build):
    def order(sampler: EpochSampler) -> list[list[tuple[int, int]]]:
        return list(sampler)

    assert order(build()) == order(build(seed=0))
    assert order(build(seed=0)) != order(build(seed=1))


@pytest.mark.parametrize("build", [global_batches, identity_batches])
def test_a_sampler_begins_with_the_first_step_of_the_first_epoch(build):
    sampler = build()
    fresh = list(sampler)
    sampler.start(0)
    assert list(sampler) == fresh
    assert {epoch for batch in fresh for epoch, _ in batch} == {0}


def test_pictures_of_an_identity_keep_the_order_of_the_permutation():
    """Whatever sorts them: the batches of a seed are the same on every machine."""
    identities = [i % 8 for i in range(4000)]
    sampler = IdentitySampler(identities, identities_per_batch=8, images_per_identity=500)
    drawn = sampler.draw(np.random.default_rng(0)).tolist()
    order = np.random.default_rng(0).permutation(4000).tolist()
    for identity in range(8):
        expected = [index for index in order if identities[index] == identity]
        assert [index for index in drawn if identities[index] == identity] == expected
