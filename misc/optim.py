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
    model: nn.Module, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over what trains; tensors below two dimensions (biases, norms, the logit scale) do not
    decay.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=lr, betas=betas, eps=eps, fused=True
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
