import torch

from misc.runtime.seeding import Purpose, generator, seed_torch


def test_a_key_has_one_stream_and_other_keys_have_others():
    keys = [(0, Purpose.IMAGE, 0, 1), (0, Purpose.IMAGE, 1, 0), (0, Purpose.TEXT, 0, 1)]
    streams = [tuple(generator(*key).random(4)) for key in [*keys, (1, Purpose.IMAGE, 0, 1)]]
    assert len(set(streams)) == 4
    assert streams[0] == tuple(generator(*keys[0]).random(4))


def test_torch_is_seeded_by_the_key_alone():
    torch.rand(7)
    seed_torch(1, Purpose.STEP, 5, 0)
    first = torch.rand(3)
    torch.rand(7)
    seed_torch(1, Purpose.STEP, 5, 0)
    assert torch.equal(torch.rand(3), first)
    seed_torch(1, Purpose.STEP, 5, 1)
    assert not torch.equal(torch.rand(3), first)
