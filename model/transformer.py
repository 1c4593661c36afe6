"""The pre-LN transformer of both CLIP towers.

A method may fill two slots: `Block.adapter`, a branch parallel to the MLP, and
`Transformer.prompts`, which inserts learned tokens among those of the input.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Activation = Literal["quickgelu", "gelu", "gelu_tanh"]


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the approximation of GELU with which OpenAI trained CLIP.

    By SiLU, y * sigmoid(y), which keeps one tensor for its backward pass where the product keeps
    two.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(1.702 * x).div_(1.702)


ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "quickgelu": QuickGELU,
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
}


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al., 2017, section 3.2).

    Args:
        width: D, a multiple of `heads`.
        causal: a token attends only to itself and the tokens before it.
        dropout: of the attention weights, in training only.
    """

    def __init__(self, width: int, heads: int, causal: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        assert width % heads == 0, f"width {width} is not a multiple of {heads} heads"
        self.heads = heads
        self.causal = causal
        self.dropout = dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None, places: slice | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D), or (B, K, D) if only K tokens are asked for.

        Args:
            mask: (L, L), bool: whether a token (row) sees another.
            places: those K, as a slice, which no device waits for; not of causal attention.
        """
        queries = x
        if places is not None:
            assert not self.causal
            # Of other layouts torch takes another product where the weight is frozen.
            queries = x[:, places].contiguous()
            mask = None if mask is None else mask[places]
        B, _, D = x.shape
        split = (B, -1, self.heads, D // self.heads)
        q = self.q_proj(queries).view(split).transpose(1, 2)  # (B, heads, L or K, D / heads)
        k = self.k_proj(x).view(split).transpose(1, 2)  # (B, heads, L, D / heads)
        v = self.v_proj(x).view(split).transpose(1, 2)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=self.causal
        )
        return self.out_proj(y.transpose(1, 2).reshape(B, -1, D))

    def weights(self, x: Tensor, queries: Tensor) -> Tensor:
        """Attention of one token of each row to all, without dropout: the mean over the heads.

        Args:
            x: (B, L, D), the input of `forward`.
            queries: (B,), the index of that token.

        Returns:
            (B, L), float32; rows sum to 1.
        """
        B, L, _ = x.shape
        query = x[torch.arange(B, device=x.device), queries]
        q = self.q_proj(query).view(B, self.heads, 1, -1)  # (B, heads, 1, D / heads)
        k = self.k_proj(x).view(B, L, self.heads, -1).permute(0, 2, 3, 1)
        logits = (q @ k).squeeze(2).float() * q.shape[-1] ** -0.5  # (B, heads, L)
        if self.causal:
            later = torch.arange(L, device=x.device) > queries[:, None]  # (B, L)
            logits = logits.masked_fill(later[:, None], -torch.inf)
        return logits.softmax(dim=2).mean(dim=1)


class MLP(nn.Module):
    def __init__(self, width: int, activation: Activation, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or 4 * width
        self.c_fc = nn.Linear(width, hidden)
        self.act = ACTIVATIONS[activation]()
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.act(self.c_fc(x)))


class Block(nn.Module):
    """Attention, then MLP, each with a residual; an `adapter` is a branch parallel to the MLP.

    x = x + attn(ln_1 x);  x = x + mlp(ln_2 x) + adapter(x)
    """

    def __init__(
        self,
        width: int,
        heads: int,
        activation: Activation,
        *,
        causal: bool,
        dropout: float,
        mlp_width: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads, causal, dropout)
        self.ln_2 = nn.LayerNorm(width, eps)
        self.mlp = MLP(width, activation, mlp_width)
        self.adapter: nn.Module | None = None

    def forward(self, x: Tensor, mask: Tensor | None = None, places: slice | None = None) -> Tensor:
        """(B, L, width) -> (B, L, width), or (B, K, width); see `Attention.forward`."""
        attended = self.attn(self.ln_1(x), mask, places)
        x = attended + (x if places is None else x[:, places])
        branch = self.mlp(self.ln_2(x))
        if self.adapter is not None:
            branch = branch + self.adapter(x)
        return x + branch


class Prompts(Protocol):
    """Learned tokens that pass through a tower along with those of its input."""

    @property
    def count(self) -> int:
        """Number of prompt tokens."""

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        """Insert the prompts before layer 0, (B, L, width) -> (B, L + count, width); before later
        layers, replace them if they are deep.
        """

    def remove(self, x: Tensor) -> Tensor:
        """Drop the prompts: (B, L + count, width) -> (B, L, width)."""


class Transformer(nn.Module):
    """Blocks over (B, L, width); under autocast the residual stream stays float32.

    If `prompts` is set, `x = prompts(i, x)` runs before every block i >= 1 (deep prompts). The
    tower itself calls `prompts(0, x)`, since it decides where the tokens are inserted.

    Args:
        dropout: of the attention weights, in training only.
        gradient_checkpointing: recompute each block in the backward pass, to save memory.
        mlp_width: hidden channels of the MLPs; None: four times the width.
        eps: of the LayerNorms.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        *,
        activation: Activation = "quickgelu",
        causal: bool = False,
        dropout: float = 0.0,
        gradient_checkpointing: bool = False,
        mlp_width: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        block = partial(Block, causal=causal, dropout=dropout, mlp_width=mlp_width, eps=eps)
        self.blocks = nn.ModuleList(block(width, heads, activation) for _ in range(layers))
        self.prompts: Prompts | None = None
        self.gradient_checkpointing = gradient_checkpointing
        self.init_weights(width, layers)

    def init_weights(self, width: int, layers: int) -> None:
        """Draw normal weights scaled by width, and by depth where a branch joins the residual.

        OpenAI's code (github.com/openai/CLIP, clip/model.py, `initialize_parameters`) does so for
        the text tower and leaves the image tower to torch; here both get it, with zero biases.
        """
        residual_std = (2 * layers * width) ** -0.5
        for name, parameter in self.named_parameters():
            if name.endswith(("out_proj.weight", "c_proj.weight")):
                nn.init.normal_(parameter, std=residual_std)
            elif name.endswith("c_fc.weight"):
                nn.init.normal_(parameter, std=(2 * width) ** -0.5)
            elif name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
                nn.init.normal_(parameter, std=width**-0.5)
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, places: slice | None = None) -> Tensor:
        """(B, L, width) -> (B, L, width), or (B, K, width); see `stream`."""
        return deque(self.stream(x, places=places), maxlen=1).pop()

    def attend(self, x: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """`forward`, and `Attention.weights` of the last block, without gradient; no prompts.

        Args:
            queries: (B,), the index of the token whose attention it is.
        """
        assert self.prompts is None
        before, after = deque(self.stream(x), maxlen=2)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        # After the pass with gradient: autocast caches the weights that it has cast.
        with torch.no_grad():
            return after, last.attn.weights(last.ln_1(before), queries)

    def stream(
        self, x: Tensor, mask: Tensor | None = None, places: slice | None = None
    ) -> Iterator[Tensor]:
        """The input of the first block, then the output of each block.

        Args:
            mask: of `Attention`, in every block.
            places: the tokens that the last block gives, which computes no other; None: all.
        """
        yield x
        for i, block in enumerate(self.blocks):
            asked = places if i == len(self.blocks) - 1 else None
            if i > 0 and self.prompts is not None:
                x = self.prompts(i, x)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, mask, asked, use_reentrant=False)
            else:
                x = block(x, mask, asked)
            yield x
