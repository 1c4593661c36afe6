"""Whole trainings with each way of loading: their samples and weights are the same."""

import json
import os
import re
from pathlib import Path

import pytest
import torch

import main
import options
from misc.data.drawn import DrawnBatch
from misc.data.samplers import GlobalBatchSampler
from misc.data.text import CaptionDataset
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.tasks.pictures import PictureReader
from misc.tasks.text.data import build_collate, build_training_set, read_text_data
from tests.command_line import latest, parse
from tests.conftest import SMALL
from tests.ranks import run_main_on_ranks
from text_utils.tokenizer import ClipTokenizer

DEMO = str(options.RECIPES / "demo.yaml")
EVERYTHING = (
    "experiment={ss: true, mvs_image: true, augment_image: true, mlm: true, cmt_depth: 1, "
    "mixgen: true, mixgen_p: 0.5, mixgen_ratio: 0.5, mixgen_rows: 4}"
)
WAYS = {
    "workers": ("data.num_workers=2",),
    "memory": ("data.augment_on=device", "data.num_workers=2", "data.cache=memory"),
    "disk": ("data.augment_on=device", "data.cache=disk"),
}


@pytest.fixture
def train(places, tmp_path, monkeypatch):
    """Run main.py with all augmentations; the result is the last weights."""
    monkeypatch.chdir(tmp_path)

    def train(*words: str, output: str = "run") -> dict[str, torch.Tensor]:
        few = ("schedule.epoch=2", "log.save_period=7", EVERYTHING)
        arguments = ["--config", DEMO, "--output", output, *SMALL, *places, *few, *words]
        main.run(parse(arguments))
        return open_checkpoint(tmp_path / output / LAST).state

    return train


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("way", WAYS)
def test_workers_and_caches_change_no_bit_and_a_resumed_run_neither(train, interrupt, way):
    words = WAYS[way]
    whole = train(*(word for word in words if "augment_on" in word), output="whole")
    interrupt(lambda: train(*words, output="broken"), 1 if way == "disk" else 3)
    assert same(whole, train(*words, "--resume", "auto", output="broken"))


def test_two_processes_augment_as_one_does(train, places, tmp_path):
    """With workers, one with a cache in memory and two that share one on the disk. The losses but
    those that the gather of SimCLR's pairs sums in another order.
    """
    words = ("data.augment_on=device", "experiment.mixgen=false", "experiment.dropout=0")
    words = (*words, "log.print_period=1", "data.num_workers=1")
    train(*words, "data.cache=memory", output="one")
    shared = f"data={{cache: disk, cache_folder: {tmp_path / 'cache'}, batch_size: 4}}"
    few = ("schedule.epoch=2", EVERYTHING, *words, shared)
    small = [word for word in SMALL if not word.startswith("data.batch_size")]
    arguments = ["--config", DEMO, "--output", str(tmp_path / "two"), *small, *places, *few]
    run_main_on_ranks(2, tmp_path, [*latest(arguments), "--device", "cpu"])

    def losses(folder: Path) -> list[float]:
        rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [row["loss"] for row in rows if "loss" in row]

    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), rel=2e-4)
    log = (tmp_path / "two" / "log.txt").read_text()
    shares = [float(share) for share in re.findall(r"data\.cache: (\S+) % of the images", log)]
    assert len(shares) == 2
    assert shares[1] > 80


def test_workers_live_from_epoch_to_epoch(train, monkeypatch, tmp_path):
    """Each writes the process that made its samples."""
    real = CaptionDataset.__getitem__

    def noted(self, key):
        with (tmp_path / "workers").open("a") as file:
            file.write(f"{key[0]} {os.getpid()}\n")
        return real(self, key)

    monkeypatch.setattr(CaptionDataset, "__getitem__", noted)
    train("data.num_workers=2")
    lines = [line.split() for line in (tmp_path / "workers").read_text().splitlines()]
    of_epoch = [{pid for epoch, pid in lines if epoch == number} for number in "01"]
    assert len(of_epoch[0]) == 2
    assert of_epoch[0] == of_epoch[1]
    assert str(os.getpid()) not in of_epoch[0]


def test_the_log_tells_how_often_the_cache_had_an_image(train, capsys):
    train("data.cache=memory", "data.num_workers=2")
    told = [line for line in capsys.readouterr().out.splitlines() if "data.cache" in line]
    shares = [float(line.split("data.cache: ")[1].split(" %")[0]) for line in told]
    assert len(shares) == 2
    assert shares[0] < 60  # two captions an image: the second finds it
    assert shares[1] > shares[0]


def test_a_cache_that_fails_is_told_and_the_training_goes_on(train, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file")
    assert train("data.cache=disk", "schedule.epoch=1")
    told = capsys.readouterr().out
    assert re.search(r"data\.cache: cache/pictures-\w+\.cache cannot be written", told)
    assert "(File exists): nothing is cached" in told


def test_an_augmentation_that_the_device_lacks_is_told(train, capsys):
    words = ("experiment.image_augment=erase", "experiment.ss=false", "schedule.epoch=1")
    on_device = train(*words, "data.augment_on=device", output="device")
    told = "data.augment_on=device lacks experiment.image_augment=erase: the CPU augments"
    assert told in capsys.readouterr().out
    assert same(on_device, train(*words, output="cpu"))


def batch_of(small_config, *words: str):
    config = small_config(EVERYTHING, *words)
    data = read_text_data(config)
    dataset = build_training_set(config, data, PictureReader(config.data, []))
    collate = build_collate(config, ClipTokenizer(), room=77)
    keys = next(iter(GlobalBatchSampler(len(dataset), 8)))
    return collate([dataset[key] for key in keys])


def test_the_device_makes_a_batch_like_the_cpus(small_config):
    """But for how images are resampled; captions, masks and mixed pairs are the same."""
    cpu = batch_of(small_config)
    drawn = batch_of(small_config, "data.augment_on=device")
    assert isinstance(drawn, DrawnBatch)
    assert drawn.pictures.dtype == torch.uint8
    device = drawn.to(torch.device("cpu"))
    assert cpu.present().keys() == device.present().keys()
    for name, tensor in cpu.present().items():
        other = device.present()[name]
        assert tensor.shape == other.shape
        if "images" in name:
            assert (tensor - other).abs().mean() < 0.25, name  # standard deviations
        else:
            assert torch.equal(tensor, other), name


def test_images_are_made_without_asking_the_device_for_a_value(small_config):
    """A GPU would be waited for; tensors on the meta device have no values."""
    drawn = batch_of(small_config, "data.augment_on=device")
    assert drawn.mixed
    made, expected = drawn.to(torch.device("meta")), drawn.to(torch.device("cpu"))
    assert made.images.is_meta
    assert made.simclr_images.shape == expected.simclr_images.shape
    assert made.images.shape == expected.images.shape


def test_without_augmentation_both_ways_are_one(small_config):
    words = ("experiment.augment_image=false", "experiment.ss=false")
    cpu = batch_of(small_config, *words)
    device = batch_of(small_config, *words, "data.augment_on=device").to(torch.device("cpu"))
    torch.testing.assert_close(cpu.images, device.images, atol=1e-4, rtol=0)


def test_a_batch_in_pinned_memory_is_whole(small_config, monkeypatch):
    """On a machine without a GPU, pinning is a copy."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    drawn = batch_of(small_config, "data.augment_on=device")
    pinned, cpu = drawn.pin_memory(), torch.device("cpu")
    assert len(pinned) == len(drawn) == 8
    for first, second in zip(
        drawn.to(cpu).present().values(), pinned.to(cpu).present().values(), strict=True
    ):
        assert torch.equal(first, second)
