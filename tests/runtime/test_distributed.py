"""Two processes do what one does: gathered losses, gradients, whole training steps, evaluation."""

import inspect
import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

import options
from errors import InputError
from misc.data.drawn import DrawnBatch
from misc.data.text import PictureDataset
from misc.data.transforms import EvaluationTransform
from misc.retrieval.base import Loading, encode_items
from misc.runtime import distributed
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.runtime.distributed import AllGather, Processes, is_of_another_process, processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, seed_torch
from misc.settings.sections import DistributedSettings
from misc.tasks.text.model import new_model
from misc.tasks.text.task import TextTask
from misc.training.trainer import Trainer, TrainingSettings
from model.criteria.text import TextCriterion
from model.gather import Alone
from model.interface import TextOutputs
from model.objectives import Pairs, n_itc, r_itc, sup_con, triplet
from tests import GOLDEN_FILES
from tests.conftest import SMALL
from tests.ranks import run_main_on_ranks, run_ranks

GOLDEN = GOLDEN_FILES / "tbps_allgather2.npz"


def test_one_process_needs_no_group():
    with processes("cpu") as own:
        assert (own.rank, own.world_size, own.is_main) == (0, 1, True)
        assert own.share({"a": 1}) == {"a": 1}
        assert own.largest(3)() == 3
        assert own.mean(torch.tensor(3.0)) == 3.0
        assert own.collect(torch.ones(2, 1))[0].shape == (2, 1)


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="--device gpu: unknown device"), processes("gpu"):
        pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (dist.DistNetworkError("timed out"), True),
        (RuntimeError("Connection closed by peer [127.0.0.1]:24570"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_the_end_of_another_process_is_told_from_an_own_mistake(error, expected):
    assert is_of_another_process(error) is expected


@pytest.mark.parametrize(("is_first", "end"), [(True, InputError), (False, SystemExit)])
def test_of_several_processes_that_lost_one_the_first_tells(monkeypatch, is_first, end):
    heartbeats = MagicMock()
    heartbeats.__enter__.return_value.is_first_to_tell.return_value = is_first
    heartbeats.__exit__.return_value = False
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(distributed, "rendezvous", lambda *_, **__: iter([(MagicMock(), 1, 3)]))
    monkeypatch.setattr(distributed, "Heartbeats", lambda *_: heartbeats)
    monkeypatch.setattr(distributed, "_joined", MagicMock(side_effect=dist.DistError("ended")))
    with pytest.raises(end) as raised, processes("cpu"):
        pass
    assert is_first or raised.value.code == 1


@pytest.mark.parametrize("device", ["cpu:99", "cpu:3"])
def test_a_cpu_with_a_number_is_refused(device):
    with pytest.raises(InputError, match=f"--device {device} does not exist"), processes(device):
        pass


def test_a_gpu_that_is_not_there_is_refused():
    with (
        pytest.raises(InputError, match="--device cuda:3: no GPU found; use --device cpu"),
        processes("cuda:3"),
    ):
        pass


def exchange(own: Processes) -> tuple:
    rows = torch.full((own.rank + 1, 2), float(own.rank))
    mean, largest = own.mean(torch.tensor(float(own.rank))), own.largest(own.rank)()
    return mean, largest, own.collect(rows), own.share(own.rank)


def test_exchanges(tmp_path):
    for mean, largest, parts, shared in run_ranks(exchange, 2, tmp_path):
        assert largest == 1
        assert mean == 0.5
        assert [part.tolist() for part in parts] == [[[0, 0]], [[1, 1], [1, 1]]]
        assert shared == 0


def golden_losses(own: Processes) -> dict[str, tuple[Tensor, dict[str, Tensor]]]:
    """Each loss of the published two-rank case, and its gradients."""
    data, gather = np.load(GOLDEN), AllGather()
    results = {}
    for name in ("nitc", "nitc_mvs", "ritc"):
        raw = {
            key: torch.tensor(data[f"c0/{key}"][own.rank]).double().requires_grad_()
            for key in ("img", "img1", "txt")
        }
        raw["logit_scale"] = torch.tensor(math.log(1 / 0.07)).double().requires_grad_()
        ids, alpha = torch.tensor(data["c0/ids"][own.rank]), float(data["c0/alpha"])
        image, second, text = (F.normalize(raw[key], dim=1) for key in ("img", "img1", "txt"))
        scale = raw["logit_scale"].exp()
        views = [image, second] if name == "nitc_mvs" else [image]
        gathered = [Pairs(gather(view), gather(text), gather(ids)) for view in views]
        if name == "ritc":
            loss = r_itc(image, text, ids, scale, gathered=gathered[0])
        else:
            losses = [
                n_itc(view, text, ids, scale, alpha, gathered=columns)
                for view, columns in zip(views, gathered, strict=True)
            ]
            loss = torch.stack(losses).mean()
        loss.backward()
        results[name] = loss.detach(), {k: v.grad for k, v in raw.items() if v.grad is not None}
    return results


def test_gathered_losses_are_the_published_ones(tmp_path):
    data = np.load(GOLDEN)
    for rank, results in enumerate(run_ranks(golden_losses, 2, tmp_path)):
        for name, (loss, gradients) in results.items():
            assert loss.item() == pytest.approx(float(data[f"c0/{name}_loss_rank{rank}"]), rel=1e-6)
            for key, gradient in gradients.items():
                expected = torch.tensor(data[f"c0/{name}_grad_{key}_rank{rank}"])
                torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


REID_IDS = torch.tensor([0, 0, 1, 1, 1, 2])  # the last has no positive


def reid_losses(own: Processes) -> dict[str, tuple[Tensor, Tensor]]:
    """SupCon and the triplet losses of this process's rows, and their gradients, as DDP has them:
    mean over the processes.
    """
    gather = AllGather() if own.world_size > 1 else Alone()
    rows = slice(own.rank * 6 // own.world_size, (own.rank + 1) * 6 // own.world_size)
    rng = torch.Generator().manual_seed(0)
    raw = torch.randn(6, 5, generator=rng, dtype=torch.float64)
    weight = torch.eye(5, dtype=torch.float64).requires_grad_()  # shared by the processes
    features, ids = raw[rows] @ weight, REID_IDS[rows]
    gathered, gathered_ids = gather(features), gather(ids)
    together = {"gathered": gathered, "gathered_ids": gathered_ids}
    losses = {
        "sup_con": sup_con(features, gathered, ids, gathered_ids, temperature=3.0),
        "margin": triplet(features, ids, 0.3, **together),
        "soft": triplet(features, ids, **together),
    }
    results = {}
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
        results[name] = own.mean(loss.detach()), own.mean(gradient)
    return results


def test_losses_of_re_identification_on_two_processes_are_those_of_one(tmp_path):
    with processes("cpu") as own:
        alone = reid_losses(own)
    for results in run_ranks(reid_losses, 2, tmp_path):
        for name, expected in alone.items():
            torch.testing.assert_close(results[name], expected, rtol=1e-6, atol=1e-9)


def train_steps(own: Processes, config, steps: int) -> tuple[list, list, dict]:
    """Losses, gradients and results of some steps on this process's part of the global batches."""
    precision = Precision("fp32", own.device)
    task = TextTask(config, own, precision)
    seed_torch(config.misc.seed, Purpose.INITIALISATION)
    model = new_model(config, None, num_identities=task.data.num_identities)
    (stage,) = task.build_stages(model)
    gather = AllGather() if own.world_size > 1 else Alone()
    chunk = config.data.batch_size
    trainer = Trainer(
        stage, model, own, precision, gather=gather, settings=TrainingSettings(1, chunk)
    )
    gradients: list[dict[str, Tensor]] = []

    def remember(*_: object) -> None:
        gradients.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
        )

    trainer.optimizer.register_step_pre_hook(remember)
    losses = []
    for step, batch in zip(range(steps), stage.loader, strict=False):
        own_losses, *_ = trainer.step(batch, step)
        losses.append({name: own.mean(loss).item() for name, loss in own_losses.items()})
    results = task.build_retrieval("val").evaluate(model, own, precision)
    return losses, gradients[:2], results


EVERY_LOSS = (
    "experiment={mvs_image: true, citc: true, ss: true, id: true, mlm: true, itc: true, sdm: true, "
    "cmpm: true, mixgen: true, mixgen_p: 0.5, mixgen_ratio: 0.5, mixgen_rows: 2, cmt_depth: 1}"
)
FULL = "experiment={mvs_image: true, citc: true, ss: true}"


def check_same(run: tuple, other: tuple) -> None:
    """The same losses to 1e-5, in the first step 1e-6; gradients to 1e-5; the same results."""
    assert run[0][0].keys() == other[0][0].keys()
    for name in run[0][0]:
        ours, theirs = ([step[name] for step in losses] for losses in (run[0], other[0]))
        assert ours == pytest.approx(theirs, abs=1e-5, rel=1e-5), name
        assert ours[0] == pytest.approx(theirs[0], rel=1e-6), name
    for step in range(2):
        for name, gradient in run[1][step].items():
            expected = other[1][step][name]
            close = 1e-5 * max(1.0, expected.norm().item())
            torch.testing.assert_close(gradient, expected, rtol=0, atol=close)
    assert run[2] == other[2]


@pytest.mark.parametrize("recipe", ["experiment.itc=true", FULL, EVERY_LOSS])
def test_two_processes_train_and_evaluate_as_one(tmp_path, small_config, recipe):
    """And as one process that encodes its batch in two parts, and mixes within them."""
    pair = small_config(recipe, "data.batch_size=4", "experiment.dropout=0")
    first, second = run_ranks(train_steps, 2, tmp_path, pair, 10)
    assert len(first[0]) == 10
    assert first[0] == second[0]
    assert first[2] == second[2]
    for step in range(2):
        for name, gradient in first[1][step].items():
            assert torch.equal(gradient, second[1][step][name]), f"{name} differs over ranks"
    assert "clip.logit_scale" in first[1][0]
    parts = small_config(
        recipe, "data.batch_size=4", "data.global_batch_size=8", "experiment.dropout=0"
    )
    with processes("cpu") as own:
        check_same(first, train_steps(own, parts, 10))


@pytest.mark.parametrize("recipe", [FULL, EVERY_LOSS])
def test_a_batch_in_parts_is_the_batch_in_one(small_config, recipe):
    changes = (recipe, "experiment.dropout=0")
    whole = small_config(*changes, "data.batch_size=8")
    parts = small_config(*changes, "data.batch_size=3", "data.global_batch_size=8")
    with processes("cpu") as own:
        check_same(train_steps(own, whole, 4), train_steps(own, parts, 4))


def test_a_batch_in_parts_on_two_processes(tmp_path, small_config):
    """Both at once: DDP reduces in the last part only."""
    parts = small_config(EVERY_LOSS, "data.batch_size=2", "data.global_batch_size=8")
    first, second = run_ranks(train_steps, 2, tmp_path, parts, 3)
    for name, gradient in first[1][1].items():
        assert torch.equal(gradient, second[1][1][name]), f"{name} differs over ranks"
    alone = small_config(EVERY_LOSS, "data.batch_size=2", "data.global_batch_size=8")
    with processes("cpu") as own:
        check_same(first, train_steps(own, alone, 3))


RESNET = (
    "model={vision: {width: 8, layers: [1, 2, 1, 1], heads: 4, patch_size: null}, last_stride: 1}"
)


def test_a_resnet_trains_on_two_processes_as_on_one(tmp_path, small_config):
    settings = (RESNET, EVERY_LOSS, "experiment.dropout=0")
    pair = small_config(*settings, "data.batch_size=4")
    first, second = run_ranks(train_steps, 2, tmp_path, pair, 3)
    for name, gradient in first[1][1].items():
        assert torch.equal(gradient, second[1][1][name]), f"{name} differs over ranks"
    with processes("cpu") as own:
        check_same(first, train_steps(own, small_config(*settings, "data.batch_size=8"), 3))


def train_resnet(own: Processes, config) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The running statistics and gradients after a step that gathers no features."""
    seed_torch(config.misc.seed, Purpose.INITIALISATION)
    model = new_model(config, None)
    precision = Precision("fp32", own.device)
    (stage,) = TextTask(config, own, precision).build_stages(model)
    stage = replace(stage, criterion=UngatheredSquares({"nitc": 1.0}))
    chunk = config.data.batch_size
    trainer = Trainer(
        stage, model, own, precision, gather=Alone(), settings=TrainingSettings(1, chunk)
    )
    trainer.backward(next(iter(stage.loader)), 0)
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return dict(model.clip.visual.named_buffers()), gradients


class UngatheredSquares(TextCriterion):
    """A loss of each picture by itself, so that the statistics alone make two processes one."""

    def __call__(self, outputs: TextOutputs, *_: object) -> dict[str, Tensor]:
        return {"nitc": outputs.image_features.square().mean()}


def test_batch_norms_share_their_statistics_whatever_the_losses_gather(tmp_path, small_config):
    with processes("cpu") as own:
        alone = train_resnet(own, small_config(RESNET, "data.batch_size=8"))
    assert len(alone[0]) == 3 * (3 + 5 * 3 + 4)
    pair = small_config(RESNET, "data.batch_size=4")
    for both in run_ranks(train_resnet, 2, tmp_path, pair):
        for found, expected in zip(both, alone, strict=True):
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_a_batch_that_cannot_be_shared_is_refused(small_config):
    config = small_config("data.global_batch_size=9")
    both = Processes(0, 2, torch.device("cpu"))
    task = TextTask(config, both, Precision("fp32", both.device))
    with pytest.raises(InputError, match=r"a batch of 9 .* cannot be shared by 2"):
        task.build_stages(new_model(config, None))


def test_two_stages_and_a_resumption_on_two_processes(tmp_path, places):
    """Each stage wraps its own DDP; the parts of a broken run are those of a whole one."""
    stages = "[{name: text, freeze: [visual], schedule: {epoch: 1}}, {name: both}]"
    demo = ["--config", str(options.RECIPES / "demo.yaml"), *SMALL, *places]
    arguments = [*demo, "data.batch_size=4", "schedule.epoch=2", f"stages={stages}"]
    run_main_on_ranks(2, tmp_path, [*arguments, "--output", str(tmp_path / "whole")])
    shorter = f"stages={stages.replace(', {name: both}', '')}"
    part = ["--output", str(tmp_path / "part")]
    run_main_on_ranks(2, tmp_path, [*arguments, shorter, *part])
    resumed = [*part, "--resume", "auto", "--allow-changes"]
    run_main_on_ranks(2, tmp_path, [*arguments, *resumed])
    whole, parts = (open_checkpoint(tmp_path / name / LAST) for name in ("whole", "part"))
    assert whole.training.position == parts.training.position
    assert all(torch.equal(t, parts.state[name]) for name, t in whole.state.items())


def encode_one(own: Processes, picture: Path) -> Tensor:
    """A split of a single picture, on more processes than that."""
    items = PictureDataset([picture], EvaluationTransform((8, 8), "clip"))
    loading = Loading(batch_size=4, num_workers=0, chunk=8)
    return encode_items(
        items,
        lambda x: x.flatten(1),
        processes=own,
        precision=Precision("fp32", own.device),
        loading=loading,
    )


def test_a_split_smaller_than_the_number_of_processes_is_encoded(tmp_path, pedestrians):
    picture = next(pedestrians.image_root.rglob("*.jpg"))
    first, second = run_ranks(encode_one, 2, tmp_path, picture)
    assert first.shape == (1, 3 * 8 * 8)
    assert torch.equal(first, second)


@pytest.mark.gpu
def test_a_step_waits_for_the_gpu_at_no_point(small_config):
    """Nor do the images of a batch that the device augments."""
    losses = ("schedule.clip_grad=1.0", "experiment={itc: true, ss: true}")
    config = small_config(*losses, "data.augment_on=device")
    with processes("cuda") as own:
        model = new_model(config, None).to(own.device)
        auto = Precision("auto", own.device)
        (stage,) = TextTask(config, own, auto).build_stages(model)
        chunk = config.data.batch_size
        trainer = Trainer(
            stage, model, own, auto, gather=Alone(), settings=TrainingSettings(1, chunk)
        )
        drawn = next(iter(stage.loader))
        assert isinstance(drawn, DrawnBatch)
        trainer.step(drawn.to(own.device), 0)  # the first allocates
        torch.cuda.set_sync_debug_mode("error")
        try:
            trainer.step(drawn.to(own.device), 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_other_commands_wait_for_a_lost_process_as_long_as_a_training():
    default = inspect.signature(processes).parameters["timeout_minutes"].default
    assert default == DistributedSettings.model_fields["timeout_minutes"].default


def test_a_full_gpu_is_told_in_a_sentence():
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB."
    full = r"the memory of cpu is full \(Tried to allocate 2.00 GiB\): lower data.batch_size"
    with pytest.raises(InputError, match=full) as told, processes("cpu"):
        raise torch.OutOfMemoryError(text)
    assert told.value.in_one_process
