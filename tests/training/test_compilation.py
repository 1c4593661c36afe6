"""Compiled blocks train as the others do, under every way of taking a step."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

import main
import options
from misc.runtime.checkpoint import LAST, open_checkpoint
from misc.runtime.distributed import Processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, seed_torch
from misc.tasks.text.model import new_model
from misc.tasks.text.task import TextTask
from misc.training.compilation import compile_blocks, find_blocks, find_fault
from misc.training.trainer import Trainer, TrainingSettings
from model.altclip import AltCLIP, AltTextShape
from model.backbones import load_backbone
from model.gather import Alone
from model.transformer import Transformer
from model.vit import VisionShape
from tests import ROOT
from tests.backbone_folders import write_open_clip_folder
from tests.conftest import SMALL
from tests.ranks import run_ranks

CPU = torch.device("cpu")
ALONE = Processes(0, 1, CPU)
DEMO = str(options.RECIPES / "demo.yaml")
STEPS = 3


@pytest.fixture
def traced(monkeypatch):
    """Graphs are traced and differentiated, but the compiler's code is not made: it takes long."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch._dynamo.reset()


def losses_of(
    config: options.Config, chunk: int, *, compiles: bool, own: Processes = ALONE
) -> list[dict[str, float]]:
    """The losses of the first steps."""
    seed_torch(1, Purpose.INITIALISATION)
    task = TextTask(config, own, Precision("fp32", CPU))
    model = new_model(config, None, num_identities=task.data.num_identities).train()
    names = list(model.state_dict())
    if compiles:
        assert compile_blocks(model, "default", CPU) == len(find_blocks(model)) > 0
    (stage,) = task.build_stages(model)
    settings = TrainingSettings(1, chunk)
    trainer = Trainer(stage, model, own, task.precision, gather=Alone(), settings=settings)
    stage.loader.start(0)
    steps = [
        trainer.step(batch, step)[0]
        for step, batch in zip(range(STEPS), stage.loader, strict=False)
    ]
    assert list(model.state_dict()) == names
    return [{name: loss.item() for name, loss in losses.items()} for losses in steps]


