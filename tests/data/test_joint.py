"""Batches of pairs and pictures side by side."""

from misc.data.samplers import GlobalBatchSampler, IdentitySampler, JointSampler

PEOPLE = [number // 3 for number in range(15)]  # 5 with 3 pictures each


def sampler(rank: int = 0, world_size: int = 1) -> JointSampler:
    """3 steps of 4 pairs an epoch, and 2 of 2 x 3 pictures."""
    own = {"rank": rank, "world_size": world_size, "seed": 3}
    pictures = IdentitySampler(PEOPLE, identities_per_batch=2, images_per_identity=3, **own)
    pairs = GlobalBatchSampler(13, 4 // world_size, **own)
    assert (len(pairs), len(pictures)) == (3, 2)
    return JointSampler(pairs, pictures, offset=13)


def epochs(joint: JointSampler, count: int) -> list[list[tuple[int, int]]]:
    steps = []
    for epoch in range(count):
        joint.start(epoch)
        steps += [*joint]
    return steps


def test_pictures_go_on_from_epoch_to_epoch():
    joint = sampler()
    steps = epochs(joint, 4)
    assert len(steps) == 12
    for step, keys in enumerate(steps):
        pairs, pictures = keys[:4], keys[4:]
        assert {epoch for epoch, _ in pairs} == {step // 3}
        assert {epoch for epoch, _ in pictures} == {step // 2}
        assert all(index < 13 for _, index in pairs)
        people = [PEOPLE[index - 13] for _, index in pictures]
        assert people[0] != people[3]
        assert people == [people[0]] * 3 + [people[3]] * 3
    alone = joint.second
    for epoch in range(6):
        alone.start(epoch)
        own = [[(epoch, 13 + index) for epoch, index in keys] for keys in alone]
        assert [keys[4:] for keys in steps[2 * epoch : 2 * epoch + 2]] == own


def test_an_epoch_begins_at_any_step():
    joint = sampler()
    steps = epochs(joint, 3)
    for step in range(9):
        joint.start(*divmod(step, 3))
        assert [*joint] == steps[step : 3 * (step // 3) + 3]


def test_processes_share_both_parts_of_a_batch():
    both = [epochs(sampler(rank, 2), 3) for rank in (0, 1)]
    for whole, first, second in zip(epochs(sampler(), 3), *both, strict=True):
        assert whole[:4] == first[:2] + second[:2]
        assert whole[4:] == first[2:] + second[2:]


def test_a_step_has_as_many_parts_as_the_larger_of_its_halves():
    assert [sampler().parts(size) for size in (2, 4, 5, 6)] == [3, 2, 2, 1]


def test_the_samples_of_a_step_are_known_without_reading_it():
    joint = sampler()
    steps = epochs(joint, 3)
    for epoch in range(3):
        found = joint.global_batches(epoch, [2, 0])
        expected = [[index for _, index in steps[3 * epoch + step]] for step in (2, 0)]
        assert found == expected
