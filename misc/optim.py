"""The optimizers and their schedules."""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

# A tower's block, or what comes before its first; a ResNet's are its four stages.
_LAYER = re.compile(
    r"(clip\.)?(?P<tower>visual|text)\."
    r"((transformer\.blocks\.|encoder\.layers?\.|layer)(?P<block>\d+)\."
    r"|conv\d|bn\d|class_embedding|positional_embedding|token_embedding|ln_pre|embeddings)"
)


def warmup_cosine(
    step: int, total: int, warmup: int, base: float, start: float, end: float
) -> float:
    """Learning rate of one step, 0 <= step < total: a line, then half a cosine.

    The line goes from `start` to `base` with both ends included, so the peak comes twice; the
    cosine falls towards `end` and does not reach it. These are the rates of TBPS-CLIP's published
    code.

    Args:
        total: steps of the whole training.
        warmup: steps of the line.
    """
    if step < warmup:
        return start + (base - start) * step / max(1, warmup - 1)
    done = (step - warmup) / (total - warmup)
    return end + (base - end) * (1 + math.cos(math.pi * done)) / 2


def warmup_then_cosine(
    epoch: int, total: int, warmup: int, base: float, start: float, end: float
) -> float:
    """Learning rate of one epoch, 1 <= epoch <= total: a line, then the rest of half a cosine.

    The line rises from `start`, at epoch 0, towards `base`, at epoch `warmup`; there the cosine
    takes over as if it had run since epoch 0, and reaches `end` in the last epoch. These are the
    rates of the published code of CLIP-ReID's first stage.

    Args:
        total: epochs of the whole stage.
        warmup: the epoch that the cosine begins with.
    """
    if epoch < warmup:
        return start + (base - start) * epoch / warmup
    return end + (base - end) * (1 + math.cos(math.pi * epoch / total)) / 2


def warmup_multistep(
    epoch: int,
    base: float,
    milestones: Sequence[int],
    gamma: float,
    warmup_epochs: int,
    warmup_factor: float,
) -> float:
    """Learning rate of one epoch, 1 <= epoch: a line, then a staircase.

    The line rises from `warmup_factor * base`, at epoch 0, to `base`, at epoch `warmup_epochs`.
    These are the rates of CLIP-ReID's second stage (Li et al. 2023, arXiv 2211.13977).

    Args:
        milestones: the epochs, rising, that the rate is multiplied by `gamma` from.
    """
    rate = base * gamma ** bisect_right(milestones, epoch)
    if epoch < warmup_epochs:
        done = epoch / warmup_epochs
        rate *= warmup_factor * (1 - done) + done
    return rate


def build_optimizer(
    model: nn.Module,
    kind: Literal["adamw", "adam"],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decayed: Literal["matrices", "weights", "all"] = "matrices",
    bias_factor: float = 1.0,
    fast: tuple[str, ...] = (),
    factor: float = 1.0,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """Adam or AdamW over what trains, in groups whose rate is `factor` times the schedule's.

    Args:
        weight_decay: with adam that of a penalty, which is scaled with the rest of the gradient.
        decayed: what it holds for: `matrices` (all but tensors below two dimensions: biases, norms,
            the logit scale), `weights` (all but biases), or `all`.
        bias_factor: biases train at this multiple of the rate.
        fast: beginnings of the names of the parameters that train at `factor` times the rate.
        layer_decay: of `layer_factors`.
    """
    layers = layer_factors(model, layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_bias = name.endswith("bias")
            decays = {"matrices": parameter.ndim >= 2, "weights": not is_bias, "all": True}[decayed]
            rate = layers[name] * (bias_factor if is_bias else 1.0)
            rate *= factor if name.startswith(fast) else 1.0
            groups.setdefault((weight_decay if decays else 0.0, rate), []).append(parameter)
    settings = [
        {"params": parameters, "weight_decay": decay, "factor": rate}
        for (decay, rate), parameters in groups.items()
    ]
    make = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return make(settings, lr=lr, betas=betas, eps=eps, fused=True)


def layer_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """A factor on the rate for each parameter, by name: `decay` to the power of the blocks above.

    A tower's last block has `decay`, what comes after it 1, and what comes before its first block
    the power of one more than that (Clark et al. 2020, arXiv 2003.10555).
    """
    found = {name: _LAYER.match(name) for name, _ in model.named_parameters()}
    places = {n: (match["tower"], int(match["block"] or -1)) for n, match in found.items() if match}
    levels = set(places.values())

    def power(tower: str, block: int) -> int:
        return sum(of == tower and other >= block for of, other in levels)

    return {name: decay ** power(*places[name]) if name in places else 1.0 for name in found}


def freeze(model: nn.Module, beginnings: tuple[str, ...]) -> None:
    """Train only the parameters whose name starts with none of `beginnings`.

    Raises:
        ValueError: if a beginning fits no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in names):
            raise ValueError(f"no parameter's name starts with {beginning!r}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(beginnings))
