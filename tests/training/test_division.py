"""The division of noisy pairs: its mixture, its labels over ranks and resumptions, whole runs."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import sklearn.mixture
import torch

import main
import options
from errors import InputError
from misc.job import Job
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.runtime.distributed import Processes, processes
from misc.search.person_search import PersonSearch
from misc.training.division import consent, describe
from misc.training.mixture import MixtureSettings, part_by_loss, published_fit
from tests import GOLDEN_FILES
from tests.command_line import parse
from tests.conftest import SMALL
from tests.ranks import run_main_on_ranks, run_ranks

GOLDEN = np.load(GOLDEN_FILES / "rde.npz")
RDE = (
    *("--config", str(options.RECIPES / "rde.yaml"), *SMALL, "model.clip_pretrained=null"),
    *("model.token_selection={embed_dim: 24, ratio: 0.3}", "data.noise.rate=0.4"),
    *("schedule={epoch: 2, epoch_warmup: 1, lr: 1e-3, ratio_factor: 1}", "log.print_period=1"),
    *("data.global_batch_size=null", "evaluation.ranked_lists=0"),
)


def test_the_division_is_the_published_one():
    clean, remarks = part_by_loss(GOLDEN["d0/loss"], MixtureSettings())
    assert clean.tolist() == GOLDEN["d0/clean"].astype(bool).tolist()
    assert remarks == ()


def test_equal_losses_are_all_clean():
    """Also those that rounding alone tells apart."""
    equal = np.full(10, 0.5, np.float32)
    for losses in (0 * equal, equal, np.nextafter(equal, np.arange(10, dtype=np.float32))):
        clean, (remark,) = part_by_loss(losses, MixtureSettings())
        assert clean.all()
        assert "all losses are equal" in remark


def test_a_fit_that_does_not_converge_is_remarked_and_used(recwarn):
    """Besides what else is remarked."""
    settings = MixtureSettings(max_iter=4, tol=1e-12)
    losses = np.random.default_rng(0).normal(size=200).astype(np.float32)
    clean, (unconverged, overlapping) = part_by_loss(losses, settings)
    assert 0 < clean.sum() < 200
    assert "has not converged in 4 iterations (experiment.mixture.max_iter)" in unconverged
    assert "overlap" in overlapping
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["normal", "narrow", "lognormal", "gamma"])
def test_losses_of_one_kind_lose_clean_pairs_with_a_remark(kind):
    """As published: the labels stay what the mixture says."""
    rng = np.random.default_rng(0)
    drawn = {
        "normal": rng.normal(size=2000),
        "narrow": rng.normal(0.5, 1e-3, 2000),
        "lognormal": rng.lognormal(0, 0.5, 2000),
        "gamma": rng.gamma(2, size=2000),
    }[kind]
    for settings in (MixtureSettings(), MixtureSettings(100, 1e-4, 1e-6)):
        clean, (remark,) = part_by_loss(drawn.astype(np.float32), settings)
        assert 0.4 < clean.mean() < 0.9
        assert "the two components of the losses overlap" in remark


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_losses_of_two_kinds_are_parted_without_a_remark(share):
    rng, noisy = np.random.default_rng(0), np.arange(2000) < 2000 * share
    losses = np.where(noisy, rng.normal(4, 1, 2000), rng.normal(0, 1, 2000)).astype(np.float32)
    clean, remarks = part_by_loss(losses, MixtureSettings(100, 1e-4, 1e-6))
    assert (clean != noisy).mean() > 0.95
    assert remarks == ()


@pytest.mark.parametrize("kind", ["empty", "coincident"])
def test_one_component_leaves_all_clean(kind):
    """A fit whose reg is high blurs a few higher losses, and the two sides of a normal."""
    losses, settings = {
        "empty": (np.append(np.zeros(495), np.linspace(0, 1, 5)), MixtureSettings(reg=0.1)),
        "coincident": (np.random.default_rng(0).normal(size=500), MixtureSettings(99, 1e-9, 1e-2)),
    }[kind]
    clean, (remark,) = part_by_loss(losses.astype(np.float32), settings)
    assert clean.all()
    assert "one component was found" in remark


def test_a_hundredth_is_noisy_where_none_seems_to_be(monkeypatch):
    p = np.random.default_rng(0).permutation(np.linspace(0.6, 1.0, 300))
    certain = np.stack([p, p], axis=1)  # whichever component has the lower mean
    monkeypatch.setattr(sklearn.mixture.GaussianMixture, "predict_proba", lambda *_: certain)
    losses = np.concatenate([np.full(150, 0.1), np.full(150, 0.9)]).astype(np.float32)
    clean, _ = part_by_loss(losses, MixtureSettings())
    assert clean.tolist() == (p > np.sort(p)[3]).tolist()
    p[0] = 0.4
    certain[0] = 0.4
    clean, _ = part_by_loss(losses, MixtureSettings())
    assert clean.tolist() == (p > 0.5).tolist()


@pytest.mark.parametrize(
    ("noise", "dataset", "is_long"),
    [(0.4, "CUHK-PEDES", False), (0.41, "CUHK-PEDES", True), (0, "RSTPReid", True)],
)
def test_the_fit_is_longer_with_much_noise_and_on_rstpreid(noise, dataset, is_long):
    short, long = MixtureSettings(10, 1e-2, 5e-4), MixtureSettings(100, 1e-4, 1e-6)
    assert published_fit(noise, dataset) == (long if is_long else short)


@pytest.mark.parametrize(
    ("words", "fit"),
    [
        ((), (10, 1e-2, 5e-4)),
        (("data.noise.rate=0.5",), (100, 1e-4, 1e-6)),
        (("data.noise={rate: 0, file: half.npy}",), (100, 1e-4, 1e-6)),
        (("data.noise.rate=0.5", "experiment.mixture.max_iter=7"), (7, 1e-2, 5e-4)),
    ],
)
def test_the_fit_goes_by_the_noise_unless_it_is_given(
    words, fit, places, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    np.save("half.npy", np.concatenate([np.roll(np.arange(50), 1), np.arange(50, 100)]))
    config = parse([*RDE, *places, *words]).configure()
    with processes("cpu") as own, caplog.at_level(logging.INFO):
        job = Job(config, "rde", own)
        (stage,) = job.task.build_stages(job.model)
    assert stage.division.mixture == MixtureSettings(*fit)
    assert caplog.text.count("Division: the fit is max_iter") == 1


def test_a_coin_decides_where_the_embeddings_disagree():
    one, other = np.array([1, 1, 0, 0, 1, 0], bool), np.array([1, 0, 1, 0, 0, 1], bool)
    coins = np.array([0, 1, 0, 1, 0, 1], bool)
    assert consent([one, other], coins).tolist() == [True, True, False, False, False, True]
    assert consent([one], coins).tolist() == one.tolist()


def test_what_was_found_is_told_in_percent():
    clean = np.array([1, 0, 0, 1], bool)
    text = describe(clean, np.array([0, 1, 0, 1], bool))
    assert text == (
        "2 of 4 pairs are clean; injected noise is found with precision 50.0, recall 50.0"
    )
    assert describe(clean, None) == "2 of 4 pairs are clean"


@pytest.fixture
def train(places, tmp_path, monkeypatch):
    """Run main.py with RDE's recipe; the result is the run's folder."""
    monkeypatch.chdir(tmp_path)

    def train(*words: str, output: str = "run") -> Path:
        main.run(parse([*RDE, *places, "--output", output, *words]))
        return tmp_path / output

    return train


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


def labels_of(own: Processes, words: tuple[str, ...]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Labels of the first two epochs, without a step between them, and the losses behind them."""
    config = parse([*RDE, *words]).configure()
    job = Job(config, "rde", own)
    (stage,) = job.task.build_stages(job.model)
    labels, losses, places = [], [], set()
    for epoch in range(2):
        losses.append(stage.division._losses(job.model, epoch))
        stage.division.divide(job.model, epoch)
        labels.append(stage.division.labels)
        assert torch.equal(stage.criterion.clean, labels[-1].float())
        places.add(stage.criterion.clean.data_ptr())
    assert len(places) == 1, "recorded steps would read the first epoch's"
    return torch.stack(labels), losses


