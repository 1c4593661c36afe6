"""Recorded steps train as steps that are launched kernel by kernel."""

import logging
from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.steps import RECIPES, build_step
from benchmarks.steps import SMALL as SMALL_STEP
from errors import InputError
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, seed_torch
from misc.tasks.text.model import new_model
from misc.tasks.text.task import TextTask
from misc.training import step_graphs
from misc.training.step_graphs import StepGraphs
from misc.training.trainer import Trainer, TrainingSettings
from model.criteria.base import Losses
from model.gather import Alone
from model.heads import MaskedLanguageDecoder

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
STEPS = 8
LOSSES = "experiment={nitc: true, ss: true, citc: true, dropout: 0.1, soft_pass: fresh}"
# Their gradient is zero but for rounding, which Adam makes steps of: the keys' bias, and biases
# before a batch norm.
UNSTEADY = ("k_proj.bias", "selector.mlp.0.bias")


def new_trainer(config, device: torch.device, *, graphs: bool, chunk: int = 8) -> Trainer:
    own = Processes(0, 1, device)
    task = TextTask(config, own, Precision("fp32", device))
    seed_torch(1, Purpose.INITIALISATION)
    model = new_model(config, None, num_identities=task.data.num_identities).to(device).train()
    (stage,) = task.build_stages(model)
    settings = TrainingSettings(1, chunk, cuda_graphs=graphs)
    return Trainer(stage, model, own, task.precision, gather=Alone(), settings=settings)


def train(trainer: Trainer) -> list[dict[str, float]]:
    """The losses of the steps of some epochs."""
    loader, step, found = trainer.stage.loader, 0, []
    for epoch in range(4):
        loader.start(epoch)
        for batch in loader:
            losses, _, is_bad = trainer.step(batch.to(trainer.processes.device), step)
            assert not is_bad
            found.append({name: loss.item() for name, loss in losses.items()})
            step += 1
    return found


def assert_trains_alike(config, device: torch.device) -> None:
    plain, recorded = (new_trainer(config, device, graphs=on) for on in (False, True))
    assert plain.graphs is None
    expected, found = train(plain), train(recorded)
    assert len(found) >= STEPS
    assert found == [pytest.approx(losses, rel=1e-4) for losses in expected]
    weights = recorded.model.state_dict()
    for name, weight in plain.model.state_dict().items():
        if not name.endswith(UNSTEADY):
            torch.testing.assert_close(weights[name], weight, rtol=1e-3, atol=1e-4, msg=name)
    assert recorded.graphs is not None
    shapes = recorded.graphs.graphs
    assert len(shapes) > 1, "captions of one length alone"
    assert sum(graph is not None for graph in shapes.values()) > 1


@pytest.fixture
def replayed(monkeypatch) -> list[None]:
    """On a CPU: what would be recorded is called again instead. One entry for each replay."""
    replays = []

    def record(compute: Callable[[], Losses], _: object):
        with torch.random.fork_rng(devices=[]):
            losses = compute()
        trained = [p for p in watched[0].trained if p.grad is not None]
        gradients = [p.grad for p in trained]
        for tensor in (*losses.values(), *gradients):
            tensor.fill_(torch.nan)  # a recording computes nothing

        def replay() -> None:
            replays.append(None)
            for parameter in trained:
                parameter.grad = None
            for name, loss in compute().items():
                losses[name].copy_(loss)
            for parameter, gradient in zip(trained, gradients, strict=True):
                gradient.copy_(parameter.grad)

        return replay, losses

    watched: list[Trainer] = []
    made = Trainer.__init__

    def watch(self: Trainer, *args: object, **kwargs: object) -> None:
        made(self, *args, **kwargs)
        watched[:] = [self]

    monkeypatch.setattr(Trainer, "__init__", watch)
    monkeypatch.setattr(step_graphs, "record", record)
    monkeypatch.setattr(step_graphs, "find_fault", lambda *_: None)
    return replays


