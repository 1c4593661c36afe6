"""Learned tokens of both towers, mapped from one into the other."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.tuning.description import Direction, Tower


class BidirectionalPrompts(nn.Module):
    """Vectors for the first `depth` blocks of two towers, and linear maps between the towers (Liu
    et al. 2024, CSKT, bidirectional prompts); all N(0, 0.02), the biases 0.

    direction         image tower                   text tower
    "both"            mapped text vectors, its own  its own, mapped image vectors
    "text_to_image"   mapped text vectors           its own
    "image_to_text"   its own                       mapped image vectors
    "independent"     its own                       its own

    Args:
        text_width: None: only the image tower has prompts, which are then independent.
        n_ctx: vectors of each tower in each block.
    """

    def __init__(
        self,
        image_width: int,
        text_width: int | None,
        n_ctx: int = 4,
        depth: int = 12,
        direction: Direction = "both",
    ) -> None:
        super().__init__()
        assert text_width is not None or direction == "independent"
        self.n_ctx, self.depth, self.direction = n_ctx, depth, direction
        self.text: nn.Parameter | None = None  # (depth, n_ctx, text width)
        self.image: nn.Parameter | None = None  # (depth, n_ctx, image width)
        self.text_to_image = self.image_to_text = None
        if text_width is not None and direction != "image_to_text":
            self.text = nn.Parameter(0.02 * torch.randn(depth, n_ctx, text_width))
        if direction != "text_to_image":
            self.image = nn.Parameter(0.02 * torch.randn(depth, n_ctx, image_width))
        if text_width is not None and direction in ("both", "text_to_image"):
            self.text_to_image = _maps(depth, text_width, image_width)
        if text_width is not None and direction in ("both", "image_to_text"):
            self.image_to_text = _maps(depth, image_width, text_width)

    def vectors(self, tower: Tower, layer: int) -> Tensor:
        """The prompts of one block of a tower: (n_ctx or 2 n_ctx, width), the text's first."""
        own = {"text": self.text, "image": self.image}
        maps = {"text": self.image_to_text, "image": self.text_to_image}[tower]
        parts = []
        for source, vectors in own.items():
            if source == tower and vectors is not None:
                parts.append(vectors[layer])
            elif source != tower and maps is not None:
                assert vectors is not None, "there is no map without what it maps"
                parts.append(maps[layer](vectors[layer]))
        return torch.cat(parts)

    @torch.no_grad()
    def start_from(self, words: Tensor) -> None:
        """Initialise the first block's text vectors with word embeddings (n_ctx, text width)."""
        assert self.text is not None, "this direction has no text vectors"
        self.text[0] = words


@dataclass(frozen=True)
class TowerPrompts:
    """The prompts of one tower, for the slot of its transformer: see `transformer.Prompts`.

    Args:
        first: index of the first prompt among the tokens.
    """

    prompts: BidirectionalPrompts
    tower: Tower
    first: int

    @property
    def count(self) -> int:
        """Number of tokens."""
        return self.prompts.n_ctx * (2 if self.prompts.direction == "both" else 1)

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        """Insert the prompts at layer 0 and replace them up to the depth; later blocks process the
        outputs of the block before.
        """
        if layer >= self.prompts.depth:
            return x
        after = self.first if layer == 0 else self.first + self.count
        new = self.prompts.vectors(self.tower, layer).expand(x.shape[0], -1, -1)
        return torch.cat([x[:, : self.first], new, x[:, after:]], dim=1)

    def remove(self, x: Tensor) -> Tensor:
        """(B, L + count, width) -> (B, L, width)."""
        return torch.cat([x[:, : self.first], x[:, self.first + self.count :]], dim=1)


def _maps(depth: int, fan_in: int, fan_out: int) -> nn.ModuleList:
    maps = [nn.Linear(fan_in, fan_out) for _ in range(depth)]
    for linear in maps:
        nn.init.normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
    return nn.ModuleList(maps)
