"""SigLIP (Zhai et al., 2023, arXiv 2303.15343) and SigLIP 2 (Tschannen et al., 2025, 2502.14786).

Both towers have CLIP's blocks; no token attends causally, and neither tower has a class token.
"""

import math

import torch
from torch import Tensor, nn

from model.clip import DualEncoder, TextShape
from model.transformer import MLP, Activation, Transformer
from model.vit import VisionShape

EPS = 1e-6  # of the LayerNorms


class AttentionPool(nn.Module):
    """One learned query over all tokens, then an MLP with a residual: (B, N, D) -> (B, D)."""

    def __init__(
        self, width: int, heads: int, activation: Activation, mlp_width: int | None = None
    ) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.layernorm = nn.LayerNorm(width, EPS)
        self.mlp = MLP(width, activation, mlp_width)

    def forward(self, x: Tensor) -> Tensor:
        probe = self.probe.expand(x.shape[0], 1, -1)
        x, _ = self.attention(probe, x, x, need_weights=False)  # (B, 1, D)
        return (x + self.mlp(self.layernorm(x)))[:, 0]


class SigLIPVisionTransformer(nn.Module):
    """A ViT without a class token, pooled by attention; its width is that of the joint space."""

    def __init__(
        self,
        shape: VisionShape,
        activation: Activation = "gelu_tanh",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.conv1 = nn.Conv2d(3, width, shape.patch_size, shape.stride)
        self.positional_embedding = nn.Parameter(
            width**-0.5 * torch.randn(math.prod(shape.grid), width)
        )
        self.transformer = Transformer(
            width,
            shape.layers,
            shape.heads,
            activation=activation,
            gradient_checkpointing=gradient_checkpointing,
            mlp_width=shape.mlp_width,
            eps=EPS,
        )
        self.ln_post = nn.LayerNorm(width, EPS)
        self.head = AttentionPool(width, shape.heads, activation, shape.mlp_width)

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., width), after `ln_post`; there is no projection."""
        return self.ln_post(x)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> the patches, pooled, (B, D), not normalised."""
        return self.head(self.project(self(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> N patches after the last block, in row-major order (B, N, width).

        Pixels beyond the last whole patch are cut off.
        """
        x = self.conv1(images).flatten(2).transpose(1, 2)  # (B, N, width)
        return self.transformer(x + self.positional_embedding)


class SigLIPTextTransformer(nn.Module):
    """A bidirectional transformer over token ids, padding included; a caption's feature stands at
    the last of them.
    """

    def __init__(
        self,
        shape: TextShape,
        embed_dim: int,
        activation: Activation = "gelu_tanh",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.token_embedding = nn.Embedding(shape.vocab_size, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(shape.context_length, width))
        self.transformer = Transformer(
            width,
            shape.layers,
            shape.heads,
            activation=activation,
            dropout=shape.dropout,
            gradient_checkpointing=gradient_checkpointing,
            mlp_width=shape.mlp_width,
            eps=EPS,
        )
        self.ln_final = nn.LayerNorm(width, EPS)
        self.head = nn.Linear(width, embed_dim)

    @property
    def room(self) -> int:
        """Tokens of the longest caption that is read whole."""
        return self.shape.context_length

    def locate(self, tokens: Tensor) -> Tensor:
        """The last token: ids (B, L) -> (B,)."""
        return tokens.new_full((tokens.shape[0],), tokens.shape[1] - 1)

    def project(self, x: Tensor) -> Tensor:
        """Tokens (..., width) -> the joint space (..., embed_dim)."""
        return self.head(self.ln_final(x))

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids (B, L), L up to `room` -> tokens after the last block (B, L, width)."""
        x = self.token_embedding(tokens)
        return self.transformer(x + self.positional_embedding[: tokens.shape[1]])


class SigLIP(DualEncoder):
    """SigLIP's two towers, with random weights.

    Args:
        activation: of all MLPs.
        gradient_checkpointing: recompute the blocks in the backward: less memory, more time.
    """

    visual: SigLIPVisionTransformer
    text: SigLIPTextTransformer
    largest_logit_scale = math.inf  # published weights have a scale of some 117

    def __init__(
        self,
        vision: VisionShape,
        text: TextShape,
        activation: Activation = "gelu_tanh",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__(
            SigLIPVisionTransformer(vision, activation, gradient_checkpointing),
            SigLIPTextTransformer(text, vision.width, activation, gradient_checkpointing),
            vision.width,
            activation,
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))  # section 3.2, as the bias
        self.logit_bias = nn.Parameter(torch.tensor(-10.0))

    def _dense_image(self, images: Tensor) -> tuple[Tensor, Tensor]:
        every = self.visual.project(self.visual(images))  # (B, N, D)
        return self.visual.head(every), every