def test_the_second_batch_of_a_shape_is_recorded_and_replayed(small_config, replayed):
    assert_trains_alike(small_config(LOSSES, "model.cuda_graphs=true"), CPU)
    assert len(replayed) > 1


@pytest.mark.gpu
def test_recorded_steps_train_as_others_do_on_a_gpu(small_config):
    assert_trains_alike(small_config(LOSSES, "model.cuda_graphs=true"), torch.device("cuda", 0))


@pytest.mark.gpu
def test_recorded_steps_of_two_embeddings_train_as_others_do(small_config):
    selected = ("model.token_selection={embed_dim: 16, ratio: 0.5}", "experiment={tal: true}")
    config = small_config(*selected, "model.cuda_graphs=true")
    assert_trains_alike(config, torch.device("cuda", 0))


def test_what_cannot_be_recorded_is_said_and_trained_without_it(small_config, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = new_trainer(small_config(), CPU, graphs=True)
    assert trainer.graphs is None
    assert "model.cuda_graphs: graphs are for a GPU; the training goes on without" in caplog.text


def test_each_reason_for_not_recording_is_told():
    gpu, model = torch.device("cuda", 0), torch.nn.Linear(2, 2)
    assert step_graphs.find_fault(model, Processes(0, 1, gpu), 1) is None
    assert "several processes" in step_graphs.find_fault(model, Processes(0, 2, gpu), 1)
    assert "in parts" in step_graphs.find_fault(model, Processes(0, 1, gpu), 2)
    for name in ("gradient_checkpointing", "grad_checkpointing"):
        setattr(model, name, True)
        assert "recomputed" in step_graphs.find_fault(model, Processes(0, 1, gpu), 1)
        setattr(model, name, False)
    model.decoder = MaskedLanguageDecoder(width=8, depth=1, heads=2, vocab_size=4)
    assert "masked words" in step_graphs.find_fault(model, Processes(0, 1, gpu), 1)


class HostReads(TorchDispatchMode):
    """Collects the operations whose result, or its size, the host reads."""

    NAMES = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "unique",
        "lift_fresh",
        "is_nonzero",
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if masked or any(one in name for one in self.NAMES):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_that_is_recorded_reads_no_value_on_the_host(name):
    words = (*SMALL_STEP, "data={batch_size: 8, global_batch_size: 8}", "data.num_workers=0")
    step = build_step(RECIPES[name], (*words, "experiment.precision=fp32"), ALONE)
    step()
    with HostReads() as reads:
        step.trainer.backward(step.batch, 1)
    gpu = Processes(0, 1, torch.device("cuda", 0))
    fault = step_graphs.find_fault(step.trainer.model, gpu, 1)
    assert fault or reads.found == []
    if name == "IRRA":
        assert "masked words" in fault
        assert "index" in reads.found


def test_a_step_that_waits_ends_in_a_sentence(monkeypatch):
    """It has the first error, and its place: torch ends a failed recording with another one."""

    def fail(*_: object) -> None:
        try:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error")

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    class Pair:
        def present(self) -> dict[str, torch.Tensor]:
            return {"ids": torch.zeros(2)}

        def map(self, _: object) -> "Pair":
            return self

    monkeypatch.setattr(step_graphs, "record", fail)
    graphs = StepGraphs([], CPU)
    graphs(lambda *_: {"loss": torch.zeros(())}, Pair(), 0.0)
    place = r"recorded \(CUDA error: .* capturing, at .*test_step_graphs.py:\d+\): set it to false"
    with pytest.raises(InputError, match=place):
        graphs(lambda *_: {}, Pair(), 0.0)
    monkeypatch.setattr(step_graphs, "record", full)
    graphs = StepGraphs([], CPU)
    graphs(lambda *_: {"loss": torch.zeros(())}, Pair(), 0.0)
    with pytest.raises(torch.OutOfMemoryError):
        graphs(lambda *_: {}, Pair(), 0.0)
