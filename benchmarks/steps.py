"""Training steps of recipes on batches of noise: built, timed, and their operations counted."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

import options
from benchmarks.drawn_tasks import (
    DrawnAltCLIPTask,
    DrawnBothTask,
    DrawnReIDTask,
    DrawnTextTask,
)
from errors import InputError
from misc.runtime.distributed import AllGather, Processes
from misc.runtime.precision import Precision
from misc.runtime.seeding import Purpose, seed_torch
from misc.tasks.base import training_settings
from misc.training.compilation import compile_blocks, find_fault
from misc.training.trainer import Trainer, check_chunk
from model.gather import Alone
from model.interface import Batch, TextBatch
from model.tbps_clip import TBPSCLIP
from model.vit import VisionTransformer

SMALL = (  # seconds on a CPU
    "data.image_size=[32,16]",
    "model={embed_dim: 16, projection_dim: 16}",
    "model.vision={width: 32, layers: 2, heads: 2, patch_size: 8}",
    "model.text={width: 32, layers: 2, heads: 2}",
    "experiment.simclr_mlp=[16, 8, 16]",
    "prompts.depth=2",
)
CONFIG = options.RECIPES


DrawnTask = DrawnTextTask | DrawnReIDTask | DrawnBothTask


@dataclass(frozen=True)
class Recipe:
    """A recipe by the words of a command line, and the stage of it that is measured.

    Args:
        in_parts: whether a batch may be encoded in parts; batch norms need it whole.
    """

    words: tuple[str, ...]
    stage: str = "train"
    task: type[DrawnTask] = DrawnTextTask
    in_parts: bool = True


SCRATCH = ("model.clip_pretrained=null",)
REID = ("--config", str(CONFIG / "clipreid_vit.yaml"), *SCRATCH)
RECIPES: Mapping[str, Recipe] = {
    "TBPS-CLIP, simplified": Recipe(("--simplified", *SCRATCH)),
    "TBPS-CLIP, full": Recipe(SCRATCH),
    "AltCLIP, simplified, checkpointing": Recipe(
        ("--simplified", "--backbone", "altclip", "model.gradient_checkpointing=true"),
        task=DrawnAltCLIPTask,
    ),
    "CLIP-ReID, prompts": Recipe(REID, "prompts", DrawnReIDTask),
    "CLIP-ReID, images": Recipe(REID, "images", DrawnReIDTask),
    "both tasks, a picture beside each pair": Recipe(
        ("--config", str(CONFIG / "both.yaml"), *SCRATCH), "train", DrawnBothTask
    ),
    "IRRA": Recipe(("--config", str(CONFIG / "irra.yaml"), *SCRATCH)),
    "RDE, without its division": Recipe(  # which comes before an epoch
        ("--config", str(CONFIG / "rde.yaml"), "experiment.division=none", *SCRATCH), in_parts=False
    ),
    "CSKT": Recipe(("--config", str(CONFIG / "cskt.yaml"), *SCRATCH)),
    "LoRA": Recipe(("--simplified", "lora.rank=8", *SCRATCH)),
}


@dataclass(frozen=True)
class Step:
    """A training step that can be taken again and again, on one batch that is on the device."""

    trainer: Trainer
    batch: Batch
    task: DrawnTask

    def __call__(self) -> None:
        """Take the step, without waiting for its loss."""
        self.trainer.step(self.batch, 0)

    def loss(self) -> float:
        """Take the step, and wait for its loss."""
        return self.trainer.step(self.batch, 0)[0]["loss"].item()


def build_step(recipe: Recipe, words: tuple[str, ...], own: Processes, steps: int = 1) -> Step:
    """The step of a recipe with settings laid over it.

    Args:
        steps: batches that the task's loader gives in an epoch.

    Raises:
        InputError: the settings do not go together, or nothing can be compiled here.
    """
    config = options.parse([*recipe.words, *words]).configure()
    precision = Precision(config.experiment.precision, own.device)
    seed_torch(config.misc.seed, Purpose.INITIALISATION)
    task = recipe.task(config, own, precision)
    if isinstance(task, DrawnTextTask):
        task.samples *= steps
    model = task.build_model(None, True).to(own.device).train()
    by_name = {stage.name: stage for stage in task.build_stages(model)}  # type: ignore[arg-type]
    settings = next(stage for stage in config.stages if stage.name == recipe.stage)
    stage, shared = by_name[recipe.stage], training_settings(config)
    check_chunk(stage, model, shared.chunk)
    if (mode := config.model.compile) and not compile_blocks(model, mode, own.device):
        raise InputError(find_fault(own.device) or "the model has no transformers")
    gather = AllGather() if own.world_size > 1 else Alone()
    trainer = Trainer(stage, model, own, precision, gather=gather, settings=shared)
    model.train()
    batch = task.draw_batch(model, settings)  # type: ignore[arg-type]
    return Step(trainer, batch.to(own.device), task)


def seconds_per_step(
    step: Callable[[], object], device: torch.device, *, seconds: float = 6.0, groups: int = 5
) -> float:
    """The median over groups of steps, after one group; a GPU is waited for after each group.

    Args:
        seconds: after which no further group begins.
    """
    size = 4 if device.type == "cuda" else 1
    _time(step, device, size)
    times, start = [_time(step, device, size)], time.perf_counter()
    while len(times) < groups and time.perf_counter() - start < seconds:
        times.append(_time(step, device, size))
    return median(times)


def _time(step: Callable[[], object], device: torch.device, size: int) -> float:
    start = time.perf_counter()
    for _ in range(size):
        step()
    wait_for(device)
    return (time.perf_counter() - start) / size


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Forget compiled code and free memory, so that a measurement begins as the first one did."""
    torch.compiler.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def tower_operations(step: Step, whole: bool = False) -> float:
    """Floating-point operations of both towers in a step of CLIP with a ViT.

    A product of (m, k) and (k, n) has 2 m k n. In a block of width D, L tokens take 24 L D^2 in the
    linear layers and 4 L^2 D in the attention; in the last block of the image tower, which gives
    the class token alone, 4 L D^2 + 20 D^2 and 4 L D. The backward takes twice the forward. Heads,
    norms, losses and the optimizer are left out, and so is the frozen patch embedding's backward.

    Args:
        whole: every token passes through that block, as in open_clip's tower.
    """
    batch = step.batch
    assert isinstance(batch, TextBatch)
    model = step.trainer.model
    assert isinstance(model, TBPSCLIP)
    assert isinstance(model.clip.visual, VisionTransformer)
    shape, words = model.clip.visual.shape, model.clip.text.shape
    patches = shape.grid[0] * shape.grid[1]
    last = _blocks(shape.width, 1, 1 + patches) if whole else _class_block(shape.width, 1 + patches)
    picture = 3 * (_blocks(shape.width, shape.layers - 1, 1 + patches) + last)
    picture += 2 * patches * shape.width * 3 * shape.patch_size**2
    caption = 3 * _blocks(words.width, words.layers, batch.tokens.shape[1])
    return len(batch) * (count_views(batch) * picture + caption)


def count_views(batch: TextBatch) -> int:
    """Views of each image."""
    simclr = batch.simclr_images
    return len(batch.images) + (0 if simclr is None else len(simclr))


def _blocks(width: int, layers: int, tokens: int) -> float:
    return layers * (24.0 * tokens * width**2 + 4.0 * tokens**2 * width)


def _class_block(width: int, tokens: int) -> float:
    return (4.0 * tokens + 20.0) * width**2 + 4.0 * tokens * width
