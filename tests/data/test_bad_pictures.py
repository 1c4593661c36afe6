"""Training with `data.on_bad_image=skip`: other samples stand for those with bad pictures."""

import logging

import pytest
import torch
from PIL import Image

from errors import InputError
from misc.data import loader as loading
from misc.data.loader import TrainLoader
from misc.data.reid import ReIDTrainSet, collate_pictures
from misc.data.samplers import GlobalBatchSampler, IdentitySampler
from misc.data.text import CaptionDataset, TextAugmentation
from misc.data.transforms import ReIDTransform, TrainTransform
from misc.datasets.reid_published import ReIDPicture
from misc.datasets.text_annotations import TextPicture
from text_utils.augment import random_deletion

BAD = (2, 3, 7)


@pytest.fixture
def files(tmp_path):
    """Ten pictures of different shades, three of which are bad: damaged, missing, a folder."""
    names = [tmp_path / f"{number}.png" for number in range(10)]
    for number, name in enumerate(names):
        Image.new("RGB", (8, 16), (20 * number,) * 3).save(name)
    names[2].write_bytes(names[2].read_bytes()[:40])
    names[3].unlink()
    names[7].unlink()
    names[7].mkdir()
    return [str(name) for name in names]


@pytest.fixture
def captions(files):
    """Two captions of each picture."""
    pictures = [TextPicture(f, n, (f"a{n}", f"b{n}"), (None, None)) for n, f in enumerate(files)]
    augment = TextAugmentation(0.0, random_deletion, strength=0.0)
    return CaptionDataset([pictures], TrainTransform((8, 8), "half", augment=False), augment)


def samples(dataset, *, rank=0, world_size=1, num_workers=0, first_step=0, skip=True):
    """(caption, identity, a pixel) of each sample, by step."""
    batch_size = 4 // world_size
    sampler = GlobalBatchSampler(len(dataset), batch_size, rank=rank, world_size=world_size)
    loader = TrainLoader(
        dataset,
        pairs,
        sampler,
        num_workers=num_workers,
        pin_memory=False,
        substitutes=dataset.substitutes if skip else None,
    )
    loader.start(1, first_step)
    return list(loader)


def pairs(items):
    return [(item.caption, item.identity, float(item.views[0, 0, 0, 0])) for item in items]


def test_the_next_good_sample_stands_for_a_bad_one(captions):
    steps = samples(captions)
    assert [len(step) for step in steps] == [4] * 5
    assert all(caption[1:] == str(identity) for step in steps for caption, identity, _ in step)
    sampler = GlobalBatchSampler(20, 4)
    sampler.start(1)
    order = [index for keys in sampler for _, index in keys]
    stands = {4: "a4", 5: "a4", 6: "a4", 7: "a4", 14: "a8", 15: "a8"}
    expected = [stands.get(index, f"{'ab'[index % 2]}{index // 2}") for index in order]
    assert [caption for step in steps for caption, *_ in step] == expected


def test_ranks_workers_and_resumed_runs_have_the_same_samples(captions):
    whole = samples(captions)
    ranks = [samples(captions, rank=rank, world_size=2) for rank in range(2)]
    assert [one + two for one, two in zip(*ranks, strict=True)] == whole
    assert samples(captions, num_workers=2) == whole
    assert samples(captions, first_step=3) == whole[3:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_bad_picture_is_told_once(captions, caplog, num_workers):
    with caplog.at_level(logging.ERROR):
        samples(captions, num_workers=num_workers)
    told = sorted(record.getMessage() for record in caplog.records)
    assert len(told) == len(BAD)
    for number, line in enumerate(told, 1):
        assert line.startswith(f"skipped, bad image {number}: image ")
    for number in BAD:
        assert sum(f"{number}.png" in line for line in told) == 1


def test_a_bad_picture_is_an_error_unless_it_is_to_be_skipped(captions):
    with pytest.raises(InputError, match=r"image .*\.png (cannot be read|does not exist|is a fo)"):
        samples(captions, skip=False)


def test_a_training_set_without_a_good_picture_is_refused(captions, files, monkeypatch):
    monkeypatch.setattr(loading, "MOST_SUBSTITUTES", 1)
    with pytest.raises(InputError, match=r"data\.on_bad_image: 2 bad images in a row: image "):
        samples(captions)


def test_a_picture_of_the_same_identity_is_preferred(files):
    identities = [0, 1, 1, 2, 2, 1, 0, 0, 3, 3]
    pictures = [ReIDPicture(f, i) for f, i in zip(files, identities, strict=True)]
    dataset = ReIDTrainSet(pictures, ReIDTransform((8, 8), "half"))
    assert [list(dataset.substitutes(index))[:2] for index in BAD] == [[5, 1], [4, 5], [0, 6]]
    sampler = IdentitySampler(identities, identities_per_batch=4, images_per_identity=2)
    loader = TrainLoader(
        dataset,
        collate_pictures,
        sampler,
        num_workers=0,
        pin_memory=False,
        substitutes=dataset.substitutes,
    )
    for batch in loader:
        assert sorted(batch.ids.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert torch.isfinite(batch.images).all()
