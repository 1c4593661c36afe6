"""Trainings on pairs without identities, alone and beside a dataset with them."""

import json
from pathlib import Path

import pytest
import torch

import main
import options
from errors import InputError
from misc.datasets.text_annotations import read_annotations
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.runtime.distributed import processes
from misc.runtime.precision import Precision
from misc.runtime.recorder import Recorder
from misc.tasks.text.task import TextTask
from misc.training.bad_steps import BadSteps
from tests.command_line import parse
from tests.conftest import SMALL
from tests.ranks import run_main_on_ranks

DEMO = str(options.RECIPES / "demo.yaml")
FEW = ("schedule.epoch=2", "schedule.epoch_warmup=0", "log.save_period=3")


@pytest.fixture
def lines(pedestrians) -> list[dict[str, object]]:
    """The images to train on as pairs: their paths and captions alone."""
    return [
        {"file_path": picture.path, "captions": list(picture.captions)}
        for picture in read_annotations(pedestrians.processed)["train"]
    ]


@pytest.fixture
def write(tmp_path):
    def write(lines: list[dict[str, object]], name: str = "pairs.jsonl") -> Path:
        file = tmp_path / name
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return file

    return write


@pytest.fixture
def train(pedestrians, tmp_path, monkeypatch):
    """Run main.py on pairs alone; the result is the last checkpoint's weights."""
    monkeypatch.chdir(tmp_path)

    def train(file: Path, *words: str, output: str = "run") -> dict[str, torch.Tensor]:
        data = (f"data.annotation_file={file}", f"data.image_root={pedestrians.image_root}")
        arguments = ["--config", DEMO, "--output", output, *SMALL, *data, *FEW, *words]
        main.run(parse(arguments))
        return open_checkpoint(tmp_path / output / LAST).state

    return train


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("way", [(), ("data.num_workers=2",), ("data.cache=disk",)])
def test_a_training_on_pairs_alone_is_resumed_bit_by_bit(
    train, write, lines, interrupt, tmp_path, way
):
    file = write(lines)
    whole = train(file, output="whole")
    interrupt(lambda: train(file, *way, output="broken"), 3)
    assert same(whole, train(file, *way, "--resume", "auto", output="broken"))
    log = (tmp_path / "broken/log.txt").read_text()
    assert "The annotations have neither a test nor a val split: nothing to evaluate" in log


def test_two_processes_train_as_one(train, write, lines, pedestrians, tmp_path):
    file = write(lines)
    few = ("log.print_period=1", "experiment.dropout=0")
    train(file, *few, output="one")
    small = [word for word in SMALL if not word.startswith("data.batch_size")]
    data = (f"data.annotation_file={file}", f"data.image_root={pedestrians.image_root}")
    words = ["--config", DEMO, "--device", "cpu", *small, *data, *FEW, *few, "data.batch_size=4"]
    run_main_on_ranks(2, tmp_path, [*words, "--output", str(tmp_path / "two")])

    def losses(folder: Path) -> list[float]:
        rows = map(json.loads, (folder / "metrics.jsonl").open())
        return [row["loss"] for row in rows if "loss" in row]

    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), rel=2e-4)


def test_a_list_trains_likewise(train, lines, tmp_path):
    file = tmp_path / "pairs.json"
    lines[0]["captions"] = ["...", "a man", "!"]
    file.write_text(json.dumps(lines))
    state = train(file)
    assert all(tensor.isfinite().all() for tensor in state.values())
    count = sum(len(line["captions"]) for line in lines)
    log = (tmp_path / "run/log.txt").read_text()
    assert f"2 of {count} training captions have no words" in log


def test_other_pairs_are_not_resumed_on(train, write, lines, tmp_path):
    file = write(lines)
    train(file)
    lines[0]["captions"] = ["another caption"]
    write(lines)
    with pytest.raises(InputError, match=r"(?i)data"):
        train(file, "--resume", "auto", "schedule.epoch=3")


def test_pairs_join_a_dataset_with_identities(train, write, lines, places, pedestrians, capsys):
    file = write(lines)
    more = f"{{name: web, annotation_file: {file}, image_root: {pedestrians.image_root}}}"
    state = train(file, *places, f"data.train_sets=[{more}]", "schedule.epoch=1")
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert (
        f"pairs ({file}): train {len(lines)} images without identities" in capsys.readouterr().out
    )


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.json"])
def test_identities_cannot_be_classified_without_any(train, write, lines, tmp_path, name):
    file = write(lines) if name == "pairs.jsonl" else tmp_path / name
    if name == "pairs.json":
        file.write_text(json.dumps(lines))
    with pytest.raises(InputError, match=r"experiment\.id: a training set has no identities"):
        train(file, "experiment.id=true")


def test_the_test_split_cannot_select(train, write, lines):
    with pytest.raises(InputError, match=r"select_on=test: .* give val or last"):
        train(write(lines), "experiment.select_on=test")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_line_ends_the_training_in_a_sentence(train, write, lines, monkeypatch, workers):
    monkeypatch.setattr("misc.datasets.text_person.FIRST", 1)
    lines[5]["captions"] = "".join(["x"] * 20_000)
    with pytest.raises(InputError, match=r"pairs\.jsonl, line 6 .*20,000 characters; shorten"):
        train(write(lines), f"data.num_workers={workers}")


def test_missing_images_are_bad_images(train, write, lines, capsys):
    lines[3]["file_path"] = "nowhere/at/all.jpg"
    file = write(lines)
    with pytest.raises(InputError, match=r"nowhere/at/all\.jpg does not exist"):
        train(file)
    train(file, "data.on_bad_image=skip", output="skipping")
    assert "skipped, bad image 1: image " in capsys.readouterr().out


def test_a_bad_step_names_its_images(pedestrians, write, lines, tmp_path):
    data = (f"data.annotation_file={write(lines)}", f"data.image_root={pedestrians.image_root}")
    config = parse(["--config", DEMO, *SMALL, *data]).configure()
    with processes("cpu") as own, Recorder(tmp_path / "run", True) as recorder:
        task = TextTask(config, own, Precision("fp32", own.device))
        (stage,) = task.build_stages(task.build_model(None, for_training=True))
        BadSteps(stage, recorder, limit=9).read([False, True], 0, 0, 2)
        (indices,) = stage.loader.global_batches(0, [1])
    (row,) = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    root = pedestrians.image_root
    assert row["skipped"] == [str(root / str(lines[index]["file_path"])) for index in indices]
