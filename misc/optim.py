"""Optimizers and learning-rate schedules."""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

# Parameters of a block, or below the first block, of a tower; a ResNet's blocks are its stages.
# Towers of open_clip have names of their own.
_LAYER = re.compile(
    r"(clip\.)?(?P<tower>visual|text)\.(tower\.)?(trunk\.)?(transformer\.(?!(res)?blocks))?"
    r"((transformer\.(res)?blocks\.|encoder\.layers?\.|blocks\.|stages\.|layer)(?P<block>\d+)\."
    r"|conv\d|bn\d|class_embedding|second_class|positional_embedding|token_embedding|ln_pre"
    r"|embeddings|patch_embed|pos_embed|cls_token|stem)"
)


def warmup_cosine(
    step: int, total: int, warmup: int, base: float, start: float, end: float
) -> float:
    """Learning rate of a step, 0 <= step < total: linear warmup, then half a cosine.

    The warmup goes from `start` to `base`, both included, so that the peak comes twice; the cosine
    falls towards `end` and does not reach it. These are the rates of TBPS-CLIP's published code.

    Args:
        total: steps of the whole training.
        warmup: steps of the warmup.
    """
    if step < warmup:
        return start + (base - start) * step / max(1, warmup - 1)
    done = (step - warmup) / (total - warmup)
    return end + (base - end) * (1 + math.cos(math.pi * done)) / 2


def warmup_then_cosine(
    epoch: int, total: int, warmup: int, base: float, start: float, end: float
) -> float:
    """Learning rate of an epoch, 1 <= epoch <= total: linear warmup, then the rest of a cosine.

    The warmup rises from `start` at epoch 0 towards `base` at epoch `warmup`. From there the rate
    follows a cosine that began at epoch 0 and reaches `end` in the last epoch. These are the rates
    of the published code of CLIP-ReID's first stage.

    Args:
        total: epochs of the whole stage.
        warmup: the first epoch of the cosine.
    """
    if epoch < warmup:
        return start + (base - start) * epoch / warmup
    return end + (base - end) * (1 + math.cos(math.pi * epoch / total)) / 2


def warmup_cosine_by_epoch(
    epoch: int, total: int, warmup: int, base: float, start: float, end: float
) -> float:
    """Learning rate of an epoch, 0 <= epoch < total: linear warmup, then half a cosine.

    As `warmup_cosine`, but the warmup reaches `base` in the first epoch after it. These are the
    rates of IRRA's published code (Jiang & Ye 2023, arXiv 2303.12501), which RDE's has, too.

    Args:
        total: epochs of the whole training.
        warmup: epochs of the warmup.
    """
    if epoch < warmup:
        return start + (base - start) * epoch / warmup
    return warmup_cosine(epoch, total, warmup, base, start, end)


def warmup_multistep(
    epoch: int,
    base: float,
    milestones: Sequence[int],
    gamma: float,
    warmup_epochs: int,
    warmup_factor: float,
) -> float:
    """Learning rate of an epoch, 1 <= epoch: step decay, with linear warmup.

    The warmup rises from `warmup_factor * base` at epoch 0 to `base` at epoch `warmup_epochs`.
    These are the rates of CLIP-ReID's second stage (Li et al. 2023, arXiv 2211.13977).

    Args:
        milestones: ascending epochs; at each the rate is multiplied by `gamma`.
    """
    rate = base * gamma ** bisect_right(milestones, epoch)
    if epoch < warmup_epochs:
        done = epoch / warmup_epochs
        rate *= warmup_factor * (1 - done) + done
    return rate


def build_optimizer(
    model: nn.Module,
    kind: Literal["adamw", "adam"],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decayed: Literal["matrices", "weights", "all"] = "matrices",
    bias_factor: float = 1.0,
    fast: tuple[str, ...] = (),
    fast_weights: tuple[str, ...] = (),
    factor: float = 1.0,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that require gradients.

    Each parameter group has a `factor`, by which the training loop multiplies the scheduled rate.

    Args:
        weight_decay: decoupled with adamw, an L2 penalty with adam.
        decayed: the parameters that decay: `matrices` (tensors of two or more dimensions: no
            biases, norms or logit scale), `weights` (all but biases), or `all`.
        bias_factor: factor of biases; 1: biases train as the weights beside them.
        fast: prefixes of the names of parameters that have the factor `factor` instead.
        fast_weights: likewise, but for the biases, which have `bias_factor` unless that is 1.
        layer_decay: `decay` of `layer_factors`.
    """
    layers = layer_factors(model, layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_bias = name.endswith("bias")
            decays = {"matrices": parameter.ndim >= 2, "weights": not is_bias, "all": True}[decayed]
            rate = factor if name.startswith(fast + fast_weights) else 1.0
            if is_bias and bias_factor != 1 and not name.startswith(fast):
                rate = bias_factor
            rate *= layers[name]
            groups.setdefault((weight_decay if decays else 0.0, rate), []).append(parameter)
    settings = [
        {"params": parameters, "weight_decay": decay, "factor": rate}
        for (decay, rate), parameters in groups.items()
    ]
    make = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return make(settings, lr=lr, betas=betas, eps=eps, fused=True)


def layer_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """Layer-wise learning rates (Clark et al. 2020, arXiv 2003.10555): a factor by parameter name.

    It is 1 above the last block of a tower, `decay` in that block, and is multiplied by `decay`
    again for each block further down; the embeddings count as a block.
    """
    found = {name: _LAYER.match(name) for name, _ in model.named_parameters()}
    layers = {n: (match["tower"], int(match["block"] or -1)) for n, match in found.items() if match}
    levels = set(layers.values())

    def power(tower: str, block: int) -> int:
        return sum(of == tower and other >= block for of, other in levels)

    return {name: decay ** power(*layers[name]) if name in layers else 1.0 for name in found}


def freeze(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Freeze the parameters whose names start with one of `prefixes`; all others train.

    Raises:
        ValueError: if a prefix matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise ValueError(f"no parameter's name starts with {prefix!r}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))
