"""What a frozen transformer block is given to learn with."""

import torch.nn.functional as F
from torch import Tensor, nn


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