@pytest.fixture
def damaged(pedestrians, tmp_path) -> tuple[tuple[str, ...], np.ndarray]:
    """Settings of a training set without its fourth picture, and its pairs' numbers."""
    copy = shutil.copytree(pedestrians.image_root, tmp_path / "copy")
    records = json.loads((pedestrians.processed / "train_reid.json").read_text())
    (copy / records[3]["file_path"]).unlink()
    numbers = np.repeat(np.arange(len(records)), [len(r["captions"]) for r in records])
    places = f"data.annotation_file={pedestrians.processed}", f"data.image_root={copy}"
    return (*places, "data.on_bad_image=skip"), np.flatnonzero(numbers == 3)


def test_a_pair_whose_picture_is_bad_takes_no_part(damaged, caplog):
    """Its loss is not zero, the lowest of all: that would mislead the mixture."""
    words, lost = damaged
    with processes("cpu") as own, caplog.at_level(logging.INFO):
        labels, losses = labels_of(own, (*words, "data.batch_size=14"))
    for of_epoch in losses:
        missing = of_epoch.isnan()
        assert missing.any(dim=0).nonzero()[:, 0].tolist() == lost.tolist()
        assert of_epoch[~missing].min() > 0
    assert labels[:, lost].all()
    assert f"of {100 - len(lost)} pairs are clean" in caplog.text


