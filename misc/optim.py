"""The optimizer and its schedule."""

import math

import torch
from torch import nn


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


def build_adamw(
    model: nn.Module,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    fast: tuple[str, ...] = (),
    factor: float = 1.0,
) -> torch.optim.AdamW:
    """AdamW over what trains, in groups whose rate is `factor` times the schedule's.

    Tensors below two dimensions (biases, norms, the logit scale) do not decay.

    Args:
        fast: beginnings of the names of the parameters that train at `factor` times the rate.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = weight_decay if parameter.ndim >= 2 else 0.0
            times = factor if name.startswith(fast) else 1.0
            groups.setdefault((decay, times), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "factor": times}
            for (decay, times), parameters in groups.items()
        ],
        lr=lr,
        betas=betas,
        eps=eps,
        fused=True,
    )


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
