"""Compiled blocks: the transformers of a model, trained through torch.compile."""

import logging
from collections.abc import Callable
from functools import wraps
from subprocess import SubprocessError
from typing import Literal

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

Mode = Literal["default", "max-autotune"]
# CUDA graphs would overwrite the features of a part when the next part is encoded.
MODES = {"default": "default", "max-autotune": "max-autotune-no-cudagraphs"}
# Graphs of one function. Captions of five lengths, pictures, the last block of their tower, parts
# with and without gradient, and a smaller last part are more than torch's own limit, 8.
MOST_GRAPHS = 64


def compile_blocks(model: nn.Module, mode: Mode, device: torch.device) -> int:
    """Compile every block of a model's transformers in place, with static shapes.

    Blocks that differ in their weights alone share a graph, so that the first step compiles a few
    graphs and not dozens. The names in the state dict stay. Blocks are compiled for training alone:
    an evaluation has batches of other shapes, and gives the same numbers with and without this.
    Where nothing can be compiled, a warning says why, and the model stays as it is.

    Returns:
        The number of compiled blocks.
    """
    blocks = find_blocks(model)
    fault = find_fault(device) if blocks else "the model has no transformer, whose blocks it is for"
    if fault:
        log.warning("model.compile: %s; the training goes on without it", fault)
        return 0
    torch._dynamo.config.recompile_limit = MOST_GRAPHS
    for block in blocks:
        compiled = torch.compile(block.forward, dynamic=False, mode=MODES[mode])
        block.forward = _in_training(block, compiled)
    log.info("Compiled in the first steps: %d blocks of transformers", len(blocks))
    return len(blocks)


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model's transformers: those of the transformers library, and modules with an
    attention and an MLP, by their names in our own blocks, open_clip's and timm's.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer  # here: it takes seconds

    return [
        module
        for module in model.modules()
        if isinstance(module, GradientCheckpointingLayer)
        or {"attn", "mlp"} <= dict(module.named_children()).keys()
    ]


def find_fault(device: torch.device) -> str | None:
    """The reason why torch.compile does not work on a device, if it does not; found by a trial."""
    try:
        torch.compile(lambda x: x.sin() + 1, dynamic=False)(torch.ones(8, device=device))
    except (RuntimeError, OSError, ImportError, SubprocessError) as error:
        lines = [line for line in str(error).splitlines() if line and "raised:" not in line]
        reason = lines[0] if lines else type(error).__name__
        return f"torch.compile fails on this machine ({reason})"
    return None


def _in_training(block: nn.Module, compiled: Callable[..., Tensor]) -> Callable[..., Tensor]:
    plain = block.forward

    @wraps(plain)
    def forward(*args: object, **kwargs: object) -> Tensor:
        output: Tensor = (compiled if block.training else plain)(*args, **kwargs)
        return output

    return forward
