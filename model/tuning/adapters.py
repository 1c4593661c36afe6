"""Bottleneck adapters in the blocks of a frozen tower."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from errors import InputError
from model.tuning.description import AdapterTuning


class Adapter(nn.Module):
    """A bottleneck beside the MLP of a block: scale * up(relu(down(ln_3(x)))) (Liu et al. 2024,
    CSKT, dual adapters); its linear layers start as N(0, 0.02), their biases as 0.

    Args:
        width: D of the stream.
        reduction: the bottleneck has D / reduction channels.
    """

    def __init__(self, width: int, reduction: int = 8, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.ln_3 = nn.LayerNorm(width)
        self.down = nn.Linear(width, width // reduction)
        self.up = nn.Linear(width // reduction, width)
        for linear in (self.down, self.up):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.up(F.relu(self.down(self.ln_3(x))))


def add_adapters(
    tower: nn.Module,
    width: int,
    *,
    reduction: int = 8,
    scale: float = 1.0,
    blocks: Sequence[int] | None = None,
) -> None:
    """Fill the adapter slots of a tower.

    Args:
        width: of the tower's stream.
        blocks: numbers of those that get one, from 0; None: all.

    Raises:
        InputError: the tower has no such blocks, or is narrower than `reduction`.
    """
    slots = adapter_slots(tower)
    blocks = range(len(slots)) if blocks is None else blocks
    absent = [i for i in blocks if not 0 <= i < len(slots)]
    if absent or not slots:
        raise InputError(
            f"adapters cannot sit in {f'block {absent[0]}' if absent else _name(tower)}: the tower "
            f"has {len(slots)} blocks for them, from 0"
        )
    if not 1 <= reduction <= width:
        raise InputError(f"adapters.reduction is {reduction}: give 1 to {width}, the tower's width")
    device = next(tower.parameters()).device
    for i in blocks:
        slots[i].adapter = Adapter(width, reduction, scale).to(device)


def _name(tower: nn.Module) -> str:
    return f"a {type(tower).__name__.removeprefix('Modified')}"


def adapter_slots(tower: nn.Module) -> list[nn.Module]:
    """The modules of a tower with a slot for an adapter, one in each block."""
    return [module for module in tower.modules() if hasattr(module, "adapter")]


def describe_adapters(tower: nn.Module) -> AdapterTuning | None:
    """The adapters of a tower, None if it has none."""
    slots = enumerate(adapter_slots(tower))
    adapters = {i: slot.adapter for i, slot in slots if isinstance(slot.adapter, Adapter)}
    if not adapters:
        return None
    one = next(iter(adapters.values()))
    reduction = one.down.in_features // one.down.out_features
    return AdapterTuning(reduction, one.scale, tuple(adapters))