def test_the_labels_are_the_same_on_any_number_of_processes(damaged, tmp_path):
    """In batches of 14, the last one incomplete; one pair stands for another in two of them."""
    places, _ = damaged
    with processes("cpu") as own:
        labels, losses = labels_of(own, (*places, "data.batch_size=14"))
    assert labels.shape == (2, 100)
    assert not torch.equal(labels[0], labels[1])  # other views, batches and coins
    assert 0 < labels.sum() < 200
    for other, other_losses in run_ranks(labels_of, 2, tmp_path, (*places, "data.batch_size=7")):
        assert torch.equal(labels, other)
        for expected, found in zip(losses, other_losses, strict=True):
            torch.testing.assert_close(expected, found, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("saves", [1, 3, 4])
def test_a_run_is_resumed_bit_by_bit(train, interrupt, saves):
    """Within an epoch, where the labels are those of its beginning, and between two."""
    few = ("log.save_period=4",)
    whole = train(*few, output="whole")
    interrupt(lambda: train(*few, output="broken"), saves)
    training = open_checkpoint(whole.parent / "broken" / LAST).training
    assert training.clean.dtype == torch.bool
    assert (training.position.step % 12 == 0) == (saves == 3)
    resumed = train(*few, "--resume", "auto", output="broken")
    first, second = (open_checkpoint(folder / LAST) for folder in (whole, resumed))
    for name, tensor in first.state.items():
        assert torch.equal(tensor, second.state[name]), name
    assert torch.equal(first.training.clean, second.training.clean)
    epochs = [row["epoch"] for row in metrics(resumed) if row.get("division_seconds", 0) > 0]
    assert epochs == [1, 2]
    divided = (resumed / "log.txt").read_text().count("Division, epoch")
    assert divided == 2  # not again within the epoch, and that of a whole epoch only once


def test_two_processes_train_as_one(train, places, tmp_path):
    """Batch norms, labels and sums of the whole; the log tells how well noise was found."""
    folder = train("schedule.epoch=1")
    words = [*RDE, *places, "schedule.epoch=1", "data.batch_size=4", "--output", "pair"]
    run_main_on_ranks(2, tmp_path, words)

    def losses(folder: Path) -> list[float]:
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
        return [row["tal"] for row in rows if "tal" in row]

    assert len(losses(folder)) == 12
    assert losses(tmp_path / "pair") == pytest.approx(losses(folder), rel=1e-3)
    assert "injected noise is found with precision" in (folder / "log.txt").read_text()


def test_a_run_has_rows_of_each_embedding_and_is_indexed(train, tmp_path, pedestrians):
    folder = train("schedule.epoch=1", "data.noise.rate=0")
    text = (folder / "results.md").read_text()
    for row in ("text to image |", "text to image, global alone", "token selection alone"):
        assert row in text
    assert "injected" not in (folder / "log.txt").read_text()
    people = PersonSearch(folder, "cpu")
    features = people.encode_texts(["a woman in a red coat", "a man"])
    assert features.shape == (2, 16 + 24)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    index = people.index(tmp_path / "people.index")
    index.add(pedestrians.image_root, workers=0)
    assert len(index.search("a woman in a red coat", top=3)) == 3
    again = train(f"model.init_from={folder}", "schedule.lr=1e-12", "schedule.epoch=1", output="b")
    held, begun = (open_checkpoint(run / LAST).state for run in (folder, again))
    name = "image_selector.linear.weight"  # of an embedding, and therefore not begun anew
    torch.testing.assert_close(begun[name], held[name], rtol=1e-3, atol=1e-4)
    main.run(parse(["--evaluate", str(folder), "--output", "again"]))
    assert (tmp_path / "again/results.md").read_text() == text


def test_other_noise_is_other_data(train, tmp_path):
    """Also under the same name."""
    order = np.arange(100)
    file = tmp_path / "noise.npy"
    np.save(file, np.roll(order, 1))
    words = ("data.noise={rate: 0, file: noise.npy}", "schedule.epoch=1")
    train(*words)
    assert "injected noise is found" in (tmp_path / "run/log.txt").read_text()
    np.save(file, np.roll(order, 2))
    with pytest.raises(InputError, match=r"the training data .* differs from the run's"):
        train(*words, "schedule.epoch=2", "--resume", "auto")


def test_labels_and_parts_that_do_not_fit_are_refused(train, tmp_path):
    with pytest.raises(InputError, match=r"in parts of data.batch_size=4, but the model has batch"):
        train("data.batch_size=4", "data.global_batch_size=8")
    train("log.save_period=4", "schedule.epoch=1")
    checkpoint = open_checkpoint(tmp_path / "run" / LAST)
    division = _division(checkpoint.config)
    with pytest.raises(InputError, match="labels of 7 pairs, but the training set has 100"):
        division.restore(torch.ones(7, dtype=torch.bool))


def _division(tree):
    own = Processes(0, 1, torch.device("cpu"))
    job = Job(parse([]).configure(tree), "rde", own)
    return job.task.build_stages(job.model)[0].division


@pytest.mark.parametrize("loss", ["tal", "trl", "itc", "sdm"])
def test_other_methods_train_without_noisy_pairs_too(small_config, loss, tmp_path):
    """TBPS-CLIP's losses on captions of which some are of other pictures."""
    config = small_config(f"experiment.division={loss}", "data.noise.rate=0.3", "schedule.epoch=1")
    own = Processes(0, 1, torch.device("cpu"))
    Job(config, "small", own).train(tmp_path / "run")
    assert "of 100 pairs are clean; injected" in (tmp_path / "run/log.txt").read_text()
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    assert all(np.isfinite(row["loss"]) for row in rows if "loss" in row)


def test_the_truth_divides_as_the_noise_was_injected(small_config, tmp_path, caplog):
    """Without reading a picture; and all pairs are clean where there is no noise."""
    caplog.set_level("INFO")
    own = Processes(0, 1, torch.device("cpu"))
    for rate in (0.3, 0):
        words = ("experiment.division=truth", f"data.noise.rate={rate}", "schedule.epoch=1")
        job = Job(small_config(*words), "small", own)
        (stage,) = job.task.build_stages(job.model)
        stage.division.divide(None, 0)
        noisy = job.task._mismatched
        assert noisy.any() == (rate > 0)
        assert (stage.division.labels.numpy() == ~noisy).all()
    assert "found with precision 100.0, recall 100.0" in caplog.text
    assert "100 of 100 pairs are clean" in caplog.text


def test_tokens_are_not_selected_where_no_attention_shows(train):
    resnet = "model.vision={width: 4, layers: [1, 1, 1, 1], heads: 2, patch_size: null}"
    with pytest.raises(InputError, match=r"model.token_selection .* which a ResNet does not have"):
        train(resnet, "data.image_size=[64,32]")
    with pytest.raises(InputError, match=r"model.token_selection: .* words and prompts"):
        train("prompts.n_ctx=2", "prompts.depth=1")