def assert_trains_alike(config: options.Config, chunk: int = 8) -> None:
    plain, compiled = (losses_of(config, chunk, compiles=on) for on in (False, True))
    assert len(plain) == STEPS
    for expected, found in zip(plain, compiled, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_compiled_code_has_the_losses_of_plain_code(small_config):
    assert_trains_alike(small_config("experiment.dropout=0"))


WAYS = {
    "parts": (3,),
    "gradient checkpointing": (8, "model.gradient_checkpointing=true"),
    "both": (3, "model.gradient_checkpointing=true"),
    "LoRA": (8, "lora={rank: 2, targets: [attention, mlp]}"),
    "prompts and adapters": (8, "prompts={n_ctx: 2, depth: 1}", "adapters.towers=[image, text]"),
    "masked words": (8, "experiment={mlm: true, cmt_depth: 1}"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_graphs_have_the_losses_of_plain_code(small_config, traced, way):
    chunk, *settings = way
    assert_trains_alike(small_config("experiment.dropout=0", *settings), chunk)
    assert not torch._dynamo.utils.counters["graph_break"]


def test_blocks_of_a_shape_share_one_graph(traced):
    torch._dynamo.utils.counters.clear()
    tower = Transformer(8, 3, 2).train()
    compile_blocks(tower, "default", CPU)
    trial = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    tower(torch.randn(2, 4, 8)).sum().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - trial <= 2  # input: no gradient


def test_an_evaluation_is_not_compiled(traced, monkeypatch):
    tower = Transformer(8, 2, 2)
    compile_blocks(tower, "default", CPU)
    tower.train()(torch.randn(2, 4, 8))
    with torch.compiler.set_stance("fail_on_recompile"):
        tower.eval()(torch.randn(3, 5, 8))
        with pytest.raises(RuntimeError, match="recompile"):
            tower.train()(torch.randn(3, 5, 8))


def test_both_passes_over_a_part_have_the_same_dropout_masks(traced):
    """Gradient caching encodes without a graph first, then with one."""
    tower = Transformer(8, 2, 2, causal=True, dropout=0.3).train()
    compile_blocks(tower, "default", CPU)
    x = torch.randn(4, 6, 8)

    def encode() -> Tensor:
        torch.manual_seed(0)
        return tower(x)

    with torch.no_grad():
        first = encode()
    assert torch.equal(first, encode())
    assert not torch.equal(first, tower(x))


def test_altclips_text_tower_is_compiled(traced):
    vision = VisionShape(8, 1, 2, patch_size=4, stride=4, image_size=(8, 4))
    text = AltTextShape(8, 2, 2, context_length=8, vocab_size=20, transformed_width=8)
    torch.manual_seed(0)
    model = AltCLIP(vision, text, embed_dim=4, gradient_checkpointing=True).train()
    tokens = torch.tensor([[0, 5, 2, 1], [0, 6, 7, 2]])

    def gradients() -> list[Tensor]:
        model.zero_grad()
        model.encode_text(tokens).square().sum().backward()
        return [p.grad for p in model.text.parameters() if p.grad is not None]

    plain = gradients()
    assert compile_blocks(model, "default", CPU) == 3
    torch.testing.assert_close(gradients(), plain)


@pytest.mark.parametrize(
    ("family", "size", "expected"),
    [("xlmr", (32, 16), (2, 2)), ("eva02", (28, 28), (12, 2))],
)
def test_the_towers_of_open_clip_are_compiled(family, size, expected, tmp_path, traced):
    """Blocks of open_clip, transformers and timm."""
    write_open_clip_folder(tmp_path, family)
    model = load_backbone(f"local-dir:{tmp_path}", image_size=size).model.train()
    assert tuple(len(find_blocks(tower)) for tower in (model.visual, model.text)) == expected
    tokens, images = torch.tensor([[0, 5, 2, 1], [0, 6, 7, 2]]), torch.randn(2, 3, *size)

    def gradients() -> list[Tensor]:
        model.zero_grad()
        features = torch.cat([model.encode_image(images), model.encode_text(tokens)])
        features.square().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    plain = gradients()
    assert compile_blocks(model, "default", CPU) == sum(expected)
    torch.testing.assert_close(gradients(), plain, rtol=1e-4, atol=1e-5)


def test_captions_have_few_lengths_where_each_is_compiled_and_the_losses_stay(small_config):
    """The features of longer padding, which no token attends to."""
    lengths, losses = [], []
    for mode in ("false", "default"):
        config = small_config(f"model.compile={mode}", "experiment.dropout=0")
        task = TextTask(config, ALONE, Precision("fp32", CPU))
        (stage,) = task.build_stages(new_model(config, None, num_identities=20))
        stage.loader.start(0)
        lengths.append({batch.tokens.shape[1] for batch in stage.loader})
        losses.append(losses_of(config, 8, compiles=False))
    assert {-(-length // 16) * 16 for length in lengths[0]} == lengths[1]
    assert lengths[0] != lengths[1]
    for expected, found in zip(*losses, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)


def test_a_machine_without_a_compiler_trains_as_it_is(places, tmp_path):
    words = ["--config", DEMO, "--device", "cpu", "--output", str(tmp_path / "run"), *SMALL]
    words += [*places, "schedule.epoch=1", "schedule.epoch_warmup=0", "model.compile=default"]
    made = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *words],
        env={"PATH": str(tmp_path), "CXX": "absent", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    line = "model.compile: torch.compile fails on this machine (InvalidCxxCompiler: No working C++"
    assert made.stdout.count(line) == 1
    assert "the training goes on without it" in made.stdout


def test_a_model_without_blocks_stays_as_it_is(caplog):
    assert compile_blocks(torch.nn.Linear(2, 2), "default", CPU) == 0
    assert "the model has no transformer" in caplog.text


def train(places: tuple[str, str], folder: Path, *words: str) -> list[str]:
    few = ("schedule.epoch=1", "schedule.epoch_warmup=0", "log.print_period=1")
    return ["--config", DEMO, "--output", str(folder), *SMALL, *places, *few, *words]


def test_a_compiled_run_is_resumed_bit_by_bit(places, tmp_path, traced, interrupt):
    settings = ("model.compile=default", "log.save_period=3")
    main.run(options.parse(train(places, tmp_path / "whole", *settings)))
    again = train(places, tmp_path / "broken", *settings)
    interrupt(lambda: main.run(options.parse(again)), 1)
    main.run(options.parse([*again, "--resume", "auto"]))
    whole, resumed = (open_checkpoint(tmp_path / n / LAST).state for n in ("whole", "broken"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def losses_on_ranks(own: Processes, config: options.Config) -> list[list[dict[str, float]]]:
    torch.compile = partial(torch.compile, backend="aot_eager")  # in a process of its own
    return [losses_of(config, 3, compiles=compiles, own=own) for compiles in (False, True)]


@pytest.mark.slow
def test_processes_train_alike_in_graphs(small_config, tmp_path):
    """In parts, whose gradients DDP reduces once."""
    config = small_config("experiment.dropout=0")
    for plain, compiled in run_ranks(losses_on_ranks, 2, tmp_path, config):
        for expected, found in zip(plain, compiled, strict=True):
            assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("\nbackend='inductor' raised:\nOSError: no compiler\n\nSet X", "OSError: no compiler"),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_is_the_first_line_that_says_one(monkeypatch, message, reason):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch, "compile", fail)
    assert find_fault(CPU) == f"torch.compile fails on this machine ({reason})"
